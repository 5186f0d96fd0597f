// Devices as the CUDA runtime has them.

#include "cuda/device.h"

#include <cuda_runtime_api.h>

namespace leakyrelu::cuda {
namespace {

Error ErrorOf(cudaError_t status) {
  if (status == cudaSuccess) return nullptr;
  cudaGetLastError();  // forgets it, for it is reported here
  return cudaGetErrorString(status);
}

}  // namespace

DeviceScope::DeviceScope(int device) {
  error_ = ErrorOf(cudaGetDevice(&before_));
  if (error_ != nullptr || before_ == device) return;
  error_ = ErrorOf(cudaSetDevice(device));
  changed_ = error_ == nullptr;
}

DeviceScope::~DeviceScope() {
  if (changed_) cudaSetDevice(before_);
}

Error Allocate(size_t bytes, void** data) { return ErrorOf(cudaMalloc(data, bytes)); }

void Free(void* data) { cudaFree(data); }

Error Synchronize(cudaStream_t stream) { return ErrorOf(cudaStreamSynchronize(stream)); }

}  // namespace leakyrelu::cuda
