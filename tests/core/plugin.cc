// What processes_test loads and unloads: a library that has leakyrelu inside and starts its threads.

#include <vector>

#include "leakyrelu/leakyrelu.h"

extern "C" __attribute__((visibility("default"))) int ComputeInPlugin() {
  const int64_t elements = 1 << 20;
  std::vector<float> x(static_cast<size_t>(elements), -1.0f);
  const leakyrelu_array array = {x.data(), LEAKYRELU_FLOAT32, 1, &elements, nullptr};
  if (leakyrelu_set_num_threads(3) != LEAKYRELU_OK) return 1;
  if (leakyrelu_forward(&array, &array, 0.5, nullptr, 0, nullptr) != LEAKYRELU_OK) return 2;
  return x.front() == -0.5f && x.back() == -0.5f ? 0 : 3;
}
