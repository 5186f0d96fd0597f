#include "on_cuda.h"

#include <nanobind/nanobind.h>

#include "cuda/device.h"
#include "gil.h"
#include "leakyrelu/cuda.h"
#include "place.h"
#include "python.h"

namespace nb = nanobind;

namespace leakyrelu::arrays {
namespace {

thread_local cuda::Error last_error;

[[noreturn]] void Throw(const cuda::Error& error) {
  Raise(error.is_out_of_memory ? PyExc_MemoryError : PyExc_RuntimeError, "CUDA: %s", error.message);
}

cuda::Error Allocate(int device, size_t bytes, void** data) {
  const WithoutGil release;
  const cuda::DeviceScope scope(device);
  return scope.error().message != nullptr ? scope.error() : cuda::Allocate(bytes, data);
}

// What drops an array is Python, hence with the GIL.
void FreeCapsule(PyObject* capsule) {
  void* const data = PyCapsule_GetContext(capsule);
  const WithoutGil release;
  cuda::Free(data);
}

// Calls launch(stream), which returns a status, with the device current.
template <class Launch>
leakyrelu_status OnDevice(const Place& place, Launch launch) {
  // NOLINTNEXTLINE(performance-no-int-to-ptr): Python has handles as numbers
  const auto stream = reinterpret_cast<cudaStream_t>(place.stream());
  const cuda::DeviceScope scope(place.device().number);
  last_error = scope.error();
  if (last_error.message != nullptr) return LEAKYRELU_ERROR_CUDA;
  const leakyrelu_status status = launch(stream);
  if (status == LEAKYRELU_ERROR_CUDA) last_error = cuda::Error{leakyrelu_cuda_error_message()};
  if (status != LEAKYRELU_OK || place.is_cupy()) return status;
  last_error = cuda::Synchronize(stream);
  return last_error.message != nullptr ? LEAKYRELU_ERROR_CUDA : LEAKYRELU_OK;
}

}  // namespace

int CudaDevices() {
  int count = 0;
  if (const cuda::Error error = cuda::CountDevices(&count); error.message != nullptr) Throw(error);
  return count;
}

nb::object CudaMemory(int device, int64_t bytes, void** data) {
  if (bytes < 0) Throw({"more bytes than there can be", true});
  if (const cuda::Error error = Allocate(device, static_cast<size_t>(bytes), data); error.message != nullptr) {
    Throw(error);
  }
  // For no bytes there is a null pointer, which a capsule itself cannot hold.
  const nb::object capsule = nb::steal(PyCapsule_New(&last_error, nullptr, FreeCapsule));
  if (!capsule.is_valid() || PyCapsule_SetContext(capsule.ptr(), *data) != 0) throw nb::python_error();
  return capsule;
}

leakyrelu_status CudaForward(const leakyrelu_array& x, const leakyrelu_array& y, double negative_slope, uint8_t* mask,
                             size_t mask_bytes, const Place& place) {
  return OnDevice(place, [&](cudaStream_t stream) {
    return leakyrelu_cuda_forward(&x, &y, negative_slope, mask, mask_bytes, stream);
  });
}

leakyrelu_status CudaBackward(const leakyrelu_array& grad, const uint8_t* mask, size_t mask_bytes,
                              const leakyrelu_array& out, double negative_slope, const Place& place) {
  return OnDevice(place, [&](cudaStream_t stream) {
    return leakyrelu_cuda_backward(&grad, mask, mask_bytes, &out, negative_slope, stream);
  });
}

void ThrowCudaError() { Throw(last_error); }

}  // namespace leakyrelu::arrays
