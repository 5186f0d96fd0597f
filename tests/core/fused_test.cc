// Proves the fused operation, bias + LeakyReLU + scale + clamp, through the C functions: every number and any layout
// against the oracle, nothing touched outside the elements, and each error before anything is written.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "leakyrelu/leakyrelu.h"
#include "oracle.h"
#include "random_fused_calls.h"
#include "test_util.h"

namespace {

using oracle::DType;
using test_util::Dims;
using test_util::kThinning;
using test_util::Random;
using test_util::TestArray;

using test_util::kInfinity;

test_util::FusedForwardCall Forward(const leakyrelu_executor* executor) {
  return [executor](const leakyrelu_array* x, const leakyrelu_array* y, const leakyrelu_fused* fused, double slope,
                    uint8_t* mask, uint8_t* within, size_t mask_bytes) {
    return leakyrelu_fused_forward(x, y, fused, slope, mask, within, mask_bytes, executor);
  };
}

test_util::FusedBackwardCall Backward(const leakyrelu_executor* executor) {
  return [executor](const leakyrelu_array* dy, const uint8_t* mask, const uint8_t* within, size_t mask_bytes,
                    const leakyrelu_array* dx, const leakyrelu_fused* fused, double slope) {
    return leakyrelu_fused_backward(dy, mask, within, mask_bytes, dx, fused, slope, executor);
  };
}

class FusedTest : public testing::TestWithParam<DType> {};

TEST_P(FusedTest, ForwardOfRandomLayouts) {
  for (uint64_t seed = 0; seed < 3000 / kThinning; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    ASSERT_NO_FATAL_FAILURE(
        test_util::TryFusedForward(&random, GetParam(), test_util::RandomShape(&random, 1500), 1, Forward(nullptr)));
  }
}

TEST_P(FusedTest, BackwardOfRandomLayouts) {
  for (uint64_t seed = 0; seed < 3000 / kThinning; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    ASSERT_NO_FATAL_FAILURE(
        test_util::TryFusedBackward(&random, GetParam(), test_util::RandomShape(&random, 1500), 1, Backward(nullptr)));
  }
}

TEST_P(FusedTest, SeveralTasks) {
  const leakyrelu_executor backwards = {nullptr, test_util::RunBackwards, 3};
  for (uint64_t seed = 0; seed < 8 / std::min<uint64_t>(kThinning, 4); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    const Dims shape = random.Pick(std::vector<Dims>{{443, 451}, {3, 66667}, {66667, 3}, {2, 512, 200}, {5, 199, 200}});
    ASSERT_NO_FATAL_FAILURE(test_util::TryFusedForward(&random, GetParam(), shape, 1, Forward(&backwards)));
    ASSERT_NO_FATAL_FAILURE(test_util::TryFusedBackward(&random, GetParam(), shape, 1, Backward(&backwards)));
    ASSERT_NO_FATAL_FAILURE(test_util::TryFusedForward(&random, GetParam(), shape, 1, Forward(nullptr)));
  }
}

TEST_P(FusedTest, EveryKindOfNumber) {
  ASSERT_NO_FATAL_FAILURE(test_util::TryFusedNumbers(GetParam(), Forward(nullptr)));
}

// Without bias, scale and clamp it is LeakyReLU.
TEST_P(FusedTest, IsLeakyReluWithoutTheRest) {
  Random random(0);
  const DType dtype = GetParam();
  TestArray x(dtype, {1000}, {1});
  TestArray y(dtype, {1000}, {1});
  x.FillRandomly(&random);
  const leakyrelu_array x_api = x.Api();
  const leakyrelu_array y_api = y.Api();
  const leakyrelu_fused fused = {nullptr, 0, 1.0, kInfinity};
  for (const double slope : oracle::Slopes(dtype)) {
    SCOPED_TRACE("slope " + std::to_string(slope));
    ASSERT_EQ(leakyrelu_fused_forward(&x_api, &y_api, &fused, slope, nullptr, nullptr, 0, nullptr), LEAKYRELU_OK);
    std::vector<uint64_t> expected;
    for (int64_t i = 0; i < x.elements(); ++i) expected.push_back(oracle::Forward(dtype, x.Get(i), slope));
    ASSERT_NO_FATAL_FAILURE(test_util::ExpectElements(y, dtype, expected));
  }
}

// An array is what it is row by row.
void ExpectWhatItsRowsAre(int64_t rows, int64_t columns, const leakyrelu_executor* executor) {
  std::vector<float> x(static_cast<size_t>(rows * columns));
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i * 7919 % 1009) - 504.0f;
  std::vector<float> bias(static_cast<size_t>(rows));
  for (size_t i = 0; i < bias.size(); ++i) bias[i] = static_cast<float>(i % 97) - 48.0f;
  for (const int32_t dim : {0, 1}) {
    SCOPED_TRACE("dim " + std::to_string(dim));
    std::vector<float> y(x.size());
    std::vector<float> row(static_cast<size_t>(columns));
    std::vector<uint8_t> mask(leakyrelu_mask_bytes(rows * columns));
    std::vector<uint8_t> within(mask.size());
    const int64_t shape[] = {rows, columns};
    const leakyrelu_array x_api = {x.data(), LEAKYRELU_FLOAT32, 2, shape, nullptr};
    const leakyrelu_array y_api = {y.data(), LEAKYRELU_FLOAT32, 2, shape, nullptr};
    const leakyrelu_array bias_api = {bias.data(), LEAKYRELU_FLOAT32, 1, shape + dim, nullptr};
    const leakyrelu_fused fused = {&bias_api, dim, std::sqrt(2.0), 300.0};
    ASSERT_EQ(leakyrelu_fused_forward(&x_api, &y_api, &fused, 0.2, mask.data(), within.data(), mask.size(), executor),
              LEAKYRELU_OK);
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t row_shape[] = {1, columns};
      const leakyrelu_array in = {x.data() + r * columns, LEAKYRELU_FLOAT32, 2, row_shape, nullptr};
      const leakyrelu_array out = {row.data(), LEAKYRELU_FLOAT32, 2, row_shape, nullptr};
      const leakyrelu_array of_row = {bias.data() + (dim == 0 ? r : 0), LEAKYRELU_FLOAT32, 1, row_shape + dim, nullptr};
      const leakyrelu_fused fused_row = {&of_row, dim, std::sqrt(2.0), 300.0};
      ASSERT_EQ(leakyrelu_fused_forward(&in, &out, &fused_row, 0.2, nullptr, nullptr, 0, nullptr), LEAKYRELU_OK);
      ASSERT_TRUE(std::equal(row.begin(), row.end(), y.begin() + r * columns)) << "row " << r;
    }
    std::vector<uint8_t> expected(mask.size());
    std::vector<uint8_t> expected_within(mask.size());
    for (int64_t i = 0; i < rows * columns; ++i) {
      const float result = y[static_cast<size_t>(i)];
      if (result > 0) test_util::SetMaskBit(&expected, i);
      if (std::fabs(result) < 300.0f) test_util::SetMaskBit(&expected_within, i);
    }
    EXPECT_EQ(mask, expected);
    EXPECT_EQ(within, expected_within);
  }
}

// Beyond the cache, with streaming stores; no cache is too small for a row.
TEST(FusedLargeTest, IsWhatItsRowsAre) { ExpectWhatItsRowsAre(9 << 10, 1031, nullptr); }

// More biases than are gathered at once, for tasks that begin within the run of one.
TEST(FusedLargeTest, ManyBiases) {
  const leakyrelu_executor executor = {nullptr, test_util::RunBackwards, 5};
  ExpectWhatItsRowsAre(30'000, 5, &executor);
}

INSTANTIATE_TEST_SUITE_P(AllDTypes, FusedTest, testing::ValuesIn(oracle::kDTypes),
                         [](const auto& info) { return std::string(oracle::FormatOf(info.param).name); });

// ---- What is wrong with a call

class FusedErrorsTest : public testing::Test {
 protected:
  leakyrelu_status Forward() {
    return leakyrelu_fused_forward(&x_, &y_, &fused_, slope_, mask_, within_, mask_bytes_, nullptr);
  }
  void ExpectError(leakyrelu_status status, const std::string& word) {
    EXPECT_EQ(Forward(), status);
    EXPECT_NE(std::string(leakyrelu_status_message(status)).find(word), std::string::npos)
        << leakyrelu_status_message(status);
    EXPECT_EQ(y_numbers_, std::vector<float>(12, 7.0f));
  }

  std::vector<float> x_numbers_ = std::vector<float>(12, 1.0f);
  std::vector<float> y_numbers_ = std::vector<float>(12, 7.0f);
  std::vector<float> bias_numbers_ = std::vector<float>(4, 1.0f);
  uint8_t bits_[2][2] = {};
  int64_t shape_[2] = {3, 4};
  int64_t bias_shape_[2] = {4, 1};
  leakyrelu_array x_ = {x_numbers_.data(), LEAKYRELU_FLOAT32, 2, shape_, nullptr};
  leakyrelu_array y_ = {y_numbers_.data(), LEAKYRELU_FLOAT32, 2, shape_, nullptr};
  leakyrelu_array bias_ = {bias_numbers_.data(), LEAKYRELU_FLOAT32, 1, bias_shape_, nullptr};
  leakyrelu_fused fused_ = {&bias_, 1, 1.0, 2.0};
  double slope_ = 0.2;
  uint8_t* mask_ = bits_[0];
  uint8_t* within_ = bits_[1];
  size_t mask_bytes_ = 2;
};

TEST_F(FusedErrorsTest, NoneIsRight) {
  EXPECT_EQ(Forward(), LEAKYRELU_OK);
  EXPECT_EQ(y_numbers_, std::vector<float>(12, 2.0f));
}

TEST_F(FusedErrorsTest, NoStruct) {
  EXPECT_EQ(leakyrelu_fused_forward(&x_, &y_, nullptr, slope_, nullptr, nullptr, 0, nullptr),
            LEAKYRELU_ERROR_NULL_FUSED);
  EXPECT_EQ(leakyrelu_fused_backward(&x_, mask_, nullptr, 2, &y_, nullptr, slope_, nullptr),
            LEAKYRELU_ERROR_NULL_FUSED);
}

TEST_F(FusedErrorsTest, NoArrays) {
  EXPECT_EQ(leakyrelu_fused_forward(nullptr, &y_, &fused_, slope_, mask_, within_, 2, nullptr),
            LEAKYRELU_ERROR_NULL_INPUT);
  EXPECT_EQ(leakyrelu_fused_forward(&x_, nullptr, &fused_, slope_, mask_, within_, 2, nullptr),
            LEAKYRELU_ERROR_NULL_OUTPUT);
  EXPECT_EQ(leakyrelu_fused_backward(&x_, nullptr, nullptr, 0, &y_, &fused_, slope_, nullptr),
            LEAKYRELU_ERROR_NULL_MASK);
}

TEST_F(FusedErrorsTest, Scale) {
  fused_.scale = 1e39;
  ExpectError(LEAKYRELU_ERROR_SCALE_OVERFLOW, "scale");
}

TEST_F(FusedErrorsTest, Slope) {
  slope_ = 1e39;
  ExpectError(LEAKYRELU_ERROR_SLOPE_OVERFLOW, "negative_slope");
}

TEST_F(FusedErrorsTest, Clamp) {
  for (const double clamp : {-1.0, -kInfinity, std::nan(""), 1e39}) {
    fused_.clamp = clamp;
    ExpectError(LEAKYRELU_ERROR_CLAMP, "clamp");
  }
}

TEST_F(FusedErrorsTest, ClampWithoutItsMask) {
  within_ = nullptr;
  ExpectError(LEAKYRELU_ERROR_WITHIN, "within");
}

TEST_F(FusedErrorsTest, MaskOfNoClamp) {
  fused_.clamp = kInfinity;
  ExpectError(LEAKYRELU_ERROR_WITHIN, "within");
}

TEST_F(FusedErrorsTest, WithinWithoutMask) {
  mask_ = nullptr;
  mask_bytes_ = 0;
  ExpectError(LEAKYRELU_ERROR_WITHIN, "within");
}

TEST_F(FusedErrorsTest, MaskBytes) {
  mask_bytes_ = 3;
  ExpectError(LEAKYRELU_ERROR_MASK_BYTES, "mask_bytes");
}

TEST_F(FusedErrorsTest, Dim) {
  for (const int32_t dim : {-1, 2}) {
    fused_.dim = dim;
    ExpectError(LEAKYRELU_ERROR_DIM, "dim");
  }
}

TEST_F(FusedErrorsTest, BiasDtype) {
  bias_.dtype = LEAKYRELU_FLOAT64;
  ExpectError(LEAKYRELU_ERROR_BIAS_DTYPE, "bias");
}

TEST_F(FusedErrorsTest, BiasLength) {
  fused_.dim = 0;
  ExpectError(LEAKYRELU_ERROR_BIAS_SHAPE, "bias");
}

TEST_F(FusedErrorsTest, BiasDims) {
  bias_.ndim = 2;
  ExpectError(LEAKYRELU_ERROR_BIAS_SHAPE, "bias");
}

TEST_F(FusedErrorsTest, BiasWithoutShapeOrData) {
  bias_.shape = nullptr;
  ExpectError(LEAKYRELU_ERROR_NULL_SHAPE, "shape");
  bias_.shape = bias_shape_;
  bias_.data = nullptr;
  ExpectError(LEAKYRELU_ERROR_NULL_DATA, "data");
}

TEST_F(FusedErrorsTest, BiasBeyondTheAddressSpace) {
  const int64_t stride = std::numeric_limits<int64_t>::max() / 2;
  bias_.strides = &stride;
  ExpectError(LEAKYRELU_ERROR_TOO_LARGE, "stride");
}

TEST_F(FusedErrorsTest, OutputOverBias) {
  bias_.data = y_numbers_.data() + 8;
  ExpectError(LEAKYRELU_ERROR_BIAS_OVERLAP, "bias");
}

TEST_F(FusedErrorsTest, MasksOverOneAnother) {
  within_ = bits_[0] + 1;
  ExpectError(LEAKYRELU_ERROR_MASK_OVERLAP, "mask");
}

TEST_F(FusedErrorsTest, MasksOverArrays) {
  within_ = reinterpret_cast<uint8_t*>(x_numbers_.data());
  ExpectError(LEAKYRELU_ERROR_MASK_OVERLAP, "mask");
  within_ = reinterpret_cast<uint8_t*>(bias_numbers_.data());
  ExpectError(LEAKYRELU_ERROR_MASK_OVERLAP, "mask");
  within_ = bits_[1];
  mask_ = reinterpret_cast<uint8_t*>(bias_numbers_.data());
  ExpectError(LEAKYRELU_ERROR_MASK_OVERLAP, "mask");
}

TEST_F(FusedErrorsTest, BiasOverInputIsFine) {
  bias_.data = x_numbers_.data();
  EXPECT_EQ(Forward(), LEAKYRELU_OK);
}

TEST_F(FusedErrorsTest, BackwardIgnoresTheBias) {
  bias_ = {reinterpret_cast<void*>(4), leakyrelu_dtype{}, -1, nullptr, nullptr};
  fused_.dim = 9;
  EXPECT_EQ(leakyrelu_fused_backward(&x_, mask_, within_, 2, &y_, &fused_, slope_, nullptr), LEAKYRELU_OK);
  EXPECT_EQ(y_numbers_, std::vector<float>(12, 0.0f));
}

TEST_F(FusedErrorsTest, NothingToDo) {
  shape_[0] = 0;
  mask_bytes_ = 0;
  mask_ = within_ = nullptr;
  x_.data = y_.data = nullptr;
  EXPECT_EQ(Forward(), LEAKYRELU_OK);
  fused_.dim = 5;
  EXPECT_EQ(Forward(), LEAKYRELU_ERROR_DIM);
}

}  // namespace
