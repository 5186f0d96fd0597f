// The CUDA kernels, in the guise of one more instruction set.

#include <gtest/gtest.h>

#include "cuda_under_test.h"
#include "kernels.h"
#include "kernels_to_test.h"

namespace {

template <leakyrelu_dtype dtype>
leakyrelu_array Row(const void* data, const int64_t* elements) {
  return {const_cast<void*>(data), dtype, 1, elements, nullptr};
}

template <leakyrelu_dtype dtype>
void Forward(const void* in, void* out, uint8_t* mask, size_t elements, double slope) {
  const int64_t shape[] = {static_cast<int64_t>(elements)};
  const leakyrelu_array x = Row<dtype>(in, shape);
  const leakyrelu_array y = Row<dtype>(out, shape);
  EXPECT_EQ(cuda_under_test::Forward(&x, out != nullptr ? &y : nullptr, slope, mask,
                                     mask != nullptr ? leakyrelu_mask_bytes(x.shape[0]) : 0),
            LEAKYRELU_OK);
}

template <leakyrelu_dtype dtype>
void Backward(const void* in, void* out, uint8_t* mask, size_t elements, double slope) {
  const int64_t shape[] = {static_cast<int64_t>(elements)};
  const leakyrelu_array dy = Row<dtype>(in, shape);
  const leakyrelu_array dx = Row<dtype>(out, shape);
  EXPECT_EQ(cuda_under_test::Backward(&dy, mask, leakyrelu_mask_bytes(dy.shape[0]), &dx, slope), LEAKYRELU_OK);
}

}  // namespace

std::vector<const leakyrelu::Kernels*> KernelsToTest() {
#define LEAKYRELU_FORWARD(constant, ...) &Forward<constant>,
#define LEAKYRELU_BACKWARD(constant, ...) &Backward<constant>,
  static const leakyrelu::Kernels kCuda = {
      "CUDA", {LEAKYRELU_FOR_EACH_DTYPE(LEAKYRELU_FORWARD)}, {LEAKYRELU_FOR_EACH_DTYPE(LEAKYRELU_BACKWARD)}, {}, {}, {},
      {}};
#undef LEAKYRELU_FORWARD
#undef LEAKYRELU_BACKWARD
  return {&kCuda};
}
