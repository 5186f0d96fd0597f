// Proves what differs between operating systems, by what must be true on all of them.

#include "system.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "test_util.h"

namespace {

constexpr size_t kBytes = leakyrelu::kHugePage + leakyrelu::kBytesBeforePages;

TEST(MachineTest, HasSomeOfEach) {
  EXPECT_GE(leakyrelu::Cores(), 1);
  EXPECT_GE(leakyrelu::CacheBytes(), 16 * 1024);
  EXPECT_GE(leakyrelu::MemoryBytes(), leakyrelu::CacheBytes());
}

TEST(PagesTest, AreAlignedZerosAndGoBack) {
  for (size_t bytes : {leakyrelu::kBytesBeforePages, leakyrelu::kHugePage, kBytes}) {
    auto* memory = static_cast<std::byte*>(leakyrelu::MapPages(bytes));
    ASSERT_NE(memory, nullptr);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(memory) % leakyrelu::kHugePage, 0u);
    std::byte* const begin = memory - leakyrelu::kBytesBeforePages;
    std::byte* const end = memory + bytes;
    EXPECT_EQ(std::count(begin, end, std::byte{0}), end - begin);
    std::fill(begin, end, test_util::kCanary);
    leakyrelu::UnmapPages(memory, bytes);
    for (const std::byte* at : {begin, memory, end - 1}) EXPECT_FALSE(test_util::IsMapped(at));
  }
}

TEST(PagesTest, LentOnesCanBeWrittenAgainAndThoseBeforeStay) {
  auto* memory = static_cast<std::byte*>(leakyrelu::MapPages(kBytes));
  ASSERT_NE(memory, nullptr);
  std::byte* const begin = memory - leakyrelu::kBytesBeforePages;
  for (int i = 0; i < 3; ++i) {
    std::fill(begin, memory + kBytes, test_util::kCanary);
    ASSERT_TRUE(test_util::IsUntouched(begin, memory + kBytes));
    ASSERT_TRUE(leakyrelu::LendPages(memory, kBytes));
    EXPECT_TRUE(test_util::IsUntouched(begin, memory));
    leakyrelu::ReclaimPages(memory, kBytes);
  }
  leakyrelu::UnmapPages(memory, kBytes);
}

TEST(PagesTest, ThereAreNotAsMany) { EXPECT_EQ(leakyrelu::MapPages(size_t{1} << 50), nullptr); }

TEST(ThreadTest, RunsWithItsContext) {
  static std::atomic<int> number{0};  // the thread may still be there when the test ends
  ASSERT_TRUE(leakyrelu::StartThread(
      [](void* context) {
        auto* const shared = static_cast<std::atomic<int>*>(context);
        shared->store(7);
        shared->notify_one();
      },
      &number));
  number.wait(0);
  EXPECT_EQ(number, 7);
}

}  // namespace
