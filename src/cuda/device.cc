// Devices as the CUDA runtime has them.

#include "cuda/device.h"

#include <cuda_runtime_api.h>

namespace leakyrelu::cuda {
namespace {

Error ErrorOf(cudaError_t status) {
  if (status == cudaSuccess) return {};
  cudaGetLastError();  // forgets it, for it is reported here
  return {cudaGetErrorString(status), status == cudaErrorMemoryAllocation};
}

// CUDA refuses to allocate and to free, and spoils the graph, while any thread captures one, unless told that it is
// all right.
class CaptureRelaxed {
 public:
  CaptureRelaxed() { cudaThreadExchangeStreamCaptureMode(&mode_); }
  ~CaptureRelaxed() { cudaThreadExchangeStreamCaptureMode(&mode_); }
  CaptureRelaxed(const CaptureRelaxed&) = delete;
  CaptureRelaxed& operator=(const CaptureRelaxed&) = delete;

 private:
  cudaStreamCaptureMode mode_ = cudaStreamCaptureModeRelaxed;
};

}  // namespace

Error CountDevices(int* count) { return ErrorOf(cudaGetDeviceCount(count)); }

DeviceScope::DeviceScope(int device) {
  error_ = ErrorOf(cudaGetDevice(&before_));
  if (error_.message != nullptr || before_ == device) return;
  error_ = ErrorOf(cudaSetDevice(device));
  changed_ = error_.message == nullptr;
}

DeviceScope::~DeviceScope() {
  if (changed_) cudaSetDevice(before_);
}

Error Allocate(size_t bytes, void** data) {
  const CaptureRelaxed relaxed;
  return ErrorOf(cudaMalloc(data, bytes));
}

void Free(void* data) {
  const CaptureRelaxed relaxed;
  cudaFree(data);
}

Error Synchronize(cudaStream_t stream) { return ErrorOf(cudaStreamSynchronize(stream)); }

}  // namespace leakyrelu::cuda
