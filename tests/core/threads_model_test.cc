// Runs the pool of threads (threads.cc, the very source) in every order of its atomic steps, up to a number of
// preemptions.
//
// Threads are fibers here, of which one runs at a time. Before each step on a std::atomic the world may go on with
// another one, and the explorer tries all choices, one run for each, depth first. A switch where the running fiber
// could have gone on is a preemption; few of them reach nearly all faults that there are, and without a limit there
// would be no end. Time stands still but where a fiber that spins runs out of it, which is a choice too. Steps are
// sequentially consistent: weaker orders are ThreadSanitizer's part.
//
// What is shown in every run: each task is done once, and before its call returns; no call is touched afterwards, or
// has more threads than it may; every call returns, also where workers that have taken no task never run again; no
// worker sleeps while a call has tasks left and room for it.

#include <gtest/gtest.h>
#include <hwy/cache_control.h>
#include <ucontext.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <new>
#include <set>
#include <string>
#include <vector>

#include "leakyrelu/leakyrelu.h"
#include "system.h"

namespace model {

constexpr size_t kStackBytes = size_t{64} << 10;
constexpr int64_t kMostSteps = 10'000;  // of a run; those that end take some hundreds

struct Fiber {
  ucontext_t context;
  std::function<void()> body;
  bool is_worker;
  bool is_done = false;
  bool is_inside = false;           // a worker that has taken a task
  bool spins = false;               // nothing has changed since it looked last
  bool is_late = false;             // the time for which it spins is over
  const void* waits_for = nullptr;  // an atomic
};

struct Choice {
  size_t taken;
  size_t options;
};

struct Limits {
  int preemptions;
  int64_t freeze_after =
      INT64_MAX;  // steps, after which workers that are not inside do not run until all calls are done
};

class World {
 public:
  // One run, along the choices of `path` as far as they go; adds those that it makes behind. `written`: the atomics to
  // which some run writes, as far as is known; what nobody writes to can be read at any time.
  World(std::vector<Choice>* path, const std::set<const void*>& written, Limits limits)
      : path_(path), written_(written), limits_(limits) {}

  const std::set<const void*>& found_written() const { return found_written_; }

  void Add(std::function<void()> body, bool is_worker) {
    auto fiber = std::make_unique<Fiber>();
    fiber->body = std::move(body);
    fiber->is_worker = is_worker;
    if (stacks().size() <= fibers_.size()) stacks().push_back(std::make_unique<char[]>(kStackBytes));
    getcontext(&fiber->context);
    fiber->context.uc_stack.ss_sp = stacks()[fibers_.size()].get();
    fiber->context.uc_stack.ss_size = kStackBytes;
    fiber->context.uc_link = nullptr;
    makecontext(&fiber->context, &World::Enter, 0);
    fibers_.push_back(std::move(fiber));
  }

  // False: a call does not return.
  bool Run() {
    current = this;
    SwitchFrom(nullptr);
    current = nullptr;
    return callers() == 0;
  }

  // Before a step on an atomic.
  void Point(const void* atomic, bool writes) {
    if (++steps_ > kMostSteps) return SwitchTo(nullptr);
    if (writes) found_written_.insert(atomic);
    if (!writes && !written_.contains(atomic)) return;
    if (IsFrozen(*running_)) return SwitchFrom(running_);
    const std::vector<Fiber*> others = Enabled(/*without=*/running_);
    if (limits_.preemptions == 0 || others.empty() || callers() == 0) return;
    const size_t taken = Choose(1 + others.size());
    if (taken == 0) return;
    --limits_.preemptions;
    SwitchTo(others[taken - 1]);
  }

  // Behind a step that has changed something.
  void Changed() {
    for (auto& fiber : fibers_) {
      if (fiber.get() != running_) fiber->spins = false;
    }
  }

  void Wait(const void* atomic) {
    running_->waits_for = atomic;
    SwitchFrom(running_);
  }

  void NotifyOne(const void* atomic) {
    std::vector<Fiber*> waiting;
    for (auto& fiber : fibers_) {
      if (fiber->waits_for == atomic) waiting.push_back(fiber.get());
    }
    if (!waiting.empty()) waiting[Choose(waiting.size())]->waits_for = nullptr;
  }

  // In a loop that looks at something again and again.
  void Pause() {
    if (running_->is_late) return;
    if (limits_.preemptions > 0 && Choose(2) == 1) {
      --limits_.preemptions;
      running_->is_late = true;
      return;
    }
    running_->spins = true;
    SwitchFrom(running_);
  }

  std::chrono::nanoseconds Now() {
    if (running_ != nullptr && running_->is_late) {
      now_ += std::chrono::milliseconds(1);
      running_->is_late = false;
    }
    return now_;
  }

  // Whether a worker sleeps, and there is none that will look for tasks by itself. A caller cannot tell whether one
  // that is inside is about to wake another.
  bool WorkerSleeps() const {
    bool sleeps = false;
    for (const auto& fiber : fibers_) {
      if (fiber.get() == running_ || fiber->is_done) continue;
      if (fiber->waits_for == nullptr && (!running_->is_worker || (fiber->is_worker && !fiber->is_inside)))
        return false;
      sleeps |= fiber->is_worker && fiber->waits_for != nullptr;
    }
    return sleeps;
  }

  void Sleep(std::chrono::nanoseconds time) { now_ += time; }
  void SetInside(bool is_inside) { running_->is_inside = is_inside; }
  bool Decide() { return Choose(2) == 1; }

  static inline World* current = nullptr;

 private:
  static std::vector<std::unique_ptr<char[]>>& stacks() {
    static std::vector<std::unique_ptr<char[]>> all;
    return all;
  }

  static void Enter() {
    current->running_->body();
    current->running_->is_done = true;
    current->SwitchFrom(current->running_);
  }

  int64_t callers() const {
    return std::count_if(fibers_.begin(), fibers_.end(),
                         [](const auto& fiber) { return !fiber->is_worker && !fiber->is_done; });
  }

  bool IsFrozen(const Fiber& fiber) const {
    return steps_ > limits_.freeze_after && fiber.is_worker && !fiber.is_inside && callers() > 0;
  }

  std::vector<Fiber*> Enabled(const Fiber* without) const {
    std::vector<Fiber*> found;
    for (const auto& fiber : fibers_) {
      if (fiber.get() != without && !fiber->is_done && !fiber->spins && fiber->waits_for == nullptr &&
          !IsFrozen(*fiber)) {
        found.push_back(fiber.get());
      }
    }
    return found;
  }

  // The running fiber cannot go on by itself.
  void SwitchFrom(Fiber* fiber) {
    std::vector<Fiber*> enabled = Enabled(nullptr);
    if (enabled.empty()) {  // then the time of one that spins is over
      for (auto& each : fibers_) {
        if (!each->is_done && each->spins && !IsFrozen(*each)) {
          each->spins = false;
          each->is_late = true;
          enabled.push_back(each.get());
          break;
        }
      }
    }
    running_ = fiber;
    SwitchTo(enabled.empty() ? nullptr : enabled[callers() > 0 ? Choose(enabled.size()) : 0]);
  }

  // Null: back to Run.
  void SwitchTo(Fiber* next) {
    ucontext_t* const from = running_ != nullptr ? &running_->context : &home_;
    running_ = next;
    ucontext_t* const to = next != nullptr ? &next->context : &home_;
    if (from != to) swapcontext(from, to);
  }

  size_t Choose(size_t options) {
    if (options == 1) return 0;
    if (next_choice_ == path_->size()) path_->push_back({0, options});
    return (*path_)[next_choice_++].taken;
  }

  std::vector<Choice>* path_;
  size_t next_choice_ = 0;
  const std::set<const void*>& written_;
  std::set<const void*> found_written_;
  Limits limits_;
  int64_t steps_ = 0;
  std::chrono::nanoseconds now_{std::chrono::hours(1)};
  std::vector<std::unique_ptr<Fiber>> fibers_;
  Fiber* running_ = nullptr;
  ucontext_t home_{};
};

// What of std::atomic threads.cc uses.
template <class T>
class Atomic {
 public:
  static constexpr bool is_always_lock_free = true;

  constexpr Atomic() noexcept = default;
  constexpr explicit(false) Atomic(T value) noexcept : value_(value) {}

  T load(std::memory_order /*order*/) const {
    Point(false);
    return value_;
  }
  void store(T value, std::memory_order /*order*/) {
    Point(true);
    Set(value);
  }
  T exchange(T value, std::memory_order /*order*/) {
    Point(true);
    const T before = value_;
    Set(value);
    return before;
  }
  T fetch_add(T more, std::memory_order /*order*/) {
    Point(true);
    const T before = value_;
    Set(static_cast<T>(before + more));
    return before;
  }
  T fetch_sub(T less, std::memory_order order) { return fetch_add(static_cast<T>(-less), order); }
  bool compare_exchange_strong(T& expected, T desired, std::memory_order /*success*/, std::memory_order /*failure*/) {
    Point(true);
    if (std::memcmp(static_cast<const void*>(&value_), static_cast<const void*>(&expected), sizeof(T)) != 0) {
      expected = value_;
      return false;
    }
    if constexpr (requires { desired.inside; }) {
      if (desired.inside != value_.inside) World::current->SetInside(desired.inside > value_.inside);
    }
    Set(desired);
    return true;
  }
  bool compare_exchange_weak(T& expected, T desired, std::memory_order success,
                             std::memory_order failure = std::memory_order_relaxed) {
    return compare_exchange_strong(expected, desired, success, failure);
  }
  void wait(T old, std::memory_order order) const {
    while (load(order) == old) World::current->Wait(Address());
  }
  void notify_one() {
    Point(true);
    World::current->NotifyOne(Address());
  }

 private:
  const void* Address() const { return static_cast<const void*>(this); }
  void Point(bool writes) const {
    if (World::current != nullptr) World::current->Point(Address(), writes);
  }
  void Set(T value) {
    value_ = value;
    if (World::current != nullptr) World::current->Changed();
  }

  T value_{};
};

struct SteadyClock {
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<SteadyClock>;
  static time_point now() { return time_point(World::current->Now()); }
};

inline void Pause() { World::current->Pause(); }

}  // namespace model

// The names by which threads.cc finds the model's parts.
// NOLINTBEGIN(bugprone-std-namespace-modification,cert-dcl58-cpp)
namespace std {
template <class T>
using model_atomic = model::Atomic<T>;
namespace chrono {
using model_steady_clock = model::SteadyClock;
}
}  // namespace std
namespace hwy {
inline void ModelPause() { model::Pause(); }
}  // namespace hwy
// NOLINTEND(bugprone-std-namespace-modification,cert-dcl58-cpp)
#define atomic model_atomic
#define steady_clock model_steady_clock
#define Pause ModelPause
#include "../../src/threads.cc"  // NOLINT(bugprone-suspicious-include)
#undef atomic
#undef steady_clock
#undef Pause

namespace leakyrelu {

bool may_refuse_threads = false;

int32_t Cores() noexcept { return 4; }
void AtForkInChild(void (* /*in_child*/)()) noexcept {}
bool StartThread(void (*body)(void* context), void* context) noexcept {
  if (may_refuse_threads && model::World::current->Decide()) return false;
  model::World::current->Add([body, context] { body(context); }, /*is_worker=*/true);
  return true;
}

namespace {

// A call while it lasts, and what has been done of it.
struct Work {
  explicit Work(Split its_split) : split(its_split), times(static_cast<size_t>(its_split.tasks)) {}

  Split split;
  std::vector<int> times;
  int64_t at_once = 0;
  bool has_returned = false;
};

std::string failure;                // of the present run; empty: none
model::Atomic<int32_t> in_task{0};  // for a step in the middle of a task

void Task(void* context, int64_t task) {
  Work* const work = static_cast<Work*>(context);
  if (work->has_returned) failure = "a task begins when its call has returned";
  if (++work->at_once > work->split.threads) failure = "more threads than the call may use";
  ++work->times[static_cast<size_t>(task)];
  in_task.store(0, std::memory_order_relaxed);
  const bool is_announced = work->times[0] > 0;  // that is the caller's, which it does next
  const int64_t left = std::count(work->times.begin(), work->times.end(), 0);
  if (is_announced && left > 0 && work->at_once < work->split.threads && model::World::current->WorkerSleeps()) {
    failure = "a worker sleeps through a call";
  }
  --work->at_once;
  if (work->has_returned) failure = "a call returns within one of its tasks";
}

struct Result {
  int64_t runs = 0;
  std::string failure;
};

// All runs of as many callers as there are lists, each of which makes its calls one after the other.
Result Explore(const std::vector<std::vector<Split>>& callers, model::Limits limits) {
  alignas(Pool) static std::byte memory[sizeof(Pool)];
  Result result;
  std::vector<model::Choice> path;
  std::set<const void*> written;
  std::set<const void*> found_written;
  while (true) {
    Pool* const pool = new (memory) Pool;  // at the same address each time
    failure.clear();
    std::vector<std::unique_ptr<Work>> works;
    model::World world(&path, written, limits);
    for (const std::vector<Split>& calls : callers) {
      const auto body = [&calls, &works, pool] {
        for (const Split split : calls) {
          Work* const work = works.emplace_back(std::make_unique<Work>(split)).get();
          pool->Execute(split, Task, work);
          if (std::count(work->times.begin(), work->times.end(), 1) != split.tasks) failure = "not each task once";
          work->has_returned = true;
          model::World::current->Sleep(std::chrono::seconds(10));  // held up or refused no longer
        }
      };
      world.Add(body, /*is_worker=*/false);
    }
    if (!world.Run()) failure = "a call does not return";
    ++result.runs;
    if (!failure.empty()) {
      result.failure = failure + "; choices:";
      path.resize(std::min<size_t>(path.size(), 200));
      for (const model::Choice& choice : path) result.failure += ' ' + std::to_string(choice.taken);
      return result;
    }
    found_written.insert(world.found_written().begin(), world.found_written().end());
    while (!path.empty() && path.back().taken + 1 == path.back().options) path.pop_back();
    if (!path.empty()) {
      ++path.back().taken;
    } else if (found_written == written) {
      return result;
    } else {
      written = found_written;  // anew, with more points at which to choose
      result.runs = 0;
    }
  }
}

void ExpectAllRight(const std::vector<std::vector<Split>>& callers, model::Limits limits) {
  const Result result = Explore(callers, limits);
  EXPECT_EQ(result.failure, "") << "in run " << result.runs;
}

TEST(ThreadsModelTest, OneWorker) { ExpectAllRight({{{2, 3}}}, {.preemptions = 4}); }

TEST(ThreadsModelTest, TwoWorkers) { ExpectAllRight({{{3, 3}}}, {.preemptions = 3}); }

TEST(ThreadsModelTest, OneCallAfterTheOther) {
  ExpectAllRight({{{2, 2}, {2, 2}}}, {.preemptions = 3});
  ExpectAllRight({{{3, 3}, {3, 3}}}, {.preemptions = 2});
  ExpectAllRight({{{3, 3}, {2, 3}}}, {.preemptions = 2});
}

TEST(ThreadsModelTest, TwoCallers) { ExpectAllRight({{{2, 2}}, {{2, 2}}}, {.preemptions = 3}); }

TEST(ThreadsModelTest, NoCallWaitsForWorkersThatHaveTakenNothing) {
  for (int64_t steps = 0; steps < 60; ++steps) ExpectAllRight({{{3, 3}}}, {.preemptions = 1, .freeze_after = steps});
}

TEST(ThreadsModelTest, RefusedThreads) {
  may_refuse_threads = true;
  ExpectAllRight({{{3, 3}, {3, 3}}}, {.preemptions = 1});
  may_refuse_threads = false;
}

}  // namespace
}  // namespace leakyrelu
