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
#include "random_calls.h"
#include "test_util.h"

namespace {

using oracle::DType;
using test_util::Dims;
using test_util::kThinning;
using test_util::Random;
using test_util::TestArray;
using test_util::TestMask;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct Numbers {
  double slope;
  double scale;
  double clamp;
};

Numbers RandomNumbers(Random* random, DType dtype) {
  const std::vector<double> clamps = {kInfinity, kInfinity, 0.0, -0.0, 0.3, 1.0, 256.0, 65504.0, 1e-40};
  return {random->Pick(oracle::Slopes(dtype)), random->OneIn(2) ? std::sqrt(2.0) : random->Pick(oracle::Slopes(dtype)),
          random->Pick(clamps)};
}

// A bias along one dim of a shape, or none, with any stride.
class Bias {
 public:
  Bias(Random* random, DType dtype, const Dims& shape)
      : dim_(shape.empty() ? 0 : random->Between(0, static_cast<int64_t>(shape.size()) - 1)),
        is_there_(!shape.empty() && !random->OneIn(4)),
        length_{is_there_ ? shape[static_cast<size_t>(dim_)] : 1},
        array_(dtype, length_, {random->Pick(Dims{1, 1, 1, 2, -1, 0, -3})}, test_util::RandomPlace(random, 1)),
        api_(array_.Api()) {
    array_.FillRandomly(random);
    inner_ = 1;
    for (size_t i = static_cast<size_t>(dim_) + 1; i < shape.size(); ++i) inner_ *= shape[i];
  }

  leakyrelu_fused Fused(const Numbers& numbers) const {
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

// One call each way with random layouts, places and numbers.
void TryForward(Random* random, DType dtype, const Dims& shape, const leakyrelu_executor* executor) {
  const Numbers numbers = RandomNumbers(random, dtype);
  const bool in_place = random->OneIn(3);
  const bool wants_mask = random->OneIn(2);
  const bool wants_within = wants_mask && std::isfinite(numbers.clamp);
  const Dims x_strides =
      in_place ? test_util::DistinctStrides(random, shape) : test_util::ReadableStrides(random, shape);
  const Dims y_strides = test_util::DistinctStrides(random, shape);
  TestArray x(dtype, shape, x_strides, test_util::RandomPlace(random, 1));
  TestArray y(dtype, shape, y_strides, test_util::RandomPlace(random, 1));
  TestArray& result = in_place ? x : y;
  x.FillRandomly(random);
  const Bias bias(random, dtype, shape);
  TestMask mask(x.elements(), random);
  TestMask within(x.elements(), random);
  std::vector<uint64_t> expected;
  std::vector<uint8_t> expected_mask(mask.Get().size());
  std::vector<uint8_t> expected_within(mask.Get().size());
  for (int64_t i = 0; i < x.elements(); ++i) {
    const auto want =
        oracle::FusedForward(dtype, x.Get(i), bias.Of(dtype, i), numbers.slope, numbers.scale, numbers.clamp);
    expected.push_back(want.y);
    if (want.positive) test_util::SetMaskBit(&expected_mask, i);
    if (want.within) test_util::SetMaskBit(&expected_within, i);
  }
  if (!wants_mask) expected_mask = mask.Get();
  if (!wants_within) expected_within = within.Get();
  const auto x_before = x.Snapshot();
  const auto y_before = y.Snapshot();

  const leakyrelu_array x_api = test_util::Describe(&x, shape, x_strides, random);
  const leakyrelu_array y_api = in_place ? x_api : test_util::Describe(&y, shape, y_strides, random);
  const leakyrelu_fused fused = bias.Fused(numbers);
  ASSERT_EQ(leakyrelu_fused_forward(&x_api, &y_api, &fused, numbers.slope, wants_mask ? mask.data() : nullptr,
                                    wants_within ? within.data() : nullptr, wants_mask ? mask.bytes() : 0, executor),
            LEAKYRELU_OK);

  ASSERT_NO_FATAL_FAILURE(test_util::ExpectElements(result, dtype, expected));
  ASSERT_EQ(mask.Get(), expected_mask);
  ASSERT_EQ(within.Get(), expected_within);
  ASSERT_TRUE(mask.IsUntouchedAround() && within.IsUntouchedAround());
  ASSERT_TRUE(in_place ? x.IsUntouchedOutsideElements(x_before) : x.Snapshot() == x_before);
  ASSERT_TRUE(in_place ? y.Snapshot() == y_before : y.IsUntouchedOutsideElements(y_before));
}

void TryBackward(Random* random, DType dtype, const Dims& shape, const leakyrelu_executor* executor) {
  const Numbers numbers = RandomNumbers(random, dtype);
  const bool has_within = std::isfinite(numbers.clamp);
  const bool in_place = random->OneIn(3);
  const Dims dy_strides =
      in_place ? test_util::DistinctStrides(random, shape) : test_util::ReadableStrides(random, shape);
  const Dims dx_strides = test_util::DistinctStrides(random, shape);
  TestArray dy(dtype, shape, dy_strides, test_util::RandomPlace(random, 1));
  TestArray dx(dtype, shape, dx_strides, test_util::RandomPlace(random, 1));
  TestArray& result = in_place ? dy : dx;
  dy.FillRandomly(random);
  TestMask mask(dy.elements(), random);
  TestMask within(dy.elements(), random);
  std::generate_n(mask.data(), mask.bytes(), [&] { return static_cast<uint8_t>(random->Bits()); });
  std::generate_n(within.data(), within.bytes(), [&] { return static_cast<uint8_t>(random->Bits()); });
  std::vector<uint64_t> expected;
  for (int64_t i = 0; i < dy.elements(); ++i) {
    expected.push_back(oracle::FusedBackward(dtype, dy.Get(i), test_util::MaskBit(mask.data(), i),
                                             !has_within || test_util::MaskBit(within.data(), i), numbers.slope,
                                             numbers.scale));
  }
  const auto mask_before = mask.Get();
  const auto within_before = within.Get();
  const auto dy_before = dy.Snapshot();
  const auto dx_before = dx.Snapshot();

  const leakyrelu_array dy_api = test_util::Describe(&dy, shape, dy_strides, random);
  const leakyrelu_array dx_api = in_place ? dy_api : test_util::Describe(&dx, shape, dx_strides, random);
  const leakyrelu_fused fused = {nullptr, 0, numbers.scale, numbers.clamp};
  ASSERT_EQ(leakyrelu_fused_backward(&dy_api, mask.data(), has_within ? within.data() : nullptr, mask.bytes(), &dx_api,
                                     &fused, numbers.slope, executor),
            LEAKYRELU_OK);

  ASSERT_NO_FATAL_FAILURE(test_util::ExpectElements(result, dtype, expected));
  ASSERT_EQ(mask.Get(), mask_before);
  ASSERT_EQ(within.Get(), within_before);
  ASSERT_TRUE(in_place ? dy.IsUntouchedOutsideElements(dy_before) : dy.Snapshot() == dy_before);
  ASSERT_TRUE(in_place ? dx.Snapshot() == dx_before : dx.IsUntouchedOutsideElements(dx_before));
}

class FusedTest : public testing::TestWithParam<DType> {};

TEST_P(FusedTest, ForwardOfRandomLayouts) {
  for (uint64_t seed = 0; seed < 3000 / kThinning; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    ASSERT_NO_FATAL_FAILURE(TryForward(&random, GetParam(), test_util::RandomShape(&random, 1500), nullptr));
  }
}

TEST_P(FusedTest, BackwardOfRandomLayouts) {
  for (uint64_t seed = 0; seed < 3000 / kThinning; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    ASSERT_NO_FATAL_FAILURE(TryBackward(&random, GetParam(), test_util::RandomShape(&random, 1500), nullptr));
  }
}

TEST_P(FusedTest, SeveralTasks) {
  const leakyrelu_executor backwards = {nullptr, test_util::RunBackwards, 3};
  for (uint64_t seed = 0; seed < 8 / std::min<uint64_t>(kThinning, 4); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    const Dims shape = random.Pick(std::vector<Dims>{{443, 451}, {3, 66667}, {66667, 3}, {2, 512, 200}, {5, 199, 200}});
    ASSERT_NO_FATAL_FAILURE(TryForward(&random, GetParam(), shape, &backwards));
    ASSERT_NO_FATAL_FAILURE(TryBackward(&random, GetParam(), shape, &backwards));
    ASSERT_NO_FATAL_FAILURE(TryForward(&random, GetParam(), shape, nullptr));
  }
}

// Every special number plus every special bias, in one call for each pair of slope and scale.
TEST_P(FusedTest, EveryKindOfNumber) {
  const DType dtype = GetParam();
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
        ASSERT_EQ(leakyrelu_fused_forward(&x_api, &y_api, &fused, slope, nullptr, nullptr, 0, nullptr), LEAKYRELU_OK);
        std::vector<uint64_t> expected;
        for (int64_t i = 0; i < n * n; ++i) {
          expected.push_back(oracle::FusedForward(dtype, x.Get(i), bias.Get(i / n), slope, scale, clamp).y);
        }
        ASSERT_NO_FATAL_FAILURE(test_util::ExpectElements(y, dtype, expected));
      }
    }
  }
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

// Beyond the cache, with streaming stores, it is what it is row by row, which no cache is too small for.
TEST(FusedLargeTest, IsWhatItsRowsAre) {
  constexpr int64_t kRows = 9 << 10;
  constexpr int64_t kColumns = 1031;
  std::vector<float> x(static_cast<size_t>(kRows * kColumns));
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i * 7919 % 1009) - 504.0f;
  std::vector<float> bias(static_cast<size_t>(kRows));
  for (size_t i = 0; i < bias.size(); ++i) bias[i] = static_cast<float>(i % 97) - 48.0f;
  for (const int32_t dim : {0, 1}) {
    SCOPED_TRACE("dim " + std::to_string(dim));
    std::vector<float> y(x.size());
    std::vector<float> row(static_cast<size_t>(kColumns));
    std::vector<uint8_t> mask(leakyrelu_mask_bytes(kRows * kColumns));
    std::vector<uint8_t> within(mask.size());
    const int64_t shape[] = {kRows, kColumns};
    const leakyrelu_array x_api = {x.data(), LEAKYRELU_FLOAT32, 2, shape, nullptr};
    const leakyrelu_array y_api = {y.data(), LEAKYRELU_FLOAT32, 2, shape, nullptr};
    const leakyrelu_array bias_api = {bias.data(), LEAKYRELU_FLOAT32, 1, shape + dim, nullptr};
    const leakyrelu_fused fused = {&bias_api, dim, std::sqrt(2.0), 300.0};
    ASSERT_EQ(leakyrelu_fused_forward(&x_api, &y_api, &fused, 0.2, mask.data(), within.data(), mask.size(), nullptr),
              LEAKYRELU_OK);
    for (int64_t r = 0; r < kRows; ++r) {
      const int64_t row_shape[] = {1, kColumns};
      const leakyrelu_array in = {x.data() + r * kColumns, LEAKYRELU_FLOAT32, 2, row_shape, nullptr};
      const leakyrelu_array out = {row.data(), LEAKYRELU_FLOAT32, 2, row_shape, nullptr};
      const leakyrelu_array of_row = {bias.data() + (dim == 0 ? r : 0), LEAKYRELU_FLOAT32, 1, row_shape + dim, nullptr};
      const leakyrelu_fused fused_row = {&of_row, dim, std::sqrt(2.0), 300.0};
      ASSERT_EQ(leakyrelu_fused_forward(&in, &out, &fused_row, 0.2, nullptr, nullptr, 0, nullptr), LEAKYRELU_OK);
      ASSERT_TRUE(std::equal(row.begin(), row.end(), y.begin() + r * kColumns)) << "row " << r;
    }
    std::vector<uint8_t> expected(mask.size());
    std::vector<uint8_t> expected_within(mask.size());
    for (int64_t i = 0; i < kRows * kColumns; ++i) {
      const float result = y[static_cast<size_t>(i)];
      if (result > 0) test_util::SetMaskBit(&expected, i);
      if (std::fabs(result) < 300.0f) test_util::SetMaskBit(&expected_within, i);
    }
    EXPECT_EQ(mask, expected);
    EXPECT_EQ(within, expected_within);
  }
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
