// Proves, on Linux, what the memory for large buffers does around fork() and when memory is short, and that it has no
// thread.

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "memory_test.h"
#include "test_util.h"

namespace {

using test_util::IsMapped;

size_t Threads() {
  const std::filesystem::directory_iterator tasks("/proc/self/task");
  return static_cast<size_t>(std::distance(begin(tasks), end(tasks)));
}

TEST_F(MemoryTest, NothingIsKeptByAThread) {
  const size_t threads = Threads();
  leakyrelu_free(leakyrelu_alloc(4 * kMiB));
  EXPECT_EQ(Stats().cached, 4 * kSignedMiB);
  EXPECT_EQ(Threads(), threads);
}

// ---- Around fork()

// The exit status of a child that runs `body`, or -1.
template <class Body>
int InAChild(Body body) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);
    _exit(body());
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST_F(MemoryTest, AChildBeginsWithNothingKept) {
  leakyrelu_free(leakyrelu_alloc(4 * kMiB));
  EXPECT_EQ(InAChild([] { return Stats().cached == 0 ? 0 : 1; }), 0);
  EXPECT_EQ(Stats().cached, 0) << "the parent kept pages that it shares with a child";
}

TEST_F(MemoryTest, AChildMayFreeWhatItsParentHas) {
  auto* memory = static_cast<unsigned char*>(leakyrelu_alloc(4 * kMiB));
  memory[0] = 1;
  EXPECT_EQ(InAChild([&] {
              memory[0] = 2;
              leakyrelu_free(memory);
              return leakyrelu_alloc(4 * kMiB) == memory ? 0 : 1;
            }),
            0);
  EXPECT_EQ(memory[0], 1);
  leakyrelu_free(memory);
}

TEST_F(MemoryTest, ForkWhileOthersAllocate) {
  if (test_util::kSanitized) GTEST_SKIP() << "sanitizers do not support threads in a child of a process that had some";
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&stop] {
      while (!stop) leakyrelu_free(leakyrelu_alloc(2 * kMiB));
    });
  }
  int failed = 0;
  for (int i = 0; i < 50; ++i) {
    failed += InAChild([] {
                leakyrelu_free(leakyrelu_alloc(2 * kMiB));
                return 0;
              }) != 0;
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failed, 0);
}

// ---- When the system refuses

TEST_F(MemoryTest, KeptMemoryMakesRoomWhenThereIsNoOther) {
  if (test_util::kSanitized) GTEST_SKIP() << "sanitizers need more address space than there is then";
  if (test_util::kQemu) GTEST_SKIP() << "qemu does not pass on limits of the address space";
  void* memory = leakyrelu_alloc(256 * kMiB);
  leakyrelu_free(memory);
  EXPECT_EQ(InAChild([] {
              void* kept = leakyrelu_alloc(256 * kMiB);
              leakyrelu_free(kept);
              std::ifstream statm("/proc/self/statm");
              rlim_t pages = 0;
              statm >> pages;
              const rlim_t bytes = pages * static_cast<rlim_t>(sysconf(_SC_PAGESIZE)) + 64 * kMiB;
              const rlimit limit = {bytes, bytes};
              if (setrlimit(RLIMIT_AS, &limit) != 0) return 2;
              void* larger = leakyrelu_alloc(300 * kMiB);
              if (larger == nullptr) return 3;
              if (leakyrelu_alloc(300 * kMiB) != nullptr) return 4;
              leakyrelu_free(larger);
              return 0;
            }),
            0);
}

// ---- What is kept is the system's to take

TEST_F(MemoryTest, WhatTheSystemMayNotTakeIsNotKept) {
  if (test_util::kQemu) GTEST_SKIP() << "qemu does not pass on MADV_FREE";
  if (test_util::kSanitized) GTEST_SKIP() << "sanitizers ignore mlock()";
  void* memory = leakyrelu_alloc(4 * kMiB);
  const bool is_locked = mlock(memory, 4 * kMiB) == 0;
  leakyrelu_free(memory);
  if (!is_locked) GTEST_SKIP() << "this process may not lock 4 MiB";
  EXPECT_EQ(Stats().cached, 0);
  EXPECT_FALSE(IsMapped(memory));
}

// A control group with `bytes` of memory and no swap, version 1 or 2, that goes with the test.
class ShortGroup {
 public:
  explicit ShortGroup(size_t bytes) {
    const std::string name = "leakyrelu_test_" + std::to_string(getpid());
    const std::string limit = std::to_string(bytes);
    if (Make("/sys/fs/cgroup/memory/" + name) && Write("memory.limit_in_bytes", limit)) {
      is_short_ = Write("memory.memsw.limit_in_bytes", limit) || HasNoSwap();
    } else if (Make("/sys/fs/cgroup/" + name) && Write("memory.max", limit)) {
      is_short_ = Write("memory.swap.max", "0") || HasNoSwap();
    }
  }
  ~ShortGroup() { Remove(); }
  ShortGroup(const ShortGroup&) = delete;
  ShortGroup& operator=(const ShortGroup&) = delete;

  bool is_short() const { return is_short_; }
  bool Enter() const { return Write("cgroup.procs", "0"); }

 private:
  bool Make(const std::string& path) {
    Remove();
    path_ = path;
    return mkdir(path.c_str(), 0755) == 0;
  }
  void Remove() const {
    // The group of a process that has ended is empty a little later.
    for (int i = 0; i < 100 && !path_.empty() && rmdir(path_.c_str()) != 0 && errno == EBUSY; ++i) usleep(10000);
  }
  bool Write(const std::string& file, const std::string& text) const {
    std::ofstream stream(path_ + "/" + file);
    stream << text << std::flush;
    return stream.good();
  }
  static bool HasNoSwap() {
    std::ifstream swaps("/proc/swaps");
    std::string line;
    return std::getline(swaps, line) && !std::getline(swaps, line);
  }

  std::string path_;
  bool is_short_ = false;
};

TEST_F(MemoryTest, TheKernelTakesWhatIsKeptWhenAGroupIsShort) {
  if (test_util::kSanitized) GTEST_SKIP() << "sanitizers need more memory than there is then";
  if (test_util::kQemu) GTEST_SKIP() << "qemu does not pass on MADV_FREE";
  const ShortGroup group(96 * kMiB);
  if (!group.is_short()) GTEST_SKIP() << "this process may not make a control group with little memory";
  EXPECT_EQ(InAChild([&group] {
              if (!group.Enter()) return 2;
              auto* memory = static_cast<unsigned char*>(leakyrelu_alloc(64 * kMiB));
              std::memset(memory, 0x5A, 64 * kMiB);
              leakyrelu_free(memory);
              if (Stats().cached != 64 * kSignedMiB) return 3;
              void* other = test_util::MapZeros(64 * kMiB);
              std::memset(other, 1, 64 * kMiB);  // the kernel ends the process if it finds no memory for it
              if (Stats().cached != 64 * kSignedMiB) return 4;
              std::vector<unsigned char> resident(64 * kMiB / test_util::PageBytes());
              if (mincore(memory, 64 * kMiB, resident.data()) != 0) return 5;
              if (std::count(resident.begin(), resident.end(), 1) > std::ssize(resident) / 4 * 3) return 6;
              test_util::Unmap(other, 64 * kMiB);
              if (leakyrelu_alloc(64 * kMiB) != memory) return 7;
              std::memset(memory, 0x5A, 64 * kMiB);
              return 0;
            }),
            0);
}

}  // namespace
