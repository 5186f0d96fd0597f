// The functions of cuda.h as the tests call them: on arrays of the host, and done when they return. cuda_on_cpu.cc
// runs the kernels thread by thread on the CPU, cuda_on_device.cc on a card.
#ifndef LEAKYRELU_TESTS_CORE_CUDA_UNDER_TEST_H_
#define LEAKYRELU_TESTS_CORE_CUDA_UNDER_TEST_H_

#include <cstddef>
#include <cstdint>

#include "leakyrelu/leakyrelu.h"

namespace cuda_under_test {

leakyrelu_status Forward(const leakyrelu_array* x, const leakyrelu_array* y, double slope, uint8_t* mask,
                         size_t mask_bytes);
leakyrelu_status Backward(const leakyrelu_array* dy, const uint8_t* mask, size_t mask_bytes, const leakyrelu_array* dx,
                          double slope);

leakyrelu_status FusedForward(const leakyrelu_array* x, const leakyrelu_array* y, const leakyrelu_fused* fused,
                              double slope, uint8_t* mask, uint8_t* within, size_t mask_bytes);
leakyrelu_status FusedBackward(const leakyrelu_array* dy, const uint8_t* mask, const uint8_t* within, size_t mask_bytes,
                               const leakyrelu_array* dx, const leakyrelu_fused* fused, double slope);

}  // namespace cuda_under_test

#endif  // LEAKYRELU_TESTS_CORE_CUDA_UNDER_TEST_H_
