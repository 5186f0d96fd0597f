// Calls of the fused operation, compared with the oracle, for whatever implements its C functions.
#ifndef LEAKYRELU_TESTS_CORE_RANDOM_FUSED_CALLS_H_
#define LEAKYRELU_TESTS_CORE_RANDOM_FUSED_CALLS_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "leakyrelu/leakyrelu.h"
#include "oracle.h"
#include "random_calls.h"
#include "test_util.h"

namespace test_util {

inline constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct FusedNumbers {
  double slope;
  double scale;
  double clamp;
};

inline FusedNumbers RandomFusedNumbers(Random* random, DType dtype) {
  const std::vector<double> clamps = {kInfinity, kInfinity, 0.0, -0.0, 0.3, 1.0, 256.0, 65504.0, 1e-40};
  return {random->Pick(oracle::Slopes(dtype)), random->OneIn(2) ? std::sqrt(2.0) : random->Pick(oracle::Slopes(dtype)),
          random->Pick(clamps)};
}

// A bias along one dim of a shape, or none, with any stride.
class FusedBias {
 public:
  FusedBias(Random* random, DType dtype, const Dims& shape, int64_t alignment)
      : dim_(shape.empty() ? 0 : random->Between(0, static_cast<int64_t>(shape.size()) - 1)),
        is_there_(!shape.empty() && !random->OneIn(4)),
        length_{is_there_ ? shape[static_cast<size_t>(dim_)] : 1},
        array_(dtype, length_, {random->Pick(Dims{1, 1, 1, 2, -1, 0, -3})}, RandomPlace(random, alignment)),
        api_(array_.Api()) {
    array_.FillRandomly(random);
    inner_ = 1;
    for (size_t i = static_cast<size_t>(dim_) + 1; i < shape.size(); ++i) inner_ *= shape[i];
  }

  leakyrelu_fused Fused(const FusedNumbers& numbers) const {
    return {is_there_ ? &api_ : nullptr, static_cast<int32_t>(dim_), numbers.scale, numbers.clamp};
  }
  // Of the element at a position in C order of the shape; of none, the zero that changes no number.
  uint64_t Of(DType dtype, int64_t element) const {
    return is_there_ ? array_.Get(element / inner_ % length_[0]) : oracle::SignBit(dtype);
  }

 private:
  int64_t dim_;
  bool is_there_;
  Dims length_;
  TestArray array_;
  leakyrelu_array api_;
  int64_t inner_;
};

using FusedForwardCall =
    std::function<leakyrelu_status(const leakyrelu_array* x, const leakyrelu_array* y, const leakyrelu_fused* fused,
                                   double slope, uint8_t* mask, uint8_t* within, size_t mask_bytes)>;
using FusedBackwardCall = std::function<leakyrelu_status(
    const leakyrelu_array* dy, const uint8_t* mask, const uint8_t* within, size_t mask_bytes, const leakyrelu_array* dx,
    const leakyrelu_fused* fused, double slope)>;

// One call each way with random layouts, places and numbers, on arrays whose addresses are multiples of `alignment`.
inline void TryFusedForward(Random* random, DType dtype, const Dims& shape, int64_t alignment,
                            const FusedForwardCall& call) {
  const FusedNumbers numbers = RandomFusedNumbers(random, dtype);
  const bool in_place = random->OneIn(3);
  const bool wants_mask = random->OneIn(2);
  const bool wants_within = wants_mask && std::isfinite(numbers.clamp);
  const Dims x_strides = in_place ? DistinctStrides(random, shape) : ReadableStrides(random, shape);
  const Dims y_strides = DistinctStrides(random, shape);
  TestArray x(dtype, shape, x_strides, RandomPlace(random, alignment));
  TestArray y(dtype, shape, y_strides, RandomPlace(random, alignment));
  TestArray& result = in_place ? x : y;
  x.FillRandomly(random);
  const FusedBias bias(random, dtype, shape, alignment);
  TestMask mask(x.elements(), random);
  TestMask within(x.elements(), random);
  std::vector<uint64_t> expected;
  std::vector<uint8_t> expected_mask(mask.Get().size());
  std::vector<uint8_t> expected_within(mask.Get().size());
  for (int64_t i = 0; i < x.elements(); ++i) {
    const auto want =
        oracle::FusedForward(dtype, x.Get(i), bias.Of(dtype, i), numbers.slope, numbers.scale, numbers.clamp);
    expected.push_back(want.y);
    if (want.positive) SetMaskBit(&expected_mask, i);
    if (want.within) SetMaskBit(&expected_within, i);
  }
  if (!wants_mask) expected_mask = mask.Get();
  if (!wants_within) expected_within = within.Get();
  const auto x_before = x.Snapshot();
  const auto y_before = y.Snapshot();

  const leakyrelu_array x_api = Describe(&x, shape, x_strides, random);
  const leakyrelu_array y_api = in_place ? x_api : Describe(&y, shape, y_strides, random);
  const leakyrelu_fused fused = bias.Fused(numbers);
  ASSERT_EQ(call(&x_api, &y_api, &fused, numbers.slope, wants_mask ? mask.data() : nullptr,
                 wants_within ? within.data() : nullptr, wants_mask ? mask.bytes() : 0),
            LEAKYRELU_OK);

  ASSERT_NO_FATAL_FAILURE(ExpectElements(result, dtype, expected));
  ASSERT_EQ(mask.Get(), expected_mask);
  ASSERT_EQ(within.Get(), expected_within);
  ASSERT_TRUE(mask.IsUntouchedAround() && within.IsUntouchedAround());
  ASSERT_TRUE(in_place ? x.IsUntouchedOutsideElements(x_before) : x.Snapshot() == x_before);
  ASSERT_TRUE(in_place ? y.Snapshot() == y_before : y.IsUntouchedOutsideElements(y_before));
}

inline void TryFusedBackward(Random* random, DType dtype, const Dims& shape, int64_t alignment,
                             const FusedBackwardCall& call) {
  const FusedNumbers numbers = RandomFusedNumbers(random, dtype);
  const bool has_within = std::isfinite(numbers.clamp);
  const bool in_place = random->OneIn(3);
  const Dims dy_strides = in_place ? DistinctStrides(random, shape) : ReadableStrides(random, shape);
  const Dims dx_strides = DistinctStrides(random, shape);
  TestArray dy(dtype, shape, dy_strides, RandomPlace(random, alignment));
  TestArray dx(dtype, shape, dx_strides, RandomPlace(random, alignment));
  TestArray& result = in_place ? dy : dx;
  dy.FillRandomly(random);
  TestMask mask(dy.elements(), random);
  TestMask within(dy.elements(), random);
  std::generate_n(mask.data(), mask.bytes(), [&] { return static_cast<uint8_t>(random->Bits()); });
  std::generate_n(within.data(), within.bytes(), [&] { return static_cast<uint8_t>(random->Bits()); });
  std::vector<uint64_t> expected;
  for (int64_t i = 0; i < dy.elements(); ++i) {
    expected.push_back(oracle::FusedBackward(dtype, dy.Get(i), MaskBit(mask.data(), i),
                                             !has_within || MaskBit(within.data(), i), numbers.slope, numbers.scale));
  }
  const auto mask_before = mask.Get();
  const auto within_before = within.Get();
  const auto dy_before = dy.Snapshot();
  const auto dx_before = dx.Snapshot();

  const leakyrelu_array dy_api = Describe(&dy, shape, dy_strides, random);
  const leakyrelu_array dx_api = in_place ? dy_api : Describe(&dx, shape, dx_strides, random);
  const leakyrelu_fused fused = {nullptr, 0, numbers.scale, numbers.clamp};
  ASSERT_EQ(
      call(&dy_api, mask.data(), has_within ? within.data() : nullptr, mask.bytes(), &dx_api, &fused, numbers.slope),
      LEAKYRELU_OK);

  ASSERT_NO_FATAL_FAILURE(ExpectElements(result, dtype, expected));
  ASSERT_EQ(mask.Get(), mask_before);
  ASSERT_EQ(within.Get(), within_before);
  ASSERT_TRUE(in_place ? dy.IsUntouchedOutsideElements(dy_before) : dy.Snapshot() == dy_before);
  ASSERT_TRUE(in_place ? dx.Snapshot() == dx_before : dx.IsUntouchedOutsideElements(dx_before));
}

// Every special number plus every special bias, in one call for each pair of slope and scale.
inline void TryFusedNumbers(DType dtype, const FusedForwardCall& call) {
  const std::vector<uint64_t> special = oracle::SpecialValues(dtype);
  const int64_t n = static_cast<int64_t>(special.size());
  TestArray x(dtype, {n, n}, {n, 1});
  TestArray y(dtype, {n, n}, {n, 1});
  TestArray bias(dtype, {n}, {1});
  for (int64_t i = 0; i < n * n; ++i) x.Set(i, special[static_cast<size_t>(i % n)]);
  for (int64_t i = 0; i < n; ++i) bias.Set(i, special[static_cast<size_t>(i)]);
  const leakyrelu_array bias_api = bias.Api();
  std::vector<double> scales = {1.0, -1.0, std::sqrt(2.0), 0.0, -0.0, kInfinity, std::nan(""), 1e-45};
  for (const double slope : oracle::Slopes(dtype)) {
    for (const double scale : scales) {
      for (const double clamp : {kInfinity, 0.0, 1.5}) {
        SCOPED_TRACE("slope " + std::to_string(slope) + ", scale " + std::to_string(scale) + ", clamp " +
                     std::to_string(clamp));
        const leakyrelu_fused fused = {&bias_api, 0, scale, clamp};
        const leakyrelu_array x_api = x.Api();
        const leakyrelu_array y_api = y.Api();
        ASSERT_EQ(call(&x_api, &y_api, &fused, slope, nullptr, nullptr, 0), LEAKYRELU_OK);
        std::vector<uint64_t> expected;
        for (int64_t i = 0; i < n * n; ++i) {
          expected.push_back(oracle::FusedForward(dtype, x.Get(i), bias.Get(i / n), slope, scale, clamp).y);
        }
        ASSERT_NO_FATAL_FAILURE(ExpectElements(y, dtype, expected));
      }
    }
  }
}

}  // namespace test_util

#endif  // LEAKYRELU_TESTS_CORE_RANDOM_FUSED_CALLS_H_
