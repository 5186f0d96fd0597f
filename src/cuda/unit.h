// The unit of all CUDA kernels: 8 consecutive elements, hence one byte of the mask, in the registers of one thread.
#ifndef LEAKYRELU_SRC_CUDA_UNIT_H_
#define LEAKYRELU_SRC_CUDA_UNIT_H_

#include <cstdint>

#include "cuda/formats.h"
#include "mode.h"

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

// Applies the formula to a unit. `bits` is its byte of the mask; what is returned is that, or what it shall be.
//
// Numbers that stay as they are get narrowed too, which gives them back; so the device can narrow two at a time.
template <class Format, Mode mode>
LEAKYRELU_INLINE uint32_t Apply(Unit<typename Format::Storage>* unit, uint32_t bits, typename Format::Math slope) {
  uint32_t positive_bits = 0;
  LEAKYRELU_UNROLL
  for (uint32_t i = 0; i < kUnit; ++i) {
    const auto v = Format::Widen(unit->v[i]);
    const bool positive = mode == Mode::kBackward ? (bits >> i & 1) != 0 : v > 0;
    positive_bits |= static_cast<uint32_t>(positive) << i;
    if constexpr (kWritesOut<mode>) {
      unit->v[i] = Format::Narrow(LeakyReluFormula(Lane<typename Format::Math>(), v, positive, slope));
    }
  }
  return positive_bits;
}

}  // namespace leakyrelu::cuda

#endif  // LEAKYRELU_SRC_CUDA_UNIT_H_
