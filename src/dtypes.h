// The one table of dtypes: everything that depends on a dtype is generated from it.
//
// A new dtype is one line here, one lanes type in kernels.cc and one constant in leakyrelu.h.
#ifndef LEAKYRELU_SRC_DTYPES_H_
#define LEAKYRELU_SRC_DTYPES_H_

#include <cstddef>
#include <cstdint>

#include "leakyrelu/leakyrelu.h"

// X(constant, name, lanes type in kernels.cc, bytes an element, type of the slope), in the order of the constants.
#define LEAKYRELU_FOR_EACH_DTYPE(X)                            \
  X(LEAKYRELU_FLOAT16, "float16", Float16Lanes, 2, float)      \
  X(LEAKYRELU_BFLOAT16, "bfloat16", BFloat16Lanes, 2, float)   \
  X(LEAKYRELU_FLOAT32, "float32", FloatLanes<float>, 4, float) \
  X(LEAKYRELU_FLOAT64, "float64", FloatLanes<double>, 8, double)

namespace leakyrelu {

struct DTypeInfo {
  leakyrelu_dtype dtype;
  const char* name;
  size_t bytes;        // of one element
  size_t slope_bytes;  // of the type that the slope is rounded to: 4 = float32, 8 = float64
};

#define LEAKYRELU_DTYPE_INFO(constant, name, lanes, bytes, slope) DTypeInfo{constant, name, bytes, sizeof(slope)},
inline constexpr DTypeInfo kDTypes[] = {LEAKYRELU_FOR_EACH_DTYPE(LEAKYRELU_DTYPE_INFO)};
#undef LEAKYRELU_DTYPE_INFO

inline constexpr size_t kNumDTypes = sizeof(kDTypes) / sizeof(kDTypes[0]);

// Position of a dtype in kDTypes and in every table made from it; kNumDTypes or more for what is no dtype.
constexpr size_t DTypeIndex(leakyrelu_dtype dtype) { return static_cast<size_t>(static_cast<uint32_t>(dtype) - 1u); }

}  // namespace leakyrelu

#endif  // LEAKYRELU_SRC_DTYPES_H_
