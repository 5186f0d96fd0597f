// Which element of the bias each element of a fused call has.
#ifndef LEAKYRELU_SRC_CUDA_BIASES_H_
#define LEAKYRELU_SRC_CUDA_BIASES_H_

#include <cstdint>
#include <type_traits>

#include "cuda/divider.h"
#include "cuda/unit.h"

namespace leakyrelu::cuda {

// As BiasRuns of plan.h says it. Elements are counted as the kernels visit them.
template <typename T, typename Index>
struct Biases {
  using Offset = std::make_signed_t<Index>;  // in elements

  const T* first;
  Offset stride;
  Divider<Index> extent;
  Divider<Index> run;

  // Those of `count` elements, from 1 to 8, from `element` on.
  LEAKYRELU_INLINE void Load(Index element, uint32_t count, Unit<T>* to) const {
    const Index run_index = run.Quotient(element);
    Index left = run.divisor() - (element - run_index * run.divisor());  // elements that still have the first of them
    Index bias = run_index - extent.Quotient(run_index) * extent.divisor();
    if (left >= count) {
      const T all = At(bias);
      LEAKYRELU_UNROLL
      for (uint32_t i = 0; i < kUnit; ++i) to->v[i] = all;
    } else if (run.divisor() == 1 && stride == 1 && extent.divisor() - bias >= kUnit && IsAligned(first + bias)) {
      to->LoadVectors(first + bias);
    } else {
      LEAKYRELU_UNROLL
      for (uint32_t i = 0; i < kUnit; ++i) {
        if (i < count) to->v[i] = At(bias);
        if (--left > 0) continue;
        left = run.divisor();
        if (++bias == extent.divisor()) bias = 0;
      }
    }
  }

 private:
  LEAKYRELU_INLINE T At(Index bias) const { return first[static_cast<Offset>(bias) * stride]; }
};

}  // namespace leakyrelu::cuda

#endif  // LEAKYRELU_SRC_CUDA_BIASES_H_
