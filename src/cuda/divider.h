// Division by a number that is the same for all threads. Devices have no instruction for it.
#ifndef LEAKYRELU_SRC_CUDA_DIVIDER_H_
#define LEAKYRELU_SRC_CUDA_DIVIDER_H_

#include <cstdint>

#include "checked.h"
#include "cuda/formats.h"

namespace leakyrelu::cuda {

// For n and divisors d (at least 1) of one bit less than Index has, N bits. With 2^s the power of two from d on, n / d
// is n * (2^(N + s) / d) / 2^(N + s). The factor, rounded up, is exact enough, and less 2^N it fits N bits (Granlund,
// Montgomery: Division by Invariant Integers using Multiplication, 1994).
template <typename Index>
class Divider {
 public:
  Divider() = default;
  explicit Divider(Index divisor) : divisor_(divisor), shift_(0) {
    while ((Index{1} << shift_) < divisor) ++shift_;
    // excess * 2^N / divisor, bit by bit: excess is less than the divisor.
    Index rest = (Index{1} << shift_) - divisor;
    factor_ = 0;
    for (int bit = 0; bit < kBits; ++bit) {
      rest *= 2;
      const bool fits = rest >= divisor;
      if (fits) rest -= divisor;
      factor_ = 2 * factor_ + static_cast<Index>(fits);
    }
    ++factor_;
  }

  LEAKYRELU_INLINE Index divisor() const { return divisor_; }

  LEAKYRELU_INLINE Index Quotient(Index n) const {
    return (High(n, factor_) + n) >> shift_;  // no more than 2 * n, which fits
  }

 private:
  static constexpr int kBits = 8 * sizeof(Index);

  static LEAKYRELU_INLINE uint64_t High(uint64_t a, uint64_t b) { return MultiplyHigh(a, b); }
  static LEAKYRELU_INLINE uint32_t High(uint32_t a, uint32_t b) {
    return static_cast<uint32_t>(uint64_t{a} * b >> kBits);
  }

  Index divisor_;
  Index factor_;
  int shift_;
};

}  // namespace leakyrelu::cuda

#endif  // LEAKYRELU_SRC_CUDA_DIVIDER_H_
