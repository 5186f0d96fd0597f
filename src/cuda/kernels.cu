// The kernels as the device runs them, and how they get there. All they do is in contiguous.h, strided.h and
// operations.h.

#include <cuda_runtime_api.h>

#include "cuda/launch.h"

namespace leakyrelu::cuda {
namespace {

// What CUDA said of the thread's last launch that failed.
thread_local cudaError_t last_error = cudaSuccess;

// The parameter stays in constant memory, where its dims can be indexed.
template <class Body>
__global__ void __launch_bounds__(kThreads) Kernel(const __grid_constant__ Body body) {
  body.Thread(blockIdx.x, gridDim.x, threadIdx.x);
}

}  // namespace

leakyrelu_status Launch(const KernelCall& call, const Plan& plan, cudaStream_t stream) {
  return WithKernel(call, plan, [stream](auto body, uint32_t blocks) {
    void* arguments[] = {&body};
    const cudaError_t error =
        cudaLaunchKernel(&Kernel<decltype(body)>, dim3(blocks), dim3(kThreads), arguments, 0, stream);
    if (error == cudaSuccess) return LEAKYRELU_OK;
    last_error = error;
    return LEAKYRELU_ERROR_CUDA;
  });
}

}  // namespace leakyrelu::cuda

const char* leakyrelu_cuda_error_message(void) { return cudaGetErrorString(leakyrelu::cuda::last_error); }
