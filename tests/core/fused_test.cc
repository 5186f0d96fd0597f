// Proves the fused operation, bias + LeakyReLU + scale + clamp, through the C functions: every number and any layout
// against the oracle, nothing touched outside the elements, and each error before anything is written.

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
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

int64_t kFar[] = {std::numeric_limits<int64_t>::max() / 2, 1};
int64_t kZeros[] = {0, 0};
int64_t kNegative[] = {-3, 4};
int64_t kOther[] = {4, 3};

uint8_t* Bytes(std::vector<float>* numbers) { return reinterpret_cast<uint8_t*>(numbers->data()); }

// A right call on 3 rows of 4, to be spoilt.
struct FusedCall {
  FusedCall() = default;
  FusedCall(const FusedCall&) = delete;
  FusedCall& operator=(const FusedCall&) = delete;

  leakyrelu_status Forward() const {
    return leakyrelu_fused_forward(x_given, y_given, fused_given, slope, mask, within, mask_bytes, executor);
  }
  leakyrelu_status Backward() const {
    return leakyrelu_fused_backward(x_given, mask, within, mask_bytes, y_given, fused_given, slope, executor);
  }

  std::vector<float> x_numbers = std::vector<float>(16, 1.0f);
  std::vector<float> y_numbers = std::vector<float>(16, 7.0f);
  std::vector<float> bias_numbers = std::vector<float>(8, 1.0f);
  uint8_t bits[2][2] = {};
  int64_t shape[2] = {3, 4};
  int64_t bias_shape[2] = {4, 1};
  leakyrelu_array x = {x_numbers.data(), LEAKYRELU_FLOAT32, 2, shape, nullptr};
  leakyrelu_array y = {y_numbers.data(), LEAKYRELU_FLOAT32, 2, shape, nullptr};
  leakyrelu_array bias = {bias_numbers.data(), LEAKYRELU_FLOAT32, 1, bias_shape, nullptr};
  leakyrelu_fused fused = {&bias, 1, 1.0, 2.0};
  leakyrelu_executor own = {nullptr, test_util::RunBackwards, 2};
  const leakyrelu_array* x_given = &x;
  const leakyrelu_array* y_given = &y;
  const leakyrelu_fused* fused_given = &fused;
  const leakyrelu_executor* executor = &own;
  double slope = 0.2;
  uint8_t* mask = bits[0];
  uint8_t* within = bits[1];
  size_t mask_bytes = 2;
};

enum class Wrong { kForward, kBackward, kBoth };  // in which direction

struct SpoiltCall {
  leakyrelu_status status;
  Wrong direction;
  const char* what;
  void (*spoil)(FusedCall* call);
};

// Each status, by each argument that may cause it.
const SpoiltCall kSpoiltCalls[] = {
    {LEAKYRELU_ERROR_NULL_INPUT, Wrong::kBoth, "no x", [](FusedCall* c) { c->x_given = nullptr; }},
    {LEAKYRELU_ERROR_NULL_OUTPUT, Wrong::kBoth, "no y", [](FusedCall* c) { c->y_given = nullptr; }},
    {LEAKYRELU_ERROR_NULL_MASK, Wrong::kBackward, "no masks",
     [](FusedCall* c) {
       c->mask = c->within = nullptr;
       c->mask_bytes = 0;
     }},
    {LEAKYRELU_ERROR_NULL_FUSED, Wrong::kBoth, "no fused", [](FusedCall* c) { c->fused_given = nullptr; }},
    {LEAKYRELU_ERROR_NULL_SHAPE, Wrong::kBoth, "x without shape", [](FusedCall* c) { c->x.shape = nullptr; }},
    {LEAKYRELU_ERROR_NULL_SHAPE, Wrong::kBoth, "y without shape", [](FusedCall* c) { c->y.shape = nullptr; }},
    {LEAKYRELU_ERROR_NULL_SHAPE, Wrong::kForward, "bias without shape", [](FusedCall* c) { c->bias.shape = nullptr; }},
    {LEAKYRELU_ERROR_NULL_DATA, Wrong::kBoth, "x without data", [](FusedCall* c) { c->x.data = nullptr; }},
    {LEAKYRELU_ERROR_NULL_DATA, Wrong::kBoth, "y without data", [](FusedCall* c) { c->y.data = nullptr; }},
    {LEAKYRELU_ERROR_NULL_DATA, Wrong::kForward, "bias without data", [](FusedCall* c) { c->bias.data = nullptr; }},
    {LEAKYRELU_ERROR_DTYPE, Wrong::kBoth, "x of no dtype", [](FusedCall* c) { c->x.dtype = leakyrelu_dtype{}; }},
    {LEAKYRELU_ERROR_DTYPE, Wrong::kBoth, "y of no dtype", [](FusedCall* c) { c->y.dtype = leakyrelu_dtype{}; }},
    {LEAKYRELU_ERROR_DTYPE_MISMATCH, Wrong::kBoth, "y of another dtype",
     [](FusedCall* c) { c->y.dtype = LEAKYRELU_BFLOAT16; }},
    {LEAKYRELU_ERROR_NDIM, Wrong::kBoth, "x of -1 dims", [](FusedCall* c) { c->x.ndim = -1; }},
    {LEAKYRELU_ERROR_NDIM, Wrong::kBoth, "y of -1 dims", [](FusedCall* c) { c->y.ndim = -1; }},
    {LEAKYRELU_ERROR_SHAPE, Wrong::kBoth, "x of -3 rows", [](FusedCall* c) { c->x.shape = kNegative; }},
    {LEAKYRELU_ERROR_SHAPE, Wrong::kBoth, "y of -3 rows", [](FusedCall* c) { c->y.shape = kNegative; }},
    {LEAKYRELU_ERROR_SHAPE_MISMATCH, Wrong::kBoth, "y of another shape", [](FusedCall* c) { c->y.shape = kOther; }},
    {LEAKYRELU_ERROR_SHAPE_MISMATCH, Wrong::kBoth, "y of one dim", [](FusedCall* c) { c->y.ndim = 1; }},
    {LEAKYRELU_ERROR_TOO_LARGE, Wrong::kBoth, "x too far", [](FusedCall* c) { c->x.strides = kFar; }},
    {LEAKYRELU_ERROR_TOO_LARGE, Wrong::kBoth, "y too far", [](FusedCall* c) { c->y.strides = kFar; }},
    {LEAKYRELU_ERROR_TOO_LARGE, Wrong::kForward, "bias too far", [](FusedCall* c) { c->bias.strides = kFar; }},
    {LEAKYRELU_ERROR_SLOPE_OVERFLOW, Wrong::kBoth, "slope", [](FusedCall* c) { c->slope = 1e39; }},
    {LEAKYRELU_ERROR_SCALE_OVERFLOW, Wrong::kBoth, "scale", [](FusedCall* c) { c->fused.scale = -1e39; }},
    {LEAKYRELU_ERROR_CLAMP, Wrong::kBoth, "clamp below 0", [](FusedCall* c) { c->fused.clamp = -1.0; }},
    {LEAKYRELU_ERROR_CLAMP, Wrong::kBoth, "clamp of -inf", [](FusedCall* c) { c->fused.clamp = -kInfinity; }},
    {LEAKYRELU_ERROR_CLAMP, Wrong::kBoth, "clamp of NaN", [](FusedCall* c) { c->fused.clamp = std::nan(""); }},
    {LEAKYRELU_ERROR_CLAMP, Wrong::kBoth, "clamp beyond float32", [](FusedCall* c) { c->fused.clamp = 1e39; }},
    {LEAKYRELU_ERROR_OVERLAP, Wrong::kBoth, "y one element into x",
     [](FusedCall* c) { c->y.data = c->x_numbers.data() + 1; }},
    {LEAKYRELU_ERROR_OVERLAP, Wrong::kBoth, "y one byte into x",
     [](FusedCall* c) { c->y.data = Bytes(&c->x_numbers) + 1; }},
    {LEAKYRELU_ERROR_OUTPUT_REPEATS, Wrong::kBoth, "y of one element", [](FusedCall* c) { c->y.strides = kZeros; }},
    {LEAKYRELU_ERROR_MASK_OVERLAP, Wrong::kForward, "mask over x",
     [](FusedCall* c) { c->mask = Bytes(&c->x_numbers); }},
    {LEAKYRELU_ERROR_MASK_OVERLAP, Wrong::kBoth, "mask over y",
     [](FusedCall* c) { c->mask = Bytes(&c->y_numbers) + 47; }},
    {LEAKYRELU_ERROR_MASK_OVERLAP, Wrong::kForward, "mask over bias",
     [](FusedCall* c) { c->mask = Bytes(&c->bias_numbers); }},
    {LEAKYRELU_ERROR_MASK_OVERLAP, Wrong::kForward, "within over x",
     [](FusedCall* c) { c->within = Bytes(&c->x_numbers); }},
    {LEAKYRELU_ERROR_MASK_OVERLAP, Wrong::kBoth, "within over y",
     [](FusedCall* c) { c->within = Bytes(&c->y_numbers) + 47; }},
    {LEAKYRELU_ERROR_MASK_OVERLAP, Wrong::kForward, "within over bias",
     [](FusedCall* c) { c->within = Bytes(&c->bias_numbers) + 15; }},
    {LEAKYRELU_ERROR_MASK_OVERLAP, Wrong::kForward, "within over mask", [](FusedCall* c) { c->within = c->mask + 1; }},
    {LEAKYRELU_ERROR_MASK_BYTES, Wrong::kBoth, "masks too long", [](FusedCall* c) { c->mask_bytes = 3; }},
    {LEAKYRELU_ERROR_MASK_BYTES, Wrong::kBoth, "masks too short", [](FusedCall* c) { c->mask_bytes = 1; }},
    {LEAKYRELU_ERROR_WITHIN, Wrong::kBoth, "a clamp without within", [](FusedCall* c) { c->within = nullptr; }},
    {LEAKYRELU_ERROR_WITHIN, Wrong::kBoth, "within without a clamp", [](FusedCall* c) { c->fused.clamp = kInfinity; }},
    {LEAKYRELU_ERROR_WITHIN, Wrong::kBoth, "within without a mask",
     [](FusedCall* c) {
       c->mask = nullptr;
       c->mask_bytes = 0;
     }},
    {LEAKYRELU_ERROR_DIM, Wrong::kForward, "dim -1", [](FusedCall* c) { c->fused.dim = -1; }},
    {LEAKYRELU_ERROR_DIM, Wrong::kForward, "dim 2", [](FusedCall* c) { c->fused.dim = 2; }},
    {LEAKYRELU_ERROR_BIAS_DTYPE, Wrong::kForward, "bias of another dtype",
     [](FusedCall* c) { c->bias.dtype = LEAKYRELU_FLOAT64; }},
    {LEAKYRELU_ERROR_BIAS_DTYPE, Wrong::kForward, "bias of no dtype",
     [](FusedCall* c) { c->bias.dtype = leakyrelu_dtype{}; }},
    {LEAKYRELU_ERROR_BIAS_SHAPE, Wrong::kForward, "bias of another length", [](FusedCall* c) { c->fused.dim = 0; }},
    {LEAKYRELU_ERROR_BIAS_SHAPE, Wrong::kForward, "bias of two dims", [](FusedCall* c) { c->bias.ndim = 2; }},
    {LEAKYRELU_ERROR_BIAS_SHAPE, Wrong::kForward, "bias of -1 dims", [](FusedCall* c) { c->bias.ndim = -1; }},
    {LEAKYRELU_ERROR_BIAS_OVERLAP, Wrong::kForward, "y over bias",
     [](FusedCall* c) { c->bias.data = c->y_numbers.data() + 8; }},
    {LEAKYRELU_ERROR_NUM_THREADS, Wrong::kBoth, "no threads", [](FusedCall* c) { c->own.num_threads = 0; }},
    {LEAKYRELU_ERROR_EXECUTOR, Wrong::kBoth, "no parallel_for", [](FusedCall* c) { c->own.parallel_for = nullptr; }},
};

class FusedErrorsTest : public testing::TestWithParam<SpoiltCall> {};

TEST_P(FusedErrorsTest, NothingIsWritten) {
  const SpoiltCall& spoilt = GetParam();
  for (const bool is_forward : {true, false}) {
    FusedCall call;
    spoilt.spoil(&call);
    if (spoilt.direction == (is_forward ? Wrong::kBackward : Wrong::kForward)) {
      EXPECT_EQ(is_forward ? call.Forward() : call.Backward(), LEAKYRELU_OK) << is_forward;
      continue;
    }
    EXPECT_EQ(is_forward ? call.Forward() : call.Backward(), spoilt.status) << is_forward;
    EXPECT_EQ(call.x_numbers, std::vector<float>(16, 1.0f));
    EXPECT_EQ(call.y_numbers, std::vector<float>(16, 7.0f));
    EXPECT_EQ(call.bias_numbers, std::vector<float>(8, 1.0f));
    for (const auto& bits : call.bits) EXPECT_TRUE(bits[0] == 0 && bits[1] == 0);
  }
}

INSTANTIATE_TEST_SUITE_P(EachStatus, FusedErrorsTest, testing::ValuesIn(kSpoiltCalls), [](const auto& info) {
  std::string name = info.param.what;
  std::erase_if(name, [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0; });
  return name + std::to_string(info.index);
});

TEST(FusedRightTest, NotSpoilt) {
  FusedCall call;
  EXPECT_EQ(call.Forward(), LEAKYRELU_OK);
  EXPECT_EQ(call.y_numbers[0], 2.0f);
  EXPECT_EQ(call.Backward(), LEAKYRELU_OK);
}

TEST(FusedWrongTest, LengthOfNoMask) {
  FusedCall call;
  call.mask = call.within = nullptr;
  EXPECT_EQ(call.Forward(), LEAKYRELU_ERROR_MASK_BYTES);
  EXPECT_EQ(call.Backward(), LEAKYRELU_ERROR_NULL_MASK);
}

TEST(FusedRightTest, BiasOverInput) {
  FusedCall call;
  call.bias.data = call.x_numbers.data();
  EXPECT_EQ(call.Forward(), LEAKYRELU_OK);
}

TEST(FusedRightTest, BackwardIgnoresTheBias) {
  FusedCall call;
  call.bias = {reinterpret_cast<void*>(4), leakyrelu_dtype{}, -1, nullptr, nullptr};
  call.fused.dim = 9;
  EXPECT_EQ(call.Backward(), LEAKYRELU_OK);
}

TEST(FusedRightTest, NothingToDo) {
  FusedCall call;
  call.shape[0] = 0;
  call.mask_bytes = 0;
  call.mask = call.within = nullptr;
  call.x.data = call.y.data = nullptr;
  EXPECT_EQ(call.Forward(), LEAKYRELU_OK);
  EXPECT_EQ(call.Backward(), LEAKYRELU_OK);
  call.fused.dim = 5;
  EXPECT_EQ(call.Forward(), LEAKYRELU_ERROR_DIM);
}

void ThrowNumber(void* /*context*/, int64_t /*tasks*/, leakyrelu_task /*task*/, void* /*work*/) { throw 42; }

TEST(FusedExecutorTest, ThatThrows) {
  std::vector<float> x(1 << 20, -1.0f);
  const int64_t shape[] = {1 << 20};
  const leakyrelu_array array = {x.data(), LEAKYRELU_FLOAT32, 1, shape, nullptr};
  const std::vector<uint8_t> mask(1 << 17);
  const leakyrelu_fused fused = {nullptr, 0, 1.0, kInfinity};
  const leakyrelu_executor executor = {nullptr, ThrowNumber, 2};
  EXPECT_EQ(leakyrelu_fused_forward(&array, &array, &fused, 0.5, nullptr, nullptr, 0, &executor),
            LEAKYRELU_ERROR_EXECUTOR_FAILED);
  EXPECT_EQ(leakyrelu_fused_backward(&array, mask.data(), nullptr, mask.size(), &array, &fused, 0.5, &executor),
            LEAKYRELU_ERROR_EXECUTOR_FAILED);
}

}  // namespace
