// The unit of all CUDA kernels: 8 consecutive elements, hence one byte of the mask, in the registers of one thread.
#ifndef LEAKYRELU_SRC_CUDA_UNIT_H_
#define LEAKYRELU_SRC_CUDA_UNIT_H_

#include <cstdint>

#include "cuda/formats.h"

namespace leakyrelu::cuda {

inline constexpr uint32_t kUnit = 8;
inline constexpr uint32_t kThreads = 256;  // of a block

// What a thread loads and stores at once, at most a unit; addresses must be multiples of its size.
template <typename T>
inline constexpr uint32_t kVectorBytes = kUnit * sizeof(T) < 16 ? kUnit * sizeof(T) : 16;
template <typename T>
struct alignas(kVectorBytes<T>) Vector {
  T v[kVectorBytes<T> / sizeof(T)];
};

template <typename T>
LEAKYRELU_INLINE bool IsAligned(const T* address) {
  return reinterpret_cast<uintptr_t>(address) % kVectorBytes<T> == 0;
}

// Loops over the elements of a unit are unrolled, so that these stay in registers: an index that the compiler does not
// know would send them to memory.
template <typename T>
struct Unit {
  T v[kUnit] = {};

  LEAKYRELU_INLINE void LoadVectors(const T* from) {
    constexpr uint32_t kStep = kVectorBytes<T> / sizeof(T);
    LEAKYRELU_UNROLL
    for (uint32_t i = 0; i < kUnit; i += kStep) {
      const Vector<T> vector = *reinterpret_cast<const Vector<T>*>(from + i);
      LEAKYRELU_UNROLL
      for (uint32_t j = 0; j < kStep; ++j) v[i + j] = vector.v[j];
    }
  }

  LEAKYRELU_INLINE void StoreVectors(T* to) const {
    constexpr uint32_t kStep = kVectorBytes<T> / sizeof(T);
    LEAKYRELU_UNROLL
    for (uint32_t i = 0; i < kUnit; i += kStep) {
      Vector<T> vector;
      LEAKYRELU_UNROLL
      for (uint32_t j = 0; j < kStep; ++j) vector.v[j] = v[i + j];
      *reinterpret_cast<Vector<T>*>(to + i) = vector;
    }
  }
};

}  // namespace leakyrelu::cuda

#endif  // LEAKYRELU_SRC_CUDA_UNIT_H_
