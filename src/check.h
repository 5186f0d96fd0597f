// What both calls, on the CPU and on CUDA devices, check before anything is touched. Pure: reads no element.
#ifndef LEAKYRELU_SRC_CHECK_H_
#define LEAKYRELU_SRC_CHECK_H_

#include <cstddef>
#include <cstdint>

#include "leakyrelu/leakyrelu.h"
#include "plan.h"

namespace leakyrelu {

enum class Direction { kForward, kBackward };

// What is wrong before the arrays are looked at: that there are any, their dtype, the slope. `in` -> `out` (null: the
// mask alone), with a mask that is written (forward) or read (backward). Sets `dtype` to the DTypeIndex.
leakyrelu_status CheckArguments(Direction direction, const leakyrelu_array* in, const leakyrelu_array* out,
                                const uint8_t* mask, double slope, size_t* dtype);

struct Layouts {
  Layout in;
  Layout out;  // the input's where only the mask is asked for
};

// What is wrong with the arrays themselves, after CheckArguments found nothing. Every status but LEAKYRELU_OK leaves
// `layouts` unspecified.
leakyrelu_status CheckArrays(Direction direction, const leakyrelu_array* in, const leakyrelu_array* out,
                             const uint8_t* mask, size_t mask_bytes, Layouts* layouts);

// All of that for a fused call, with its numbers, its second mask and its bias. Sets `bias` where there is one, the
// direction is forward and there are elements; else its `elements` are 0.
leakyrelu_status CheckFusedCall(Direction direction, const leakyrelu_array* in, const leakyrelu_array* out,
                                const leakyrelu_fused* fused, double slope, const uint8_t* mask, const uint8_t* within,
                                size_t mask_bytes, size_t* dtype, Layouts* layouts, Layout* bias);

// The rule of a mask's length; no other place has it.
inline bool IsMaskLength(const uint8_t* mask, size_t mask_bytes, int64_t elements) {
  return mask_bytes == (mask != nullptr ? leakyrelu_mask_bytes(elements) : 0);
}

}  // namespace leakyrelu

#endif  // LEAKYRELU_SRC_CHECK_H_
