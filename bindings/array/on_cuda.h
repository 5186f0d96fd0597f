// What calls on arrays in the memory of a CUDA device need of CUDA. A build without has the declarations alone.
#ifndef LEAKYRELU_BINDINGS_ARRAY_ON_CUDA_H_
#define LEAKYRELU_BINDINGS_ARRAY_ON_CUDA_H_

#include <nanobind/nanobind.h>

#include <cstddef>
#include <cstdint>

#include "leakyrelu/leakyrelu.h"
#include "place.h"

namespace leakyrelu::arrays {

#ifdef LEAKYRELU_CUDA
inline constexpr bool kHasCuda = true;
#else
inline constexpr bool kHasCuda = false;
#endif

// Throws RuntimeError with what CUDA says.
int CudaDevices();

// Fresh memory on a device, and what frees it. `bytes` below 0 are more than there can be. Throws MemoryError or
// RuntimeError with what CUDA says.
nanobind::object CudaMemory(int device, int64_t bytes, void** data);

// As leakyrelu_cuda_forward and _backward at the place. They return when the result is there, unless all arrays are
// CuPy's. Call them without the GIL, which what the device waits for may need.
leakyrelu_status CudaForward(const leakyrelu_array& x, const leakyrelu_array& y, double negative_slope, uint8_t* mask,
                             size_t mask_bytes, const Place& place);
leakyrelu_status CudaBackward(const leakyrelu_array& grad, const uint8_t* mask, size_t mask_bytes,
                              const leakyrelu_array& out, double negative_slope, const Place& place);

// After one of them returned LEAKYRELU_ERROR_CUDA in this thread.
[[noreturn]] void ThrowCudaError();

}  // namespace leakyrelu::arrays

#endif  // LEAKYRELU_BINDINGS_ARRAY_ON_CUDA_H_
