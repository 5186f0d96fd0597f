// Launches on the fake card: kernels that the CPU runs thread by thread, when the stream says so.

#include <cuda_runtime_api.h>

#include <atomic>
#include <deque>
#include <mutex>

#include "../core/cuda_emulated.h"
#include "leakyrelu/cuda.h"

extern "C" {
int fake_card_current_device();
int fake_card_memory_device(const void* address);
int fake_card_stream_device(void* stream);
__attribute__((weak)) int PyGILState_Check();
}

namespace {

std::atomic<int> launches_under_gil{0};

}  // namespace

// How often a thread that held Python's GIL has launched.
extern "C" int fake_card_launches_under_gil() { return launches_under_gil; }

namespace leakyrelu::cuda {
namespace {

thread_local cudaError_t last_error = cudaSuccess;

// A kernel must run on the device whose memory it uses.
bool IsHere(const void* address) {
  return address == nullptr || fake_card_memory_device(address) == fake_card_current_device();
}

leakyrelu_status Return(cudaError_t error) {
  last_error = error;
  return error == cudaSuccess ? LEAKYRELU_OK : LEAKYRELU_ERROR_CUDA;
}

}  // namespace

leakyrelu_status Launch(const KernelCall& call, const Plan& plan, cudaStream_t stream) {
  static std::mutex mutex;
  static auto& launched = *new std::deque<cuda_emulated::Kernel>;  // kept, since a graph may run it at any time
  if (PyGILState_Check != nullptr && PyGILState_Check() != 0) ++launches_under_gil;
  if (fake_card_stream_device(stream) != fake_card_current_device()) return Return(cudaErrorInvalidResourceHandle);
  if (!IsHere(call.in) || !IsHere(call.out) || !IsHere(call.mask)) return Return(cudaErrorIllegalAddress);
  if (call.fused != nullptr && (!IsHere(call.fused->bias) || !IsHere(call.fused->within))) {
    return Return(cudaErrorIllegalAddress);
  }
  cuda_emulated::Kernel* kernel = nullptr;
  {
    const std::lock_guard<std::mutex> lock(mutex);
    kernel = &launched.emplace_back(cuda_emulated::MakeKernel(call, plan));
  }
  return Return(cudaLaunchHostFunc(
      stream, [](void* data) { cuda_emulated::Run(*static_cast<const cuda_emulated::Kernel*>(data)); }, kernel));
}

}  // namespace leakyrelu::cuda

const char* leakyrelu_cuda_error_message(void) { return cudaGetErrorString(leakyrelu::cuda::last_error); }
