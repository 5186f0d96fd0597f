// Proves calls from several threads at once.

#include <gtest/gtest.h>

#include <thread>

#include "leakyrelu/leakyrelu.h"
#include "right_calls.h"
#include "test_util.h"

namespace {

using test_util::ComputesRightly;
using test_util::ComputesRightlyConcurrently;
using test_util::kLarge;

TEST(ConcurrentCallsTest, OnStdThreads) {
  const leakyrelu_executor executor = {nullptr, test_util::RunOnStdThreads, 3};
  EXPECT_TRUE(ComputesRightlyConcurrently(&executor));
}

TEST(ConcurrentCallsTest, OnTheCallersThread) {
  const leakyrelu_executor executor = {nullptr, test_util::RunBackwards, 1};
  EXPECT_TRUE(ComputesRightlyConcurrently(&executor));
}

TEST(ConcurrentCallsTest, OnTheLibrarysThreads) {
  const int32_t before = leakyrelu_get_num_threads();
  leakyrelu_set_num_threads(3);
  EXPECT_TRUE(ComputesRightlyConcurrently(nullptr));
  leakyrelu_set_num_threads(before);
}

TEST(ConcurrentCallsTest, SettingTheNumberOfThreadsMeanwhile) {
  const int32_t before = leakyrelu_get_num_threads();
  std::thread setter([] {
    for (int32_t i = 1; i < 1000; ++i) leakyrelu_set_num_threads(i % 4 + 1);
  });
  const leakyrelu_executor executor = {nullptr, test_util::RunOnStdThreads, 2};
  EXPECT_TRUE(ComputesRightly(kLarge, 0.5f, &executor));
  EXPECT_GE(leakyrelu_get_num_threads(), 1);
  setter.join();
  leakyrelu_set_num_threads(before);
}

}  // namespace
