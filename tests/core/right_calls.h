// Calls that check their own results, for tests of threads and processes.
#ifndef LEAKYRELU_TESTS_CORE_RIGHT_CALLS_H_
#define LEAKYRELU_TESTS_CORE_RIGHT_CALLS_H_

#include <algorithm>
#include <cstdint>
#include <thread>
#include <vector>

#include "leakyrelu/leakyrelu.h"
#include "test_util.h"

namespace test_util {

inline constexpr int64_t kLarge = 1 << 20;  // elements: enough for many tasks, and half of them to wake threads

// A forward with mask and a backward on an array of its own; true if all is right.
inline bool ComputesRightly(int64_t elements, float slope, const leakyrelu_executor* executor) {
  const size_t size = static_cast<size_t>(elements);
  std::vector<float> x(size);
  for (size_t i = 0; i < size; ++i) x[i] = static_cast<float>(i % 5) - 2;
  std::vector<float> y(size);
  std::vector<uint8_t> mask(leakyrelu_mask_bytes(elements));
  const leakyrelu_array x_array = {x.data(), LEAKYRELU_FLOAT32, 1, &elements, nullptr};
  const leakyrelu_array y_array = {y.data(), LEAKYRELU_FLOAT32, 1, &elements, nullptr};
  if (leakyrelu_forward(&x_array, &y_array, slope, mask.data(), mask.size(), executor) != LEAKYRELU_OK) return false;
  for (size_t i = 0; i < size; ++i) {
    const bool positive = i % 5 > 2;
    if (y[i] != (positive ? x[i] : x[i] * slope)) return false;
    if (MaskBit(mask.data(), static_cast<int64_t>(i)) != positive) return false;
  }
  if (leakyrelu_backward(&x_array, mask.data(), mask.size(), &y_array, slope, executor) != LEAKYRELU_OK) return false;
  for (size_t i = 0; i < size; ++i) {
    if (y[i] != (i % 5 > 2 ? x[i] : x[i] * slope)) return false;
  }
  return true;
}

// ComputesRightly in several threads at once, each with a slope of its own.
inline bool ComputesRightlyConcurrently(const leakyrelu_executor* executor) {
  constexpr size_t kCallers = 4;
  std::vector<int> right(kCallers);
  std::vector<std::thread> callers;
  for (size_t i = 0; i < kCallers; ++i) {
    callers.emplace_back([&right, i, executor] {
      right[i] = 1;
      for (int round = 0; round < 3; ++round) {
        right[i] &= ComputesRightly(kLarge / 2, 0.5f * static_cast<float>(i + 1), executor);
        right[i] &= ComputesRightly(100, 0.25f, executor);
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  return std::count(right.begin(), right.end(), 1) == kCallers;
}

}  // namespace test_util

#endif  // LEAKYRELU_TESTS_CORE_RIGHT_CALLS_H_
