// Division by a number that is the same for all threads. Devices have no instruction for it.
#ifndef LEAKYRELU_SRC_CUDA_DIVIDER_H_
#define LEAKYRELU_SRC_CUDA_DIVIDER_H_

#include <cstdint>

#include "cuda/formats.h"

namespace leakyrelu::cuda {

template <typename Index>
struct WideOf;
template <>
struct WideOf<uint32_t> {
  using type = uint64_t;
};
template <>
struct WideOf<uint64_t> {
  __extension__ using type = unsigned __int128;
};

// For n and divisors d (at least 1) of one bit less than Index has, N bits. With 2^s the power of two from d on, n / d
// is n * (2^(N + s) / d) / 2^(N + s). The factor, rounded up, is exact enough, and less 2^N it fits N bits (Granlund,
// Montgomery: Division by Invariant Integers using Multiplication, 1994).
template <typename Index>
class Divider {
 public:
  Divider() = default;
  explicit Divider(Index divisor) : divisor_(divisor), shift_(0) {
    while ((Index{1} << shift_) < divisor) ++shift_;
    const Wide excess = (Wide{1} << shift_) - divisor;
    factor_ = static_cast<Index>((excess << kBits) / divisor + 1);
  }

  LEAKYRELU_INLINE Index divisor() const { return divisor_; }

  LEAKYRELU_INLINE Index Quotient(Index n) const {
    const Index high = static_cast<Index>(Wide{n} * factor_ >> kBits);  // at most n, so the sum fits
    return (high + n) >> shift_;
  }

 private:
  using Wide = typename WideOf<Index>::type;
  static constexpr int kBits = 8 * sizeof(Index);

  Index divisor_;
  Index factor_;
  int shift_;
};

}  // namespace leakyrelu::cuda

#endif  // LEAKYRELU_SRC_CUDA_DIVIDER_H_
