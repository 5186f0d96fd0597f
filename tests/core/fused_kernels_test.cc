// Proves the fused kernels of every instruction set and dtype bit for bit against the oracle: every length of a few
// blocks, each kind of bias, both masks, streaming stores, in place, and nothing touched outside the elements.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <tuple>
#include <vector>

#include "kernels.h"
#include "oracle.h"
#include "random_calls.h"
#include "test_util.h"

namespace {

using leakyrelu::FusedChunk;
using leakyrelu::FusedNumbers;
using leakyrelu::Kernels;
using oracle::DType;
using test_util::kThinning;
using test_util::Random;
using test_util::TestArray;
using test_util::TestMask;

enum class Masks { kNone, kPositive, kBoth };

// Two blocks of 64 and a tail that fills no mask byte.
constexpr int64_t kLongest = 2 * 64 + 35;

FusedNumbers RandomNumbers(Random* random, DType dtype, Masks masks) {
  const std::vector<double> clamps = {0.0, 0.3, 1.0, 256.0, 65504.0, 1e-40};
  const bool clamps_result = masks == Masks::kBoth || (masks == Masks::kNone && random->OneIn(2));
  return {random->Pick(oracle::Slopes(dtype)), random->OneIn(2) ? std::sqrt(2.0) : random->Pick(oracle::Slopes(dtype)),
          clamps_result ? random->Pick(clamps) : std::numeric_limits<double>::infinity()};
}

class FusedKernelsTest : public testing::TestWithParam<std::tuple<const Kernels*, DType>> {
 protected:
  const Kernels& kernels() const { return *std::get<0>(GetParam()); }
  DType dtype() const { return std::get<1>(GetParam()); }
  size_t index() const { return static_cast<size_t>(dtype()); }
  int64_t bytes() const { return oracle::FormatOf(dtype()).bytes; }

  // Aligned to the element, now and then to a vector, as streaming stores want it.
  test_util::Place RandomPlace(Random* random) const {
    return random->OneIn(3) ? test_util::Place{} : test_util::RandomPlace(random, bytes());
  }

  void TryForward(Random* random, int64_t elements, Masks masks) {
    const FusedNumbers numbers = RandomNumbers(random, dtype(), masks);
    const bool in_place = random->OneIn(3);
    const bool has_bias = !random->OneIn(3);
    const int64_t run = random->OneIn(3) ? 1 : random->Between(1, 200);
    const int64_t extent = random->OneIn(3) ? random->Between(1, 5) : random->Between(1, 200);
    const int64_t bias_begin = random->Between(0, run * extent - 1);
    TestArray x(dtype(), {elements}, {1}, RandomPlace(random));
    TestArray y(dtype(), {elements}, {1}, RandomPlace(random));
    const int64_t again = run == 1 ? int64_t{leakyrelu::kBiasesAgain} : 0;
    TestArray bias(dtype(), {extent + again}, {1}, RandomPlace(random));
    TestArray& result = in_place ? x : y;
    x.FillRandomly(random);
    bias.FillRandomly(random);
    for (int64_t i = 0; i < again; ++i) bias.Set(extent + i, bias.Get(i));
    TestMask mask(elements, random);
    TestMask within(elements, random);
    std::vector<uint64_t> expected;
    std::vector<uint8_t> expected_mask(mask.bytes());
    std::vector<uint8_t> expected_within(mask.bytes());
    for (int64_t i = 0; i < elements; ++i) {
      // What changes no number is -0.
      const uint64_t b = has_bias ? bias.Get((bias_begin + i) / run % extent) : oracle::SignBit(dtype());
      const auto want = oracle::FusedForward(dtype(), x.Get(i), b, numbers.slope, numbers.scale, numbers.clamp);
      expected.push_back(want.y);
      if (want.positive) test_util::SetMaskBit(&expected_mask, i);
      if (want.within) test_util::SetMaskBit(&expected_within, i);
    }
    if (masks == Masks::kNone) expected_mask = mask.Get();
    if (masks != Masks::kBoth) expected_within = within.Get();
    const auto x_before = x.Snapshot();
    const auto y_before = y.Snapshot();

    const FusedChunk chunk = {x.Api().data,
                              has_bias ? bias.Api().data : nullptr,
                              static_cast<size_t>(extent),
                              static_cast<size_t>(run),
                              static_cast<size_t>(bias_begin),
                              result.Api().data,
                              masks != Masks::kNone ? mask.data() : nullptr,
                              masks == Masks::kBoth ? within.data() : nullptr,
                              static_cast<size_t>(elements),
                              random->OneIn(2)};
    test_util::DirtyStack();
    kernels().fused_forward[index()](chunk, numbers);

    ASSERT_NO_FATAL_FAILURE(test_util::ExpectElements(result, dtype(), expected));
    ASSERT_EQ(mask.Get(), expected_mask);
    ASSERT_EQ(within.Get(), expected_within);
    ASSERT_TRUE(mask.IsUntouchedAround() && within.IsUntouchedAround());
    ASSERT_TRUE(in_place ? x.IsUntouchedOutsideElements(x_before) : x.Snapshot() == x_before);
    ASSERT_TRUE(in_place ? y.Snapshot() == y_before : y.IsUntouchedOutsideElements(y_before));
  }

  void TryBackward(Random* random, int64_t elements, Masks masks) {
    const FusedNumbers numbers = RandomNumbers(random, dtype(), masks);
    const bool in_place = random->OneIn(3);
    TestArray dy(dtype(), {elements}, {1}, RandomPlace(random));
    TestArray dx(dtype(), {elements}, {1}, RandomPlace(random));
    TestArray& result = in_place ? dy : dx;
    dy.FillRandomly(random);
    TestMask mask(elements, random);
    TestMask within(elements, random);
    std::generate_n(mask.data(), mask.bytes(), [&] { return static_cast<uint8_t>(random->Bits()); });
    std::generate_n(within.data(), within.bytes(), [&] { return static_cast<uint8_t>(random->Bits()); });
    std::vector<uint64_t> expected;
    for (int64_t i = 0; i < elements; ++i) {
      const bool is_within = masks != Masks::kBoth || test_util::MaskBit(within.data(), i);
      expected.push_back(oracle::FusedBackward(dtype(), dy.Get(i), test_util::MaskBit(mask.data(), i), is_within,
                                               numbers.slope, numbers.scale));
    }
    const auto mask_before = mask.Get();
    const auto within_before = within.Get();
    const auto dy_before = dy.Snapshot();
    const auto dx_before = dx.Snapshot();

    const FusedChunk chunk = {dy.Api().data,
                              nullptr,
                              1,
                              1,
                              0,
                              result.Api().data,
                              mask.data(),
                              masks == Masks::kBoth ? within.data() : nullptr,
                              static_cast<size_t>(elements),
                              random->OneIn(2)};
    test_util::DirtyStack();
    kernels().fused_backward[index()](chunk, numbers);

    ASSERT_NO_FATAL_FAILURE(test_util::ExpectElements(result, dtype(), expected));
    ASSERT_EQ(mask.Get(), mask_before);
    ASSERT_EQ(within.Get(), within_before);
    ASSERT_TRUE(in_place ? dy.IsUntouchedOutsideElements(dy_before) : dy.Snapshot() == dy_before);
    ASSERT_TRUE(in_place ? dx.Snapshot() == dx_before : dx.IsUntouchedOutsideElements(dx_before));
  }
};

TEST_P(FusedKernelsTest, ForwardOfEveryLength) {
  for (int64_t elements = 0; elements <= kLongest; ++elements) {
    for (uint64_t seed = 0; seed < 8 / std::min<uint64_t>(kThinning, 4); ++seed) {
      SCOPED_TRACE(std::to_string(elements) + " elements, seed " + std::to_string(seed));
      Random random(seed * 1000 + static_cast<uint64_t>(elements));
      for (const Masks masks : {Masks::kNone, Masks::kPositive, Masks::kBoth}) {
        ASSERT_NO_FATAL_FAILURE(TryForward(&random, elements, masks));
      }
    }
  }
}

TEST_P(FusedKernelsTest, BackwardOfEveryLength) {
  for (int64_t elements = 0; elements <= kLongest; ++elements) {
    for (uint64_t seed = 0; seed < 4 / std::min<uint64_t>(kThinning, 4); ++seed) {
      SCOPED_TRACE(std::to_string(elements) + " elements, seed " + std::to_string(seed));
      Random random(seed * 1000 + static_cast<uint64_t>(elements));
      for (const Masks masks : {Masks::kPositive, Masks::kBoth}) {
        ASSERT_NO_FATAL_FAILURE(TryBackward(&random, elements, masks));
      }
    }
  }
}

const auto kSupported = leakyrelu::SupportedKernels();
INSTANTIATE_TEST_SUITE_P(, FusedKernelsTest,
                         testing::Combine(testing::ValuesIn(kSupported.begin(), kSupported.end()),
                                          testing::ValuesIn(oracle::kDTypes)),
                         [](const auto& info) {
                           return std::string(std::get<0>(info.param)->target) + "_" +
                                  oracle::FormatOf(std::get<1>(info.param)).name;
                         });

}  // namespace
