// The C functions for CUDA devices: the checks of the CPU's functions, then a launch. Needs no CUDA by itself.

#include "check.h"
#include "cuda/launch.h"
#include "leakyrelu/cuda.h"
#include "plan.h"

namespace leakyrelu {
namespace {

// A device cannot load a number from an address that is no multiple of its size.
bool IsAligned(const Layout& layout) {
  return layout.elements == 0 || layout.address % static_cast<uintptr_t>(layout.itemsize) == 0;
}

leakyrelu_status Call(Direction direction, const leakyrelu_array* in, const leakyrelu_array* out, uint8_t* mask,
                      size_t mask_bytes, double slope, cudaStream_t stream) {
  size_t dtype = 0;
  if (const leakyrelu_status status = CheckArguments(direction, in, out, mask, slope, &dtype)) return status;
  Layouts layouts;
  if (const leakyrelu_status status = CheckArrays(direction, in, out, mask, mask_bytes, &layouts)) return status;
  if (!IsAligned(layouts.in) || !IsAligned(layouts.out)) return LEAKYRELU_ERROR_MISALIGNED;
  if (layouts.in.elements == 0) return LEAKYRELU_OK;

  Mode mode = Mode::kBackward;
  if (direction == Direction::kForward) {
    mode = mask == nullptr ? Mode::kForward : out == nullptr ? Mode::kMaskOnly : Mode::kForwardWithMask;
  }
  const cuda::KernelCall call = {mode, dtype, in->data, out != nullptr ? out->data : nullptr, mask, slope};
  return cuda::Launch(call, MakePlan(layouts.in, layouts.out, mask != nullptr), stream);
}

leakyrelu_status CallFused(Direction direction, const leakyrelu_array* in, const leakyrelu_array* out,
                           const leakyrelu_fused* fused, double slope, uint8_t* mask, uint8_t* within,
                           size_t mask_bytes, cudaStream_t stream) {
  size_t dtype = 0;
  Layouts layouts;
  Layout bias;
  if (const leakyrelu_status status =
          CheckFusedCall(direction, in, out, fused, slope, mask, within, mask_bytes, &dtype, &layouts, &bias)) {
    return status;
  }
  if (!IsAligned(layouts.in) || !IsAligned(layouts.out) || !IsAligned(bias)) return LEAKYRELU_ERROR_MISALIGNED;
  if (layouts.in.elements == 0) return LEAKYRELU_OK;

  const bool is_forward = direction == Direction::kForward;
  const bool has_bias = is_forward && fused->bias != nullptr;
  const cuda::FusedCall fused_call = {has_bias ? fused->bias->data : nullptr, within, fused->scale, fused->clamp};
  const cuda::KernelCall call = {
      is_forward ? Mode::kForward : Mode::kBackward, dtype, in->data, out->data, mask, slope, &fused_call};
  return cuda::Launch(call, MakePlan(layouts.in, layouts.out, mask != nullptr, has_bias ? &bias : nullptr), stream);
}

}  // namespace
}  // namespace leakyrelu

using leakyrelu::Direction;

leakyrelu_status leakyrelu_cuda_forward(const leakyrelu_array* x, const leakyrelu_array* y, double negative_slope,
                                        uint8_t* mask, size_t mask_bytes, cudaStream_t stream) {
  return leakyrelu::Call(Direction::kForward, x, y, mask, mask_bytes, negative_slope, stream);
}

leakyrelu_status leakyrelu_cuda_backward(const leakyrelu_array* dy, const uint8_t* mask, size_t mask_bytes,
                                         const leakyrelu_array* dx, double negative_slope, cudaStream_t stream) {
  // Backward kernels only read the mask.
  uint8_t* bits = const_cast<uint8_t*>(mask);
  return leakyrelu::Call(Direction::kBackward, dy, dx, bits, mask_bytes, negative_slope, stream);
}

leakyrelu_status leakyrelu_cuda_fused_forward(const leakyrelu_array* x, const leakyrelu_array* y,
                                              const leakyrelu_fused* fused, double negative_slope, uint8_t* mask,
                                              uint8_t* within, size_t mask_bytes, cudaStream_t stream) {
  return leakyrelu::CallFused(Direction::kForward, x, y, fused, negative_slope, mask, within, mask_bytes, stream);
}

leakyrelu_status leakyrelu_cuda_fused_backward(const leakyrelu_array* dy, const uint8_t* mask, const uint8_t* within,
                                               size_t mask_bytes, const leakyrelu_array* dx,
                                               const leakyrelu_fused* fused, double negative_slope,
                                               cudaStream_t stream) {
  // Backward kernels only read the masks.
  return leakyrelu::CallFused(Direction::kBackward, dy, dx, fused, negative_slope, const_cast<uint8_t*>(mask),
                              const_cast<uint8_t*>(within), mask_bytes, stream);
}
