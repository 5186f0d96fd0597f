// A pool of threads that helps callers, and that no caller waits for.
//
// A call is cut into more tasks than it may use threads. Its caller takes one after the other from the front; workers
// that are free take from the back, so that in calls on the same arrays each has the part that its cache holds. The
// rules:
//
// 1. A task belongs to whoever takes it, by one atomic step on Call::state. With its first task a worker counts itself
//    in, in the same step. So a caller that finds no task left waits for workers inside their last task and for no
//    others: one that is asleep, or that the system has not let run, has taken nothing and will find nothing.
// 2. A worker that finds no task left counts itself out, in one step again, and reads nothing of the call behind it.
//    The caller returns when nobody is in; `task` and `work` are not touched after that.
// 3. Calls lie in the pool, which is never destroyed, so a late look at a state is harmless. A caller that finds all of
//    them in use does its tasks itself, and so does one whose workers the system refuses.
// 4. `announced` changes with each new call. A worker reads it, looks through all calls, and then waits for it to
//    change: it misses no call, and nobody holds a lock.
// 5. A worker that has found a task and sees more wakes the next worker.
// 6. After a call that its workers have held up, calls go without for a while (held_up.h).
// 7. A short call goes without too, unless it comes right after another, when workers are awake or had better be.
// 8. A child of fork() has none of the threads, and makes a pool of its own.

#include "threads.h"

#include <hwy/cache_control.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <new>

#include "held_up.h"
#include "system.h"

namespace leakyrelu {
namespace {

using Clock = HeldUp::Clock;

constexpr int32_t kMaxThreadsPerCore = 8;

// So many tasks for each thread: whoever comes late or is slow leaves the rest of its share to the others.
constexpr int64_t kTasksPerThread = 4;
constexpr int64_t kMaxTasks = UINT16_MAX;

// And so many for each grain at most.
constexpr int64_t kTasksPerGrain = 2;

// Calls at once that have workers.
constexpr int kCalls = 16;

// How long a worker looks for the next call before it sleeps, and a caller for its workers' end. To wake a thread takes
// as long as 50 000 elements do.
constexpr auto kSpin = std::chrono::microseconds(50);

// So many grains are worth waking threads for. Two threads, one of which sleeps, take 2.3 times as long as one thread
// for 2 grains, 1.4 times for 8, and as long for 12.
constexpr int64_t kGrainsToWake = 12;

// After a thread was refused. Asking again each time would cost more than most calls.
constexpr auto kRefused = std::chrono::seconds(1);

// What is left of a call, and who is in.
struct alignas(8) State {  // or Clang calls a library for each step
  uint16_t front;          // tasks [front, back) are left
  uint16_t back;
  uint16_t inside;  // workers
  uint16_t places;  // for more workers; kCallerSleeps: no task is left, and the caller sleeps until all are out
};
constexpr uint16_t kCallerSleeps = UINT16_MAX;
static_assert(sizeof(State) == 8 && std::atomic<State>::is_always_lock_free);

struct alignas(64) Call {
  std::atomic<State> state;
  std::atomic<bool> is_used{false};
  std::atomic<int32_t> wake_ups{0};  // of a caller that sleeps
  leakyrelu_task task{};
  void* work{};
};

// One step from a state to the next, unless change(&state) says that there is none. Gives the new state.
template <class Change>
bool Step(Call* call, State* state, Change change) {
  State before = call->state.load(std::memory_order_acquire);
  do {
    *state = before;
    if (!change(state)) return false;
  } while (!call->state.compare_exchange_weak(before, *state, std::memory_order_acq_rel, std::memory_order_acquire));
  return true;
}

// Whether the condition came true within kSpin.
template <class Condition>
bool Spin(Condition condition) {
  const Clock::time_point end = Clock::now() + kSpin;
  do {
    for (int i = 0; i < 16; ++i) {
      if (condition()) return true;
      hwy::Pause();
    }
  } while (Clock::now() < end);
  return false;
}

class Pool {
 public:
  void Execute(Split split, leakyrelu_task task, void* work) {
    const auto [threads, tasks, wakes] = split;
    const Clock::time_point start = Clock::now();
    const bool goes_alone = held_up_.IsOn(start) ||
                            (!wakes && start.time_since_epoch() - last_end_.load(std::memory_order_relaxed) > kSpin);
    Call* const call = goes_alone ? nullptr : FreeCall();
    if (call == nullptr || !HasWorkers(threads - 1, start)) {
      if (call != nullptr) call->is_used.store(false, std::memory_order_release);
      for (int64_t i = 0; i < tasks; ++i) task(work, i);
      last_end_.store(Clock::now().time_since_epoch(), std::memory_order_relaxed);
      return;
    }
    call->task = task;
    call->work = work;
    call->state.store({1, static_cast<uint16_t>(tasks), 0, static_cast<uint16_t>(threads - 1)},
                      std::memory_order_release);
    announced_.fetch_add(1, std::memory_order_release);
    announced_.notify_one();

    const Clock::time_point own_start = Clock::now();
    int64_t own = 1;
    task(work, 0);
    State state;
    const auto take_front = [](State* s) {
      if (s->front == s->back) return false;
      ++s->front;
      return true;
    };
    for (; Step(call, &state, take_front); ++own) task(work, state.front - 1);
    Clock::time_point end = Clock::now();
    if (state.inside > 0) {
      const Clock::duration alone = (end - own_start) * tasks / own;
      WaitForWorkers(call);
      end = Clock::now();
      held_up_.Note(start, end, alone);
    }
    call->is_used.store(false, std::memory_order_release);
    last_end_.store(end.time_since_epoch(), std::memory_order_relaxed);
  }

 private:
  Call* FreeCall() {
    for (Call& call : calls_) {
      if (!call.is_used.load(std::memory_order_relaxed) && !call.is_used.exchange(true, std::memory_order_acquire)) {
        return &call;
      }
    }
    return nullptr;
  }

  // Starts what is missing of so many workers. False if there are none.
  bool HasWorkers(int64_t wanted, Clock::time_point now) {
    int32_t workers = workers_.load(std::memory_order_relaxed);
    while (workers < wanted && now.time_since_epoch() >= refused_until_.load(std::memory_order_relaxed)) {
      if (!workers_.compare_exchange_weak(workers, workers + 1, std::memory_order_relaxed)) continue;
      if (!StartThread([](void* pool) { static_cast<Pool*>(pool)->Work(); }, this)) {
        workers_.fetch_sub(1, std::memory_order_relaxed);
        refused_until_.store((now + kRefused).time_since_epoch(), std::memory_order_relaxed);
      }
      workers = workers_.load(std::memory_order_relaxed);
    }
    return workers > 0;
  }

  [[noreturn]] void Work() {
    while (true) {
      const int32_t seen = announced_.load(std::memory_order_acquire);
      for (Call& call : calls_) Help(&call);
      const bool may_spin = workers_.load(std::memory_order_relaxed) < Cores();
      if (may_spin && Spin([&] { return announced_.load(std::memory_order_relaxed) != seen; })) continue;
      announced_.wait(seen, std::memory_order_relaxed);
    }
  }

  void Help(Call* call) {
    State state;
    const auto come_in = [](State* s) {
      if (s->front == s->back || s->places == 0) return false;
      --s->back;
      --s->places;
      ++s->inside;
      return true;
    };
    if (!Step(call, &state, come_in)) return;
    if (state.front < state.back && state.places > 0) announced_.notify_one();
    for (bool is_inside = true; is_inside;) {
      call->task(call->work, state.back);
      Step(call, &state, [&is_inside](State* s) {
        is_inside = s->front < s->back;
        --(is_inside ? s->back : s->inside);
        return true;
      });
    }
    if (state.inside == 0 && state.places == kCallerSleeps) {
      call->wake_ups.fetch_add(1, std::memory_order_release);
      call->wake_ups.notify_one();
    }
  }

  static void WaitForWorkers(Call* call) {
    if (Spin([call] { return call->state.load(std::memory_order_acquire).inside == 0; })) return;
    State state;
    const int32_t seen = call->wake_ups.load(std::memory_order_acquire);
    const auto sleep = [](State* s) {
      s->places = kCallerSleeps;
      return s->inside > 0;
    };
    // One wake-up for each sleep: only the last worker out of a call whose caller sleeps gives one.
    if (Step(call, &state, sleep)) call->wake_ups.wait(seen, std::memory_order_acquire);
  }

  alignas(64) std::atomic<int32_t> announced_{0};
  std::atomic<int32_t> workers_{0};
  HeldUp held_up_;
  std::atomic<Clock::duration> refused_until_;
  std::atomic<Clock::duration> last_end_;  // of a call
  Call calls_[kCalls];
};

std::atomic<Pool*> pool{nullptr};

// Null if there is no memory for one.
Pool* ThePool() {
  static const bool forks = (AtForkInChild([] { pool.store(nullptr, std::memory_order_relaxed); }), true);
  Pool* existing = pool.load(std::memory_order_acquire);
  if (!forks || existing != nullptr) return existing;
  Pool* const fresh = new (std::nothrow) Pool;
  if (pool.compare_exchange_strong(existing, fresh, std::memory_order_acq_rel, std::memory_order_acquire)) return fresh;
  delete fresh;
  return existing;
}

// OMP_NUM_THREADS, which people set for all libraries with threads; its first number, if it is a list. 0: none.
int32_t FromEnvironment() {
  const char* const text = std::getenv("OMP_NUM_THREADS");
  const long number = text != nullptr ? std::strtol(text, nullptr, 10) : 0;
  return static_cast<int32_t>(std::clamp<long>(number, 0, INT32_MAX));
}

std::atomic<int32_t> chosen_num_threads{0};  // 0: not chosen

bool IsOwn(const leakyrelu_executor* executor) {
  return executor == nullptr || executor->parallel_for == leakyrelu_own_threads;
}

}  // namespace

int32_t NumThreads(const leakyrelu_executor* executor) {
  if (executor != nullptr) return executor->num_threads;
  static const int32_t from_environment = FromEnvironment();
  const int32_t chosen = chosen_num_threads.load(std::memory_order_relaxed);
  if (chosen > 0) return chosen;
  return from_environment > 0 ? from_environment : Cores();
}

void SetNumThreads(int32_t num_threads) { chosen_num_threads.store(num_threads, std::memory_order_relaxed); }

Split SplitFor(const leakyrelu_executor* executor, int64_t grains) {
  if (grains <= 1) return {1, 1};
  int64_t threads = std::min<int64_t>(grains, NumThreads(executor));
  if (!IsOwn(executor) || threads <= 1) return {threads, threads};
  threads = std::min<int64_t>(threads, int64_t{kMaxThreadsPerCore} * Cores());
  return {threads, std::min({grains * kTasksPerGrain, threads * kTasksPerThread, kMaxTasks}), grains >= kGrainsToWake};
}

void ParallelFor(const leakyrelu_executor* executor, Split split, leakyrelu_task task, void* work) {
  if (split.tasks == 1) return task(work, 0);
  if (!IsOwn(executor)) return executor->parallel_for(executor->context, split.tasks, task, work);
  Pool* const threads = split.threads > 1 && split.tasks <= kMaxTasks ? ThePool() : nullptr;
  if (threads != nullptr) return threads->Execute(split, task, work);
  for (int64_t i = 0; i < split.tasks; ++i) task(work, i);
}

}  // namespace leakyrelu

void leakyrelu_own_threads(void* /*context*/, int64_t tasks, leakyrelu_task task, void* work) {
  const int64_t threads = leakyrelu::NumThreads(nullptr);
  leakyrelu::ParallelFor(nullptr, {std::min(threads, tasks), tasks}, task, work);
}
