// Proves the rules of the pool of threads (threads.cc): who does which task, and for whom a caller waits.
//
// No test asks for more than kThreads, so there are never more workers than one less.

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <thread>
#include <vector>

#include "held_up.h"
#include "test_util.h"
#include "threads.h"

namespace {

constexpr int64_t kThreads = 4;

using Task = std::function<void(int64_t)>;

void ParallelFor(leakyrelu::Split split, const Task& task) {
  leakyrelu::ParallelFor(
      nullptr, split, [](void* work, int64_t i) { (*static_cast<const Task*>(work))(i); }, const_cast<Task*>(&task));
}

// Long enough for a worker to come, if none of the processors is taken; then the test tries again.
constexpr auto kTurn = std::chrono::milliseconds(20);

// Waits for a condition; gives up, and says so, after a time that no machine needs, or after `most`.
template <class Condition>
bool WaitFor(Condition condition, std::chrono::milliseconds most = std::chrono::minutes(1)) {
  const auto end = std::chrono::steady_clock::now() + most;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
  return true;
}

// Whether a call does all of its tasks and each once.
bool DoesEachOnce(leakyrelu::Split split) {
  std::vector<int> done(static_cast<size_t>(split.tasks));  // not atomic: ThreadSanitizer sees who races
  ParallelFor(split, [&](int64_t i) { ++done[static_cast<size_t>(i)]; });
  return std::count(done.begin(), done.end(), 1) == split.tasks;
}

// Whether some other thread does a task of a call whose caller waits for that in its own first task.
bool HasHelpIn(leakyrelu::Split split) {
  const std::thread::id caller = std::this_thread::get_id();
  std::atomic<bool> is_helped{false};
  ParallelFor(split, [&](int64_t) {
    if (std::this_thread::get_id() != caller) is_helped = true;
    WaitFor([&] { return is_helped.load(); }, kTurn);
  });
  return is_helped;
}

bool HasHelp() { return HasHelpIn({2, 2}); }

TEST(PoolTest, DoesEachTaskOnce) {
  for (int64_t threads = 2; threads <= kThreads; ++threads) {
    for (int64_t tasks = 2; tasks <= 200; ++tasks) ASSERT_TRUE(DoesEachOnce({threads, tasks})) << threads << tasks;
  }
  EXPECT_TRUE(DoesEachOnce({kThreads, UINT16_MAX}));
}

// leakyrelu_own_threads takes any number.
TEST(PoolTest, MoreTasksThanACallOfThePoolCounts) { EXPECT_TRUE(DoesEachOnce({kThreads, 70'000})); }

TEST(PoolTest, MoreCallersThanCalls) {
  std::vector<std::thread> callers;
  std::atomic<int> wrong{0};
  for (int i = 0; i < 40; ++i) {
    callers.emplace_back([&wrong] {
      for (int round = 0; round < 50; ++round) wrong += DoesEachOnce({kThreads, 20}) ? 0 : 1;
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(wrong, 0);
}

TEST(PoolTest, CallerDoesWhatAWorkerInsideATaskLeaves) {
  constexpr int kTasks = 8;
  const std::thread::id caller = std::this_thread::get_id();
  bool are_others_done = false;
  const auto has_worker = [&] {
    std::atomic<int> done{0};
    std::atomic<bool> is_inside{false};
    ParallelFor({2, kTasks}, [&](int64_t i) {
      if (i == 0) {
        WaitFor([&] { return is_inside.load(); }, kTurn);
      } else if (std::this_thread::get_id() != caller) {
        is_inside = true;
        are_others_done = WaitFor([&] { return done == kTasks - 1; });
      }
      ++done;
    });
    EXPECT_EQ(done, kTasks);
    return is_inside.load();
  };
  ASSERT_TRUE(WaitFor(has_worker));
  EXPECT_TRUE(are_others_done);
}

TEST(PoolTest, CallerWaitsForNoWorkerThatIsBusyElsewhere) {
  std::atomic<int> inside{0};
  std::atomic<bool> are_all_inside{false};  // all workers, and `other`
  std::atomic<bool> is_over{false};
  std::thread other([&] {
    while (!is_over) {
      ParallelFor({kThreads, kThreads}, [&](int64_t) {
        ++inside;
        if (WaitFor([&] { return inside == kThreads; }, kTurn)) {
          are_all_inside = true;
          EXPECT_TRUE(WaitFor([&] { return is_over.load(); }));
        }
        --inside;
      });
    }
  });
  EXPECT_TRUE(WaitFor([&] { return are_all_inside.load(); }));
  EXPECT_TRUE(DoesEachOnce({kThreads, 100}));
  is_over = true;
  other.join();
}

TEST(PoolTest, NoMoreThreadsThanAskedFor) {
  for (int64_t threads = 2; threads <= kThreads; ++threads) {
    ASSERT_TRUE(WaitFor(HasHelp));
    std::atomic<int> inside{0};
    std::atomic<int> most{0};
    ParallelFor({threads, 64}, [&](int64_t) {
      const int now = ++inside;
      for (int before = most; before < now && !most.compare_exchange_weak(before, now);) continue;
      std::this_thread::sleep_for(std::chrono::microseconds(50));
      --inside;
    });
    EXPECT_LE(most, threads);
  }
}

TEST(PoolTest, HeldUpCallerGoesWithoutHelpForAWhile) {
  const std::thread::id caller = std::this_thread::get_id();
  const auto is_held_up = [&] {
    std::atomic<bool> has_worker{false};
    ParallelFor({2, 8}, [&](int64_t i) {
      if (i == 0) {
        WaitFor([&] { return has_worker.load(); }, kTurn);
      } else if (std::this_thread::get_id() != caller && !has_worker.exchange(true)) {
        std::this_thread::sleep_for(20 * kTurn);  // longer than the caller's tasks, of which the first is long too
      }
    });
    return has_worker.load();
  };
  ASSERT_TRUE(WaitFor(is_held_up));
  EXPECT_FALSE(HasHelp());
  EXPECT_TRUE(DoesEachOnce({kThreads, 100}));
  EXPECT_TRUE(WaitFor(HasHelp));
}

TEST(PoolTest, ShortCallsWakeNobodyUnlessTheyFollowEachOther) {
  const auto short_call_has_help = [] { return HasHelpIn({2, 2, false}); };
  ASSERT_TRUE(WaitFor(HasHelp));
  std::this_thread::sleep_for(kTurn);
  EXPECT_FALSE(short_call_has_help());
  EXPECT_TRUE(WaitFor([&] { return short_call_has_help() || short_call_has_help(); }));
}

// Calls one after the other, at times that are made up.
class HeldUpTest : public testing::Test {
 protected:
  using Duration = leakyrelu::HeldUp::Clock::duration;
  static constexpr Duration kCall = std::chrono::microseconds(100);  // with threads; the caller alone takes as long
  static constexpr Duration kLost = std::chrono::milliseconds(1);

  // A call that loses so much. Returns when calls go on, and gives how long they paused.
  Duration Pause(Duration lost = kLost) {
    const auto start = now_;
    now_ += kCall + lost;
    held_up_.Note(start, now_, kCall);
    const auto end = now_;
    while (held_up_.IsOn(now_)) now_ += kLost / 10;
    return now_ - end;
  }

  void Serve(Duration time) {
    for (Duration served{}; served < time; served += kCall) {
      EXPECT_EQ(Pause({}), Duration::zero());
    }
  }

  leakyrelu::HeldUp held_up_;
  leakyrelu::HeldUp::Clock::time_point now_{std::chrono::hours(1)};
};

TEST_F(HeldUpTest, PausesGrowWhileThreadsServeShorter) {
  Duration pause = Pause();
  EXPECT_EQ(pause, 2 * kLost);
  for (const int times : {4, 8, 16, 20, 20}) {
    Serve(pause - kCall);
    pause = Pause();
    EXPECT_EQ(pause, times * kLost);
  }
  Serve(pause);
  EXPECT_EQ(Pause(), 2 * kLost);
}

TEST_F(HeldUpTest, PausesAreInProportionToWhatIsLost) {
  EXPECT_EQ(Pause(3 * kLost), 6 * kLost);
  EXPECT_EQ(Pause(), 12 * kLost);
  EXPECT_EQ(Pause(kLost / 2), 10 * kLost);  // 20 times
  EXPECT_EQ(Pause(20 * kLost), 40 * kLost);
}

TEST_F(HeldUpTest, WhatOneCallNotesAnotherDoesNot) {
  const auto start = now_;
  ASSERT_EQ(Pause(), 2 * kLost);
  held_up_.Note(start, now_, kCall);
  EXPECT_FALSE(held_up_.IsOn(now_));
}

TEST_F(HeldUpTest, LittleLostIsNoPause) {
  EXPECT_EQ(Pause(kCall), Duration::zero());
  EXPECT_GT(Pause(kCall + std::chrono::nanoseconds(1)), Duration::zero());
}

TEST(SplitTest, Executor) {
  const leakyrelu_executor executor = {nullptr, test_util::RunBackwards, 3};
  EXPECT_EQ(leakyrelu::SplitFor(&executor, 0).tasks, 1);
  EXPECT_EQ(leakyrelu::SplitFor(&executor, 2).tasks, 2);
  EXPECT_EQ(leakyrelu::SplitFor(&executor, 100).tasks, 3);
}

TEST(SplitTest, OwnThreads) {
  const int32_t before = leakyrelu::NumThreads(nullptr);
  leakyrelu::SetNumThreads(2);
  EXPECT_EQ(leakyrelu::SplitFor(nullptr, 1).tasks, 1);
  EXPECT_EQ(leakyrelu::SplitFor(nullptr, 100).threads, 2);
  EXPECT_GT(leakyrelu::SplitFor(nullptr, 100).tasks, 2);
  EXPECT_FALSE(leakyrelu::SplitFor(nullptr, 2).wakes);
  EXPECT_TRUE(leakyrelu::SplitFor(nullptr, 100).wakes);
  leakyrelu::SetNumThreads(INT32_MAX);
  EXPECT_LE(leakyrelu::SplitFor(nullptr, INT64_MAX / 8).tasks, UINT16_MAX);
  leakyrelu::SetNumThreads(1);
  EXPECT_EQ(leakyrelu::SplitFor(nullptr, 100).tasks, 1);
  leakyrelu::SetNumThreads(before);
}

}  // namespace
