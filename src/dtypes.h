// The one table of dtypes: everything that depends on a dtype is generated from it. CONTRIBUTING.md says what else a
// new one needs.
#ifndef LEAKYRELU_SRC_DTYPES_H_
#define LEAKYRELU_SRC_DTYPES_H_

#include <cstddef>
#include <cstdint>

#include "leakyrelu/leakyrelu.h"

// X(constant, name, lanes type in lanes-inl.h, bytes per element, type of the slope, PyTorch's at::ScalarType), in the
// order of the constants. PyTorch's is Undefined where it has none.
#define LEAKYRELU_FOR_EACH_DTYPE(X)                                    \
  X(LEAKYRELU_FLOAT16, "float16", Float16Lanes, 2, float, Half)        \
  X(LEAKYRELU_BFLOAT16, "bfloat16", BFloat16Lanes, 2, float, BFloat16) \
  X(LEAKYRELU_FLOAT32, "float32", FloatLanes<float>, 4, float, Float)  \
  X(LEAKYRELU_FLOAT64, "float64", FloatLanes<double>, 8, double, Double)

namespace leakyrelu {

struct DTypeInfo {
  leakyrelu_dtype dtype;
  const char* name;
  size_t bytes;        // of one element
  size_t slope_bytes;  // of the type that the slope is rounded to: 4 = float32, 8 = float64
};

#define LEAKYRELU_DTYPE_INFO(constant, name, lanes, bytes, slope, torch) \
  DTypeInfo{constant, name, bytes, sizeof(slope)},
inline constexpr DTypeInfo kDTypes[] = {LEAKYRELU_FOR_EACH_DTYPE(LEAKYRELU_DTYPE_INFO)};
#undef LEAKYRELU_DTYPE_INFO

inline constexpr size_t kNumDTypes = sizeof(kDTypes) / sizeof(kDTypes[0]);

// Whoever moves elements moves words of 1, 2, 4 or 8 bytes.
constexpr bool AreWords() {
  for (const DTypeInfo& info : kDTypes) {
    if (info.bytes != 1 && info.bytes != 2 && info.bytes != 4 && info.bytes != 8) return false;
  }
  return true;
}
static_assert(AreWords(), "an element must have 1, 2, 4 or 8 bytes");

constexpr bool AreInOrder() {
  for (size_t i = 0; i < kNumDTypes; ++i) {
    if (static_cast<size_t>(kDTypes[i].dtype) != i + 1) return false;
  }
  return true;
}
static_assert(AreInOrder(), "dtypes must be in the order of their constants, which are 1, 2, 3 and so on");

// Position of a dtype in kDTypes and in every table made from it; kNumDTypes or more for what is no dtype.
constexpr size_t DTypeIndex(leakyrelu_dtype dtype) { return static_cast<size_t>(static_cast<uint32_t>(dtype) - 1u); }

}  // namespace leakyrelu

#endif  // LEAKYRELU_SRC_DTYPES_H_
