// Proves the memory for large buffers: what it hands out, how much it keeps, and that it lets go of it.

#include "memory_test.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <limits>
#include <thread>
#include <vector>

#include "leakyrelu/leakyrelu.h"
#include "test_util.h"

namespace {

using test_util::IsMapped;

// ---- What is handed out

TEST_F(MemoryTest, SmallBuffersAreAligned) {
  for (size_t bytes : std::vector<size_t>{0, 1, 63, 64, 65, 4096, kMiB - 1}) {
    void* memory = leakyrelu_alloc(bytes);
    ASSERT_NE(memory, nullptr);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(memory) % 64, 0u);
    std::memset(memory, 0x5A, bytes);
    EXPECT_EQ(Stats().in_use, 0) << bytes << " bytes count as large";
    leakyrelu_free(memory);
  }
  EXPECT_EQ(Stats().cached, 0);
}

TEST_F(MemoryTest, LargeBuffersAreAlignedToHugePages) {
  for (size_t bytes : std::vector<size_t>{kMiB, kMiB + 1, 2 * kMiB, 5 * kMiB + 12345}) {
    void* memory = leakyrelu_alloc(bytes);
    ASSERT_NE(memory, nullptr);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(memory) % (2 * kMiB), 0u);
    std::memset(memory, 0x5A, bytes);
    EXPECT_GE(Stats().in_use, static_cast<int64_t>(bytes));
    EXPECT_LT(Stats().in_use, static_cast<int64_t>(bytes) + 65536);
    leakyrelu_free(memory);
  }
}

TEST_F(MemoryTest, NullCanBeFreed) { leakyrelu_free(nullptr); }

TEST_F(MemoryTest, ThereIsNotAsMuch) {
  for (size_t bytes : {std::numeric_limits<size_t>::max(), size_t{1} << 63, size_t{1} << 62, size_t{1} << 50}) {
    if (test_util::kSanitized && bytes <= PTRDIFF_MAX) continue;  // their allocator ends the process
    EXPECT_EQ(leakyrelu_alloc(bytes), nullptr) << bytes;
  }
  EXPECT_EQ(Stats().in_use, 0);
}

// ---- Reuse

TEST_F(MemoryTest, AFreedBufferIsReused) {
  void* memory = leakyrelu_alloc(4 * kMiB);
  const leakyrelu_memory_stats before = Stats();
  leakyrelu_free(memory);
  EXPECT_EQ(Stats().in_use, 0);
  EXPECT_EQ(Stats().cached, 4 * kSignedMiB);
  EXPECT_EQ(leakyrelu_alloc(4 * kMiB), memory);
  EXPECT_EQ(Stats().cached, 0);
  EXPECT_EQ(Stats().in_use, 4 * kSignedMiB);
  EXPECT_EQ(Stats().reused, before.reused + 1);
  EXPECT_EQ(Stats().fresh, before.fresh);
  leakyrelu_free(memory);
}

TEST_F(MemoryTest, AlsoForASlightlySmallerOne) {
  void* memory = leakyrelu_alloc(9 * kMiB);
  leakyrelu_free(memory);
  EXPECT_EQ(leakyrelu_alloc(8 * kMiB), memory);
  EXPECT_EQ(Stats().in_use, 9 * kSignedMiB);
  leakyrelu_free(memory);
}

TEST_F(MemoryTest, MuchLessGetsItsOwn) {
  void* memory = leakyrelu_alloc(9 * kMiB + 65536);
  void* whole = leakyrelu_alloc(9 * kMiB + 65536);
  leakyrelu_free(memory);
  void* small = leakyrelu_alloc(8 * kMiB);
  EXPECT_NE(small, memory) << "nearly a megabyte that nobody uses counts as in use";
  EXPECT_EQ(Stats().in_use, 17 * kSignedMiB + 65536);
  leakyrelu_free(small);
  leakyrelu_free(whole);
}

TEST_F(MemoryTest, NotForALargerOne) {
  leakyrelu_free(leakyrelu_alloc(4 * kMiB));
  const int64_t fresh = Stats().fresh;
  void* other = leakyrelu_alloc(4 * kMiB + 1);
  EXPECT_EQ(Stats().fresh, fresh + 1);
  leakyrelu_free(other);
}

TEST_F(MemoryTest, TheSmallestThatFits) {
  void* small = leakyrelu_alloc(8 * kMiB);
  void* large = leakyrelu_alloc(8 * kMiB + 512 * 1024);
  leakyrelu_free(small);
  leakyrelu_free(large);
  EXPECT_EQ(leakyrelu_alloc(8 * kMiB), small);
  leakyrelu_free(small);
}

TEST_F(MemoryTest, OfEqualsTheOneFreedLast) {
  void* first = leakyrelu_alloc(4 * kMiB);
  void* last = leakyrelu_alloc(4 * kMiB);
  leakyrelu_free(first);
  leakyrelu_free(last);
  EXPECT_EQ(leakyrelu_alloc(4 * kMiB), last);
  leakyrelu_free(last);
}

// ---- How much is kept

TEST_F(MemoryTest, NeverMoreThanWasInUseAtOnce) {
  test_util::Random random(1);
  std::vector<void*> buffers;
  int64_t peak = 0;
  for (int i = 0; i < 5000 / test_util::kThinning; ++i) {
    if (buffers.empty() || random.OneIn(2)) {
      buffers.push_back(leakyrelu_alloc(kMiB + static_cast<size_t>(random.Between(0, 15)) * 512 * 1024));
    } else {
      std::swap(buffers[static_cast<size_t>(random.Between(0, std::ssize(buffers) - 1))], buffers.back());
      leakyrelu_free(buffers.back());
      buffers.pop_back();
    }
    peak = std::max(peak, Stats().in_use);
    ASSERT_LE(Stats().in_use + Stats().cached, peak) << "after " << i + 1 << " calls";
  }
  for (void* buffer : buffers) leakyrelu_free(buffer);
}

TEST_F(MemoryTest, TheNewestStaysWhenLessIsInUse) {
  for (size_t size : std::vector<size_t>{4, 6, 9, 14}) {
    leakyrelu_free(leakyrelu_alloc(size * kMiB));
    EXPECT_EQ(Stats().cached, static_cast<int64_t>(size) * kSignedMiB);
  }
}

TEST_F(MemoryTest, TheOldestGoFirst) {
  std::vector<void*> buffers;
  for (int i = 0; i < 3; ++i) buffers.push_back(leakyrelu_alloc(4 * kMiB));
  leakyrelu_set_cache_limit(8 * kSignedMiB);
  for (void* buffer : buffers) leakyrelu_free(buffer);
  EXPECT_EQ(Stats().cached, 8 * kSignedMiB);
  EXPECT_FALSE(IsMapped(buffers[0]));
  EXPECT_TRUE(IsMapped(buffers[1]));
  EXPECT_TRUE(IsMapped(buffers[2]));
}

TEST_F(MemoryTest, NoBufferAboveTheLimit) {
  void* small = leakyrelu_alloc(2 * kMiB);
  void* large = leakyrelu_alloc(8 * kMiB);
  leakyrelu_set_cache_limit(4 * kSignedMiB);
  leakyrelu_free(small);
  leakyrelu_free(large);
  EXPECT_TRUE(IsMapped(small)) << "made room for one that is not kept anyway";
  EXPECT_FALSE(IsMapped(large));
}

TEST_F(MemoryTest, ALowerLimitIsObeyedAtOnce) {
  void* memory = leakyrelu_alloc(4 * kMiB);
  leakyrelu_free(memory);
  leakyrelu_set_cache_limit(4 * kSignedMiB - 1);
  EXPECT_EQ(Stats().cached, 0);
  EXPECT_FALSE(IsMapped(memory));
}

TEST_F(MemoryTest, ZeroTurnsItOff) {
  void* before = leakyrelu_alloc(4 * kMiB);
  leakyrelu_set_cache_limit(0);
  EXPECT_EQ(Stats().limit, 0);
  void* memory = leakyrelu_alloc(4 * kMiB);
  ASSERT_NE(memory, nullptr);
  std::memset(memory, 0x5A, 4 * kMiB);
  EXPECT_EQ(Stats().in_use, 4 * kSignedMiB) << "only the one from before counts";
  leakyrelu_free(memory);
  leakyrelu_free(before);
  EXPECT_EQ(Stats().cached, 0);
}

TEST_F(MemoryTest, TheDefaultLimit) {
  leakyrelu_set_cache_limit(123);
  EXPECT_EQ(Stats().limit, 123);
  leakyrelu_set_cache_limit(-1);
  EXPECT_LE(Stats().limit, int64_t{1} << 30);
  EXPECT_GT(Stats().limit, kSignedMiB);
}

TEST_F(MemoryTest, NoMoreThanTwoOfTheLargest) {
  std::vector<void*> buffers;
  for (size_t size : std::vector<size_t>{9, 3, 3, 3, 3, 3, 3, 3}) buffers.push_back(leakyrelu_alloc(size * kMiB));
  for (void* buffer : buffers) leakyrelu_free(buffer);
  EXPECT_EQ(Stats().cached, 18 * kSignedMiB);
}

TEST_F(MemoryTest, EmptyCacheGivesAllBack) {
  std::vector<void*> buffers;
  for (size_t size : std::vector<size_t>{1, 2, 3, 4, 5, 9, 6}) buffers.push_back(leakyrelu_alloc(size * kMiB));
  for (void* buffer : buffers) leakyrelu_free(buffer);
  EXPECT_EQ(Stats().cached, 15 * kSignedMiB);
  leakyrelu_empty_cache();
  EXPECT_EQ(Stats().cached, 0);
  for (void* buffer : buffers) EXPECT_FALSE(IsMapped(buffer));
}

TEST_F(MemoryTest, MoreBuffersThanCanBeKept) {
  std::vector<void*> buffers = {leakyrelu_alloc(100 * kMiB)};
  for (int i = 0; i < 100; ++i) buffers.push_back(leakyrelu_alloc(kMiB));
  for (void* buffer : buffers) leakyrelu_free(buffer);
  EXPECT_EQ(Stats().in_use, 0);
  EXPECT_LE(Stats().cached, 200 * kSignedMiB);
  EXPECT_GE(Stats().cached, 100 * kSignedMiB);
}

TEST_F(MemoryTest, WhatIsLargeByDefault) {
  leakyrelu::SetLargeBytes(leakyrelu::kLargeBytes);
  void* small = leakyrelu_alloc(32 * kMiB - 1);
  EXPECT_EQ(Stats().in_use, 0);
  void* large = leakyrelu_alloc(32 * kMiB);
  EXPECT_EQ(Stats().in_use, 32 * kSignedMiB);
  EXPECT_EQ(Stats().large, 32 * kSignedMiB);
  leakyrelu_free(small);
  leakyrelu_free(large);
}

TEST_F(MemoryTest, WhatWasUnusedForLongGoesAtTheNextCall) {
  void* idle = leakyrelu_alloc(4 * kMiB);
  void* used = leakyrelu_alloc(8 * kMiB);
  leakyrelu_free(idle);
  leakyrelu_free(used);
  EXPECT_EQ(Stats().cached, 12 * kSignedMiB);
  std::this_thread::sleep_for(std::chrono::milliseconds(1000 * leakyrelu::kIdleSeconds + 100));
  EXPECT_EQ(leakyrelu_alloc(8 * kMiB), used) << "not even if it is what the call wants";
  EXPECT_FALSE(IsMapped(idle));
  leakyrelu_free(used);
  EXPECT_EQ(Stats().cached, 8 * kSignedMiB) << "unused for no longer than since just now";
}

TEST_F(MemoryTest, AlsoWhereTheCallOnlyLooks) {
  void* memory = leakyrelu_alloc(4 * kMiB);
  leakyrelu_free(memory);
  std::this_thread::sleep_for(std::chrono::milliseconds(1000 * leakyrelu::kIdleSeconds + 100));
  EXPECT_TRUE(IsMapped(memory)) << "who should have unmapped it?";
  EXPECT_EQ(Stats().cached, 0);
  EXPECT_FALSE(IsMapped(memory));
}

// ---- Threads

// Each thread owns what it got: nobody else writes to it.
void AllocateAndFree(uint32_t seed, int rounds, std::atomic<int>* wrong) {
  test_util::Random random(seed);
  std::vector<std::pair<unsigned char*, size_t>> buffers;
  const auto pattern = static_cast<unsigned char>(seed);
  for (int i = 0; i < rounds; ++i) {
    if (buffers.size() < 4 && !random.OneIn(3)) {
      const size_t bytes = kMiB + static_cast<size_t>(random.Between(0, 40)) * 65536;
      auto* memory = static_cast<unsigned char*>(leakyrelu_alloc(bytes));
      for (size_t at = 0; at < bytes; at += 4096) memory[at] = pattern;
      buffers.emplace_back(memory, bytes);
    } else if (!buffers.empty()) {
      const auto [memory, bytes] = buffers.back();
      buffers.pop_back();
      for (size_t at = 0; at < bytes; at += 4096) *wrong += memory[at] != pattern;
      leakyrelu_free(memory);
    }
    if (random.OneIn(50)) leakyrelu_empty_cache();
    if (random.OneIn(50)) leakyrelu_set_cache_limit(random.Between(-1, 10) * kSignedMiB);
  }
  for (const auto& [memory, bytes] : buffers) leakyrelu_free(memory);
}

TEST_F(MemoryTest, ManyThreads) {
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (uint32_t i = 1; i <= 4; ++i) threads.emplace_back(AllocateAndFree, i, 1000 / test_util::kThinning, &wrong);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(Stats().in_use, 0);
}

}  // namespace
