// How each dtype becomes what it is computed in, and back: all that the CUDA kernels know of a dtype.
//
// Everything in this folder but kernels.cu compiles for the device and, without a CUDA compiler, for the host, where
// the tests run kernels thread by thread.
#ifndef LEAKYRELU_SRC_CUDA_FORMATS_H_
#define LEAKYRELU_SRC_CUDA_FORMATS_H_

#include <cmath>
#include <cstdint>

#include "leakyrelu/leakyrelu.h"

#if defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#define LEAKYRELU_INLINE __host__ __device__ __forceinline__
#else
#define LEAKYRELU_INLINE inline
#endif
#if defined(__CUDA_ARCH__)
#define LEAKYRELU_UNROLL _Pragma("unroll")
#else
#define LEAKYRELU_UNROLL
#endif

namespace leakyrelu::cuda {

#include "formula.h"

// A format has: Storage (an element in memory), Math (what the slope and the product are rounded to), Widen and Narrow.
// Narrow rounds to nearest even; neither flushes subnormals, and NaN stays NaN.
template <leakyrelu_dtype>
struct Format;

template <typename T>
struct NativeFormat {
  using Storage = T;
  using Math = T;
  static LEAKYRELU_INLINE T Widen(T v) { return v; }
  static LEAKYRELU_INLINE T Narrow(T v) { return v; }
};
template <>
struct Format<LEAKYRELU_FLOAT32> : NativeFormat<float> {};
template <>
struct Format<LEAKYRELU_FLOAT64> : NativeFormat<double> {};

// The 16-bit formats by CUDA's own conversions, an instruction each where the device has it. The host has none, so
// there whoever emulates the device defines them.
template <>
struct Format<LEAKYRELU_FLOAT16> {
  using Storage = uint16_t;
  using Math = float;
#if defined(__CUDACC__)
  static LEAKYRELU_INLINE float Widen(uint16_t bits) { return __half2float(__ushort_as_half(bits)); }
  static LEAKYRELU_INLINE uint16_t Narrow(float v) { return __half_as_ushort(__float2half_rn(v)); }
#else
  static float Widen(uint16_t bits);
  static uint16_t Narrow(float v);
#endif
};
template <>
struct Format<LEAKYRELU_BFLOAT16> {
  using Storage = uint16_t;
  using Math = float;
#if defined(__CUDACC__)
  static LEAKYRELU_INLINE float Widen(uint16_t bits) { return __bfloat162float(__ushort_as_bfloat16(bits)); }
  static LEAKYRELU_INLINE uint16_t Narrow(float v) { return __bfloat16_as_ushort(__float2bfloat16_rn(v)); }
#else
  static float Widen(uint16_t bits);
  static uint16_t Narrow(float v);
#endif
};

// The operations of formula.h on one number, widened. No product is added to: there is nothing to contract it with.
template <typename Math>
struct Lane {
  static LEAKYRELU_INLINE Math Scale(Math v, Math factor) { return v * factor; }
  static LEAKYRELU_INLINE Math Select(bool mask, Math a, Math b) { return mask ? a : b; }
  static LEAKYRELU_INLINE Math Add(Math a, Math b) { return a + b; }
  static LEAKYRELU_INLINE bool Positive(Math t) { return t > 0; }
  static LEAKYRELU_INLINE Math Clamp(Math v, Math limit) {
    // By v's sign and no comparison: those of float64 are slow on many cards.
    return std::fabs(v) > limit ? (std::signbit(v) ? -limit : limit) : v;
  }
  static LEAKYRELU_INLINE bool IsWithin(Math v, Math limit) { return std::fabs(v) <= limit; }
};

}  // namespace leakyrelu::cuda

#endif  // LEAKYRELU_SRC_CUDA_FORMATS_H_
