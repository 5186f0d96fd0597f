// Compiled with -O3 -march=native, unlike all else.

#include "plain_loop.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace {

template <class T>
void Loop(const T* x, T* y, std::size_t elements, T slope) {
  for (std::size_t i = 0; i < elements; ++i) y[i] = x[i] > 0 ? x[i] : x[i] * slope;
}

// bfloat16 as one writes it without a type for it: shift up, multiply, round to nearest even, NaN apart.
void LoopBFloat16(const std::uint16_t* x, std::uint16_t* y, std::size_t elements, float slope) {
  for (std::size_t i = 0; i < elements; ++i) {
    const float wide = std::bit_cast<float>(static_cast<std::uint32_t>(x[i]) << 16);
    const float product = wide * slope;
    const std::uint32_t bits = std::bit_cast<std::uint32_t>(product);
    const std::uint32_t rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;
    const std::uint32_t narrow = product != product ? 0x7FC0 : rounded;
    y[i] = wide > 0 ? x[i] : static_cast<std::uint16_t>(narrow);
  }
}

#ifdef __FLT16_MAX__
void LoopFloat16(const _Float16* x, _Float16* y, std::size_t elements, float slope) {
  for (std::size_t i = 0; i < elements; ++i) {
    const float wide = static_cast<float>(x[i]);
    y[i] = wide > 0 ? x[i] : static_cast<_Float16>(wide * slope);
  }
}
#endif

}  // namespace

void PlainLoop(leakyrelu_dtype dtype, const void* x, void* y, std::size_t elements, double negative_slope) {
  const float slope = static_cast<float>(negative_slope);
  switch (dtype) {
    case LEAKYRELU_FLOAT16:
#ifdef __FLT16_MAX__
      LoopFloat16(static_cast<const _Float16*>(x), static_cast<_Float16*>(y), elements, slope);
#else
      std::memcpy(y, x, elements * 2);  // this compiler has no float16: an upper bound
#endif
      break;
    case LEAKYRELU_BFLOAT16:
      LoopBFloat16(static_cast<const std::uint16_t*>(x), static_cast<std::uint16_t*>(y), elements, slope);
      break;
    case LEAKYRELU_FLOAT32:
      Loop(static_cast<const float*>(x), static_cast<float*>(y), elements, slope);
      break;
    case LEAKYRELU_FLOAT64:
      Loop(static_cast<const double*>(x), static_cast<double*>(y), elements, negative_slope);
      break;
  }
}
