// What the tests of the memory for large buffers share.
#ifndef LEAKYRELU_TESTS_CORE_MEMORY_TEST_H_
#define LEAKYRELU_TESTS_CORE_MEMORY_TEST_H_

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>

#include "leakyrelu/leakyrelu.h"
#include "memory.h"

inline constexpr size_t kMiB = size_t{1} << 20;
inline constexpr int64_t kSignedMiB = 1 << 20;

inline leakyrelu_memory_stats Stats() { return leakyrelu_get_memory_stats(); }

class MemoryTest : public testing::Test {
 protected:
  void SetUp() override {
    leakyrelu::SetLargeBytes(kMiB);
    leakyrelu_set_cache_limit(-1);
    leakyrelu_empty_cache();
    ASSERT_EQ(Stats().in_use, 0) << "an earlier test has not freed what it had";
  }
};

#endif  // LEAKYRELU_TESTS_CORE_MEMORY_TEST_H_
