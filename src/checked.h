// Integer arithmetic that says when a result does not fit, or that keeps all 128 bits of a product; in standard C++,
// for compilers that have neither builtins nor a type for it.
#ifndef LEAKYRELU_SRC_CHECKED_H_
#define LEAKYRELU_SRC_CHECKED_H_

#include <cstdint>
#include <limits>

#if defined(__CUDACC__)
#define LEAKYRELU_CHECKED_INLINE __host__ __device__ __forceinline__
#else
#define LEAKYRELU_CHECKED_INLINE inline
#endif

namespace leakyrelu {

// The sum or product of two numbers. False, with *result as it was, where int64_t cannot hold it.
inline bool Add(int64_t a, int64_t b, int64_t* result) {
  using Limits = std::numeric_limits<int64_t>;
  if (b < 0 ? a < Limits::min() - b : a > Limits::max() - b) return false;
  *result = a + b;
  return true;
}

inline bool Multiply(int64_t a, int64_t b, int64_t* result) {
  using Limits = std::numeric_limits<int64_t>;
  constexpr int64_t kSmall = int64_t{1} << 31;
  const bool are_small = -kSmall <= a && a < kSmall && -kSmall <= b && b < kSmall;
  if (!are_small && a != 0 && b != 0) {  // a division takes longer than all the rest
    const int64_t limit = (a < 0) == (b < 0) ? Limits::max() : Limits::min();
    // A quotient of limits is rounded towards 0, so it is the last b that fits; -1 has none with the least number.
    if (a == -1 ? b == Limits::min() : (b < 0 ? b < limit / a : b > limit / a)) return false;
  }
  *result = a * b;
  return true;
}

// The upper 64 of the 128 bits of a product.
LEAKYRELU_CHECKED_INLINE uint64_t MultiplyHigh(uint64_t a, uint64_t b) {
#if defined(__CUDA_ARCH__)
  return __umul64hi(a, b);
#else
  constexpr uint64_t kLower = 0xFFFFFFFF;
  const uint64_t low = (a & kLower) * (b & kLower);
  const uint64_t middle = (a >> 32) * (b & kLower) + (low >> 32);
  const uint64_t other = (a & kLower) * (b >> 32) + (middle & kLower);
  return (a >> 32) * (b >> 32) + (middle >> 32) + (other >> 32);
#endif
}

// a * b modulo m, for a and b below m.
inline uint64_t MultiplyModulo(uint64_t a, uint64_t b, uint64_t m) {
  const auto add = [m](uint64_t s, uint64_t t) { return s >= m - t ? s - (m - t) : s + t; };
  uint64_t result = 0;
  for (; b != 0; b >>= 1) {
    if (b % 2 != 0) result = add(result, a);
    a = add(a, a);
  }
  return result;
}

}  // namespace leakyrelu

#endif  // LEAKYRELU_SRC_CHECKED_H_
