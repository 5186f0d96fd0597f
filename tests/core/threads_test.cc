// Proves calls from several threads at once.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <thread>
#include <vector>

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

// The input and, for the backward, the mask are everybody's; each has an output of its own.
TEST(ConcurrentCallsTest, SixtyFourCallersOfOneInput) {
  constexpr size_t kCallers = 64;
  const int64_t elements = (int64_t{1} << 17) + 3;  // of several tasks
  const size_t size = static_cast<size_t>(elements);
  const double slope = 0.1;
  const auto array = [&elements](std::vector<float>& numbers) {
    return leakyrelu_array{numbers.data(), LEAKYRELU_FLOAT32, 1, &elements, nullptr};
  };
  std::vector<float> x(size);
  test_util::Random random(1);
  for (float& number : x) number = static_cast<float>(random.Between(-1000, 1000));
  std::vector<float> y(size);
  std::vector<float> dx(size);
  std::vector<uint8_t> mask(leakyrelu_mask_bytes(elements));
  const leakyrelu_array x_array = array(x);
  const leakyrelu_array y_array = array(y);
  const leakyrelu_array dx_array = array(dx);
  const leakyrelu_executor alone = {nullptr, test_util::RunBackwards, 1};
  ASSERT_EQ(leakyrelu_forward(&x_array, &y_array, slope, mask.data(), mask.size(), &alone), LEAKYRELU_OK);
  ASSERT_EQ(leakyrelu_backward(&y_array, mask.data(), mask.size(), &dx_array, slope, &alone), LEAKYRELU_OK);

  const int32_t before = leakyrelu_get_num_threads();
  leakyrelu_set_num_threads(4);
  std::vector<int> right(kCallers);
  std::vector<std::thread> callers;
  for (int& is_right : right) {
    callers.emplace_back([&] {
      std::vector<float> own(size);
      std::vector<uint8_t> own_mask(mask.size());
      const leakyrelu_array out = array(own);
      for (int round = 0; round < 5; ++round) {
        is_right =
            leakyrelu_forward(&x_array, &out, slope, own_mask.data(), own_mask.size(), nullptr) == LEAKYRELU_OK &&
            own == y && own_mask == mask &&
            leakyrelu_backward(&y_array, mask.data(), mask.size(), &out, slope, nullptr) == LEAKYRELU_OK && own == dx;
        if (!is_right) return;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  leakyrelu_set_num_threads(before);
  EXPECT_EQ(std::count(right.begin(), right.end(), 1), kCallers);
}

}  // namespace
