// The part of leakyrelu._core for arrays in the memory of a CUDA device.
#ifndef LEAKYRELU_BINDINGS_ARRAY_CUDA_H_
#define LEAKYRELU_BINDINGS_ARRAY_CUDA_H_

#include <nanobind/nanobind.h>

namespace leakyrelu {

// Adds CudaArray, cuda_forward and cuda_backward.
void BindCuda(nanobind::module_& module);

}  // namespace leakyrelu

#endif  // LEAKYRELU_BINDINGS_ARRAY_CUDA_H_
