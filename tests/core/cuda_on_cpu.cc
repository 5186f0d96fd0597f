// The CUDA functions on the emulated device: a launch is done when it returns.

#include "cuda_emulated.h"
#include "cuda_under_test.h"
#include "leakyrelu/cuda.h"

leakyrelu_status leakyrelu::cuda::Launch(const KernelCall& call, const Plan& plan, cudaStream_t /*stream*/) {
  cuda_emulated::Run(cuda_emulated::MakeKernel(call, plan));
  return LEAKYRELU_OK;
}

namespace cuda_under_test {

leakyrelu_status Forward(const leakyrelu_array* x, const leakyrelu_array* y, double slope, uint8_t* mask,
                         size_t mask_bytes) {
  return leakyrelu_cuda_forward(x, y, slope, mask, mask_bytes, nullptr);
}

leakyrelu_status Backward(const leakyrelu_array* dy, const uint8_t* mask, size_t mask_bytes, const leakyrelu_array* dx,
                          double slope) {
  return leakyrelu_cuda_backward(dy, mask, mask_bytes, dx, slope, nullptr);
}

leakyrelu_status FusedForward(const leakyrelu_array* x, const leakyrelu_array* y, const leakyrelu_fused* fused,
                              double slope, uint8_t* mask, uint8_t* within, size_t mask_bytes) {
  return leakyrelu_cuda_fused_forward(x, y, fused, slope, mask, within, mask_bytes, nullptr);
}

leakyrelu_status FusedBackward(const leakyrelu_array* dy, const uint8_t* mask, const uint8_t* within, size_t mask_bytes,
                               const leakyrelu_array* dx, const leakyrelu_fused* fused, double slope) {
  return leakyrelu_cuda_fused_backward(dy, mask, within, mask_bytes, dx, fused, slope, nullptr);
}

}  // namespace cuda_under_test
