// Launches on the fake card: kernels that the CPU runs thread by thread, when the stream says so.

#include <cuda_runtime_api.h>

#include <deque>
#include <mutex>

#include "../core/cuda_emulated.h"
#include "leakyrelu/cuda.h"

extern "C" int fake_card_current_device();
extern "C" int fake_card_stream_device(void* stream);

namespace leakyrelu::cuda {
namespace {

thread_local cudaError_t last_error = cudaSuccess;

}  // namespace

leakyrelu_status Launch(const Job& job, const Plan& plan, cudaStream_t stream) {
  static std::mutex mutex;
  static auto& launched = *new std::deque<cuda_emulated::Kernel>;  // kept, since a graph may run it at any time
  last_error = cudaErrorInvalidResourceHandle;
  if (fake_card_stream_device(stream) != fake_card_current_device()) return LEAKYRELU_ERROR_CUDA;
  cuda_emulated::Kernel* kernel = nullptr;
  {
    const std::lock_guard<std::mutex> lock(mutex);
    kernel = &launched.emplace_back(cuda_emulated::MakeKernel(job, plan));
  }
  last_error = cudaLaunchHostFunc(
      stream, [](void* data) { cuda_emulated::Run(*static_cast<const cuda_emulated::Kernel*>(data)); }, kernel);
  return last_error == cudaSuccess ? LEAKYRELU_OK : LEAKYRELU_ERROR_CUDA;
}

}  // namespace leakyrelu::cuda

const char* leakyrelu_cuda_error_message(void) { return cudaGetErrorString(leakyrelu::cuda::last_error); }
