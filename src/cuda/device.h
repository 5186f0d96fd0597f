// Memory of a device, and waiting for it: for bindings whose arrays come from nobody else.
#ifndef LEAKYRELU_SRC_CUDA_DEVICE_H_
#define LEAKYRELU_SRC_CUDA_DEVICE_H_

#include <cstddef>

#include "leakyrelu/cuda.h"

namespace leakyrelu::cuda {

struct Error {
  const char* message = nullptr;  // in CUDA's words; null: nothing went wrong
  bool is_out_of_memory = false;
};

// Makes a device current for the calling thread, while it lives. An error leaves the device as it was.
class LEAKYRELU_API DeviceScope {
 public:
  explicit DeviceScope(int device);
  ~DeviceScope();
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;

  Error error() const { return error_; }

 private:
  int before_ = 0;
  bool changed_ = false;
  Error error_;
};

LEAKYRELU_API Error CountDevices(int* count);

// On the current device. Free may be called with any device current; it waits for all that uses the memory. Both leave
// alone what other threads capture in graphs.
LEAKYRELU_API Error Allocate(size_t bytes, void** data);
LEAKYRELU_API void Free(void* data);

// Returns when all that is enqueued is done.
LEAKYRELU_API Error Synchronize(cudaStream_t stream);

}  // namespace leakyrelu::cuda

#endif  // LEAKYRELU_SRC_CUDA_DEVICE_H_
