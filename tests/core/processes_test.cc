// Proves, on Linux, calls after fork(), and that the number of threads asked for is obeyed.
//
// What needs a process in which nothing has happened yet runs this program again with a flag.

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "leakyrelu/leakyrelu.h"
#include "right_calls.h"
#include "test_util.h"

namespace {

using test_util::ComputesRightly;
using test_util::ComputesRightlyConcurrently;
using test_util::kLarge;

// Exit status of a child that does this after fork(), -1 if a signal ended it (SIGALRM if it hung).
template <typename Function>
int StatusOfForked(Function function) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);
    _exit(function());
  }
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// Threads of this process, as the kernel counts them.
int CountThreads() {
  const std::filesystem::directory_iterator threads("/proc/self/task");
  return static_cast<int>(std::distance(begin(threads), end(threads)));
}

int ChildComputes() { return ComputesRightly(kLarge, 0.5f, nullptr) ? 0 : 1; }

// ---- fork()

class ForkTest : public testing::Test {
 protected:
  void SetUp() override {
    if (test_util::kThreadSanitizer) GTEST_SKIP() << "ThreadSanitizer does not follow threads into a child";
    if (test_util::kQemu) GTEST_SKIP() << "qemu fails where the child of a process with threads starts some";
    ASSERT_EQ(leakyrelu_set_num_threads(4), LEAKYRELU_OK);
    ASSERT_TRUE(ComputesRightly(kLarge, 0.5f, nullptr));
  }
};

TEST_F(ForkTest, ChildComputes) { EXPECT_EQ(StatusOfForked(ChildComputes), 0); }

TEST_F(ForkTest, ChildComputesManyTimes) {
  EXPECT_EQ(StatusOfForked([] {
              for (int i = 0; i < 20; ++i) {
                if (ChildComputes() != 0) return 1;
              }
              return 0;
            }),
            0);
}

TEST_F(ForkTest, ChildComputesInSeveralThreads) {
  EXPECT_EQ(StatusOfForked([] { return ComputesRightlyConcurrently(nullptr) ? 0 : 1; }), 0);
}

TEST_F(ForkTest, ChildStartsThreadsOfItsOwn) {
  EXPECT_EQ(StatusOfForked([] { return ChildComputes() == 0 ? CountThreads() : 255; }), 4);
}

TEST_F(ForkTest, GrandchildComputes) {
  EXPECT_EQ(StatusOfForked([] { return ChildComputes() != 0 ? 1 : StatusOfForked(ChildComputes); }), 0);
}

TEST_F(ForkTest, ParentStillComputes) {
  ASSERT_EQ(StatusOfForked(ChildComputes), 0);
  EXPECT_TRUE(ComputesRightly(kLarge, 0.5f, nullptr));
}

TEST_F(ForkTest, ChildOfAnotherThreadComputes) {
  int status = -1;
  std::thread([&status] {
    if (ComputesRightly(kLarge, 0.5f, nullptr)) status = StatusOfForked(ChildComputes);
  }).join();
  EXPECT_EQ(status, 0);
}

// At moments that nobody chooses: all the while three other threads are inside calls.
TEST_F(ForkTest, ChildrenOfAProcessInTheMiddleOfCallsCompute) {
  if (test_util::kSanitized)
    GTEST_SKIP() << "AddressSanitizer's malloc may stay locked in a child (llvm/llvm-project#75290)";
  std::atomic<bool> done{false};
  std::atomic<int> wrong{0};
  std::vector<std::thread> callers;
  for (int i = 0; i < 3; ++i) {
    callers.emplace_back([&done, &wrong] {
      while (!done) wrong += ComputesRightly(kLarge / 2, 0.5f, nullptr) ? 0 : 1;
    });
  }
  int failed = 0;
  for (int i = 0; i < 30; ++i) {
    if (StatusOfForked(ChildComputes) != 0) ++failed;
  }
  done = true;
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(failed, 0) << "of 30 children";
  EXPECT_EQ(wrong, 0) << "of the parent's calls";
}

// ---- Processors taken away

TEST(AffinityTest, ShrinksAndGrowsInTheMiddleOfCalls) {
  cpu_set_t all;
  ASSERT_EQ(sched_getaffinity(0, sizeof(all), &all), 0);
  if (CPU_COUNT(&all) < 2) GTEST_SKIP() << "needs two processors";
  int first = 0;
  while (!CPU_ISSET(first, &all)) ++first;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(first, &one);
  const int32_t before = leakyrelu_get_num_threads();
  ASSERT_EQ(leakyrelu_set_num_threads(4), LEAKYRELU_OK);
  std::atomic<bool> done{false};
  int wrong = 0;
  std::thread caller([&done, &wrong] {
    while (!done) wrong += ComputesRightly(kLarge / 4, 0.5f, nullptr) ? 0 : 1;
  });
  for (int i = 0; i < 200; ++i) {
    // Of all threads that there are at that moment, as `taskset --all-tasks` does it.
    for (const auto& thread : std::filesystem::directory_iterator("/proc/self/task")) {
      sched_setaffinity(std::stoi(thread.path().filename()), sizeof(all), i % 2 == 0 ? &one : &all);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  done = true;
  caller.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(leakyrelu_set_num_threads(before), LEAKYRELU_OK);
}

// ---- In a process of its own

int CountProcessors() {
  cpu_set_t processors;
  return sched_getaffinity(0, sizeof(processors), &processors) == 0 ? CPU_COUNT(&processors) : -1;
}

// What the flags make this program do; the exit status is the answer.
int RunAlone(const std::string& flag) {
  alarm(60);
  if (flag == "--get-num-threads") return leakyrelu_get_num_threads();
  if (flag == "--count-threads") {
    if (CountThreads() != 1 || !ComputesRightly(kLarge, 0.5f, nullptr)) return 255;
    return CountThreads();
  }
  if (flag == "--set-3-and-count-threads") {
    if (leakyrelu_set_num_threads(3) != LEAKYRELU_OK) return 255;
    return RunAlone("--count-threads");
  }
  if (flag == "--set-1-and-count-threads") {
    if (leakyrelu_set_num_threads(1) != LEAKYRELU_OK) return 255;
    return RunAlone("--count-threads");
  }
  if (flag == "--set-a-billion-and-count-threads") {
    if (leakyrelu_set_num_threads(1000000000) != LEAKYRELU_OK || !ComputesRightly(16 * kLarge, 0.5f, nullptr))
      return 255;
    return CountThreads() <= 8 * CountProcessors() ? 0 : 1;
  }
  if (flag == "--refuse-threads") {
    int64_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    const auto used = static_cast<rlim_t>(pages * sysconf(_SC_PAGESIZE));
    rlimit limit = {used + (7 << 20), RLIM_INFINITY};  // the stack of a thread takes 8 MiB
    leakyrelu_set_num_threads(3);
    if (setrlimit(RLIMIT_AS, &limit) != 0 || !ComputesRightly(kLarge / 2, 0.5f, nullptr)) return 255;
    if (CountThreads() != 1) return 254;
    limit.rlim_cur = RLIM_INFINITY;
    if (setrlimit(RLIMIT_AS, &limit) != 0) return 253;
    std::this_thread::sleep_for(std::chrono::milliseconds(1100));  // it does not ask all the time
    return ComputesRightly(kLarge / 2, 0.5f, nullptr) ? CountThreads() : 252;
  }
  if (flag == "--exit-during-calls") {
    leakyrelu_set_num_threads(3);
    std::atomic<int> calls{0};
    for (int i = 0; i < 3; ++i) {
      std::thread([&calls] {
        for (;; ++calls) ComputesRightly(kLarge / 4, 0.5f, nullptr);
      }).detach();
    }
    while (calls < 10) std::this_thread::yield();
    std::exit(0);
  }
  if (flag == "--unload-plugin") {
    void* const plugin = dlopen(LEAKYRELU_TESTS_PLUGIN, RTLD_NOW | RTLD_LOCAL);
    if (plugin == nullptr) return 255;
    const auto compute = reinterpret_cast<int (*)()>(dlsym(plugin, "ComputeInPlugin"));
    if (compute == nullptr || compute() != 0 || dlclose(plugin) != 0) return 254;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));  // for its threads to fall asleep
    return CountThreads();
  }
  if (flag == "--small-and-count-threads") return ComputesRightly(1000, 0.5f, nullptr) ? CountThreads() : 255;
  if (flag == "--fork-before-use") {
    const int status = StatusOfForked(ChildComputes);
    return status == 0 ? ChildComputes() : status;
  }
  return 255;
}

// Its exit status, with OMP_NUM_THREADS set (or unset: null) before it starts; -1 if a signal ended it.
int StatusOfAlone(const char* flag, const char* omp_num_threads) {
  return StatusOfForked([flag, omp_num_threads]() -> int {
    if (omp_num_threads != nullptr) {
      setenv("OMP_NUM_THREADS", omp_num_threads, 1);
    } else {
      unsetenv("OMP_NUM_THREADS");
    }
    execl("/proc/self/exe", "processes_test", flag, nullptr);
    return 254;
  });
}

class AloneTest : public testing::Test {
 protected:
  void SetUp() override {
    if (test_util::kThreadSanitizer) GTEST_SKIP() << "ThreadSanitizer has a thread of its own";
    if (test_util::kQemu) GTEST_SKIP() << "qemu has a thread of its own, and the kernel cannot start a program for it";
  }
};

TEST_F(AloneTest, ForkBeforeUse) { EXPECT_EQ(StatusOfAlone("--fork-before-use", "4"), 0); }

TEST_F(AloneTest, OmpNumThreadsIsReported) {
  EXPECT_EQ(StatusOfAlone("--get-num-threads", "1"), 1);
  EXPECT_EQ(StatusOfAlone("--get-num-threads", "5"), 5);
}

TEST_F(AloneTest, OmpNumThreadsIsObeyed) {
  EXPECT_EQ(StatusOfAlone("--count-threads", "1"), 1);
  EXPECT_EQ(StatusOfAlone("--count-threads", "5"), 5);
}

TEST_F(AloneTest, WholeMachineByDefault) { EXPECT_EQ(StatusOfAlone("--get-num-threads", nullptr), CountProcessors()); }

TEST_F(AloneTest, SetterIsObeyed) {
  EXPECT_EQ(StatusOfAlone("--set-3-and-count-threads", "1"), 3);
  EXPECT_EQ(StatusOfAlone("--set-1-and-count-threads", "5"), 1);
}

TEST_F(AloneTest, AnyNumberMaySafelyBeSet) {
  EXPECT_EQ(StatusOfAlone("--set-a-billion-and-count-threads", nullptr), 0);
}

TEST_F(AloneTest, GoesOnWhereTheSystemRefusesThreadsAndAsksAgainLater) {
  if (test_util::kSanitized) GTEST_SKIP() << "sanitizers need address space of their own";
  EXPECT_EQ(StatusOfAlone("--refuse-threads", nullptr), 3);
}

TEST_F(AloneTest, ExitDuringCalls) { EXPECT_EQ(StatusOfAlone("--exit-during-calls", nullptr), 0); }

TEST_F(AloneTest, UnloadedPluginLeavesItsThreadsAlive) { EXPECT_EQ(StatusOfAlone("--unload-plugin", nullptr), 3); }

TEST_F(AloneTest, SmallArraysStartNoThread) { EXPECT_EQ(StatusOfAlone("--small-and-count-threads", "5"), 1); }

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  return argc > 1 ? RunAlone(argv[1]) : RUN_ALL_TESTS();
}
