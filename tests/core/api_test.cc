// Proves the checks of the C functions: each status by the input that causes it, with nothing written.

#include <gtest/gtest.h>

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <limits>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "dtypes.h"
#include "leakyrelu/leakyrelu.h"
#include "test_util.h"

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

// All arrays and masks lie in one piece of memory, and a call that fails must leave all of it alone.
class ApiTest : public testing::Test {
 protected:
  ApiTest() : memory_(4096, test_util::kCanary) {
    const std::vector<float> x = Alternating(1, -1);
    std::copy(x.begin(), x.end(), reinterpret_cast<float*>(At(0)));
  }

  std::byte* At(size_t byte) { return memory_.data() + byte; }
  uint8_t* Mask(size_t byte = 3000) { return reinterpret_cast<uint8_t*>(At(byte)); }

  std::vector<float> Floats(size_t byte) {
    const float* from = reinterpret_cast<float*>(At(byte));
    return {from, from + 24};
  }

  static std::vector<float> Alternating(float even, float odd) {
    std::vector<float> values(24, even);
    for (size_t i = 1; i < 24; i += 2) values[i] = odd;
    return values;
  }

  void ExpectForward(leakyrelu_status expected, const leakyrelu_array* x, const leakyrelu_array* y, uint8_t* mask,
                     double slope = 0.5, const leakyrelu_executor* executor = nullptr) {
    const std::vector<std::byte> before = memory_;
    EXPECT_EQ(leakyrelu_forward(x, y, slope, mask, mask != nullptr ? mask_bytes_ : 0, executor), expected);
    if (expected != LEAKYRELU_OK) {
      EXPECT_TRUE(memory_ == before) << "status " << expected << " but something written";
    }
  }

  void ExpectBackward(leakyrelu_status expected, const leakyrelu_array* dy, const uint8_t* mask,
                      const leakyrelu_array* dx, double slope = 0.5, const leakyrelu_executor* executor = nullptr) {
    const std::vector<std::byte> before = memory_;
    EXPECT_EQ(leakyrelu_backward(dy, mask, mask != nullptr ? mask_bytes_ : 0, dx, slope, executor), expected);
    if (expected != LEAKYRELU_OK) {
      EXPECT_TRUE(memory_ == before) << "status " << expected << " but something written";
    }
  }

  // The same for both functions, in every combination of out and mask.
  void ExpectBoth(leakyrelu_status expected, const leakyrelu_array* in, const leakyrelu_array* out, double slope = 0.5,
                  const leakyrelu_executor* executor = nullptr) {
    ExpectForward(expected, in, out, nullptr, slope, executor);
    ExpectForward(expected, in, out, Mask(), slope, executor);
    ExpectBackward(expected, in, Mask(), out, slope, executor);
  }

  size_t mask_bytes_ = 3;  // what the calls are told
  const int64_t shape_[3] = {2, 3, 4};
  std::vector<std::byte> memory_;
  const leakyrelu_array x_ = {At(0), LEAKYRELU_FLOAT32, 3, shape_, nullptr};
  const leakyrelu_array y_ = {At(1024), LEAKYRELU_FLOAT32, 3, shape_, nullptr};
};

// ---- What is right

TEST_F(ApiTest, Forward) {
  ExpectForward(LEAKYRELU_OK, &x_, &y_, nullptr);
  EXPECT_EQ(Floats(1024), Alternating(1, -0.5f));
}

TEST_F(ApiTest, ForwardWithMask) {
  ExpectForward(LEAKYRELU_OK, &x_, &y_, Mask());
  EXPECT_EQ(Floats(1024), Alternating(1, -0.5f));
  EXPECT_EQ(std::vector<uint8_t>(Mask(), Mask() + 3), std::vector<uint8_t>(3, 0x55));
}

TEST_F(ApiTest, MaskAlone) {
  ExpectForward(LEAKYRELU_OK, &x_, nullptr, Mask());
  EXPECT_EQ(std::vector<uint8_t>(Mask(), Mask() + 3), std::vector<uint8_t>(3, 0x55));
}

TEST_F(ApiTest, ForwardInPlace) {
  ExpectForward(LEAKYRELU_OK, &x_, &x_, nullptr);
  EXPECT_EQ(Floats(0), Alternating(1, -0.5f));
}

TEST_F(ApiTest, Backward) {
  std::fill_n(Mask(), 3, uint8_t{0xAA});
  ExpectBackward(LEAKYRELU_OK, &x_, Mask(), &y_);
  EXPECT_EQ(Floats(1024), Alternating(0.5f, -1));
}

TEST_F(ApiTest, BackwardInPlace) {
  std::fill_n(Mask(), 3, uint8_t{0xAA});
  ExpectBackward(LEAKYRELU_OK, &x_, Mask(), &x_);
  EXPECT_EQ(Floats(0), Alternating(0.5f, -1));
}

// ---- NULL

TEST_F(ApiTest, NullInput) {
  ExpectForward(LEAKYRELU_ERROR_NULL_INPUT, nullptr, &y_, nullptr);
  ExpectForward(LEAKYRELU_ERROR_NULL_INPUT, nullptr, nullptr, Mask());
  ExpectBackward(LEAKYRELU_ERROR_NULL_INPUT, nullptr, Mask(), &y_);
}

TEST_F(ApiTest, NullOutput) {
  ExpectForward(LEAKYRELU_ERROR_NULL_OUTPUT, &x_, nullptr, nullptr);
  ExpectBackward(LEAKYRELU_ERROR_NULL_OUTPUT, &x_, Mask(), nullptr);
}

TEST_F(ApiTest, NullMask) { ExpectBackward(LEAKYRELU_ERROR_NULL_MASK, &x_, nullptr, &y_); }

TEST_F(ApiTest, AllNullIsSomeError) {
  EXPECT_NE(leakyrelu_forward(nullptr, nullptr, 0.5, nullptr, 0, nullptr), LEAKYRELU_OK);
  EXPECT_NE(leakyrelu_backward(nullptr, nullptr, 0, nullptr, 0.5, nullptr), LEAKYRELU_OK);
}

TEST_F(ApiTest, NullShape) {
  leakyrelu_array shapeless = x_;
  shapeless.shape = nullptr;
  ExpectBoth(LEAKYRELU_ERROR_NULL_SHAPE, &shapeless, &y_);
  ExpectBoth(LEAKYRELU_ERROR_NULL_SHAPE, &x_, &shapeless);
}

TEST_F(ApiTest, NullData) {
  leakyrelu_array empty_handed = x_;
  empty_handed.data = nullptr;
  ExpectBoth(LEAKYRELU_ERROR_NULL_DATA, &empty_handed, &y_);
  ExpectBoth(LEAKYRELU_ERROR_NULL_DATA, &x_, &empty_handed);
}

TEST_F(ApiTest, ScalarNeedsNoShape) {
  const leakyrelu_array x = {At(0), LEAKYRELU_FLOAT32, 0, nullptr, nullptr};
  const leakyrelu_array y = {At(1024), LEAKYRELU_FLOAT32, 0, nullptr, nullptr};
  mask_bytes_ = 1;
  ExpectForward(LEAKYRELU_OK, &x, &y, Mask());
  EXPECT_EQ(*reinterpret_cast<float*>(At(1024)), 1.0f);
  EXPECT_EQ(*Mask(), 1);
}

TEST_F(ApiTest, EmptyNeedsNoDataAndNoMask) {
  const int64_t shape[] = {3, 0, kMax};
  const leakyrelu_array empty = {nullptr, LEAKYRELU_FLOAT32, 3, shape, nullptr};
  EXPECT_EQ(leakyrelu_forward(&empty, &empty, 0.5, nullptr, 0, nullptr), LEAKYRELU_OK);
  EXPECT_EQ(leakyrelu_backward(&empty, nullptr, 0, &empty, 0.5, nullptr), LEAKYRELU_OK);
}

TEST_F(ApiTest, EmptyWritesNoMask) {
  const int64_t shape[] = {0};
  const leakyrelu_array empty = {nullptr, LEAKYRELU_FLOAT32, 1, shape, nullptr};
  EXPECT_EQ(leakyrelu_forward(&empty, nullptr, 0.5, Mask(), 0, nullptr), LEAKYRELU_OK);
  EXPECT_TRUE(test_util::IsUntouched(At(3000), At(3064)));
}

TEST_F(ApiTest, EmptyWithinTheOtherArraysMemoryIsFine) {
  const int64_t shape[] = {0};
  const leakyrelu_array empty = {At(0), LEAKYRELU_FLOAT32, 1, shape, nullptr};
  EXPECT_EQ(leakyrelu_forward(&empty, &empty, 0.5, Mask(0), 0, nullptr), LEAKYRELU_OK);
}

// ---- The mask's length

TEST_F(ApiTest, MaskOfAnotherLength) {
  const int64_t row[] = {24};  // which the library does without a plan
  const leakyrelu_array x_row = {At(0), LEAKYRELU_FLOAT32, 1, row, nullptr};
  const leakyrelu_array y_row = {At(1024), LEAKYRELU_FLOAT32, 1, row, nullptr};
  for (size_t bytes : std::vector<size_t>{0, 1, 2, 4, 24, 96, SIZE_MAX}) {
    mask_bytes_ = bytes;
    for (const auto& [x, y] : {std::pair{&x_, &y_}, {&x_row, &y_row}}) {
      ExpectForward(LEAKYRELU_ERROR_MASK_BYTES, x, y, Mask());
      ExpectForward(LEAKYRELU_ERROR_MASK_BYTES, x, x, Mask());
      ExpectForward(LEAKYRELU_ERROR_MASK_BYTES, x, nullptr, Mask());
      ExpectBackward(LEAKYRELU_ERROR_MASK_BYTES, x, Mask(), y);
      ExpectBackward(LEAKYRELU_ERROR_MASK_BYTES, x, Mask(), x);
    }
  }
}

TEST_F(ApiTest, NoMaskHasNoLength) {
  const std::vector<std::byte> before = memory_;
  for (size_t bytes : std::vector<size_t>{1, 3, SIZE_MAX}) {
    EXPECT_EQ(leakyrelu_forward(&x_, &y_, 0.5, nullptr, bytes, nullptr), LEAKYRELU_ERROR_MASK_BYTES);
    EXPECT_EQ(leakyrelu_forward(&x_, nullptr, 0.5, nullptr, bytes, nullptr), LEAKYRELU_ERROR_NULL_OUTPUT);
    EXPECT_EQ(leakyrelu_backward(&x_, nullptr, bytes, &y_, 0.5, nullptr), LEAKYRELU_ERROR_NULL_MASK);
  }
  EXPECT_TRUE(memory_ == before);
}

TEST_F(ApiTest, MaskOfNoElementHasNoLength) {
  const int64_t shape[] = {0};
  const leakyrelu_array empty = {nullptr, LEAKYRELU_FLOAT32, 1, shape, nullptr};
  for (uint8_t* mask : {Mask(), static_cast<uint8_t*>(nullptr)}) {
    EXPECT_EQ(leakyrelu_forward(&empty, &empty, 0.5, mask, 1, nullptr), LEAKYRELU_ERROR_MASK_BYTES);
    EXPECT_EQ(leakyrelu_backward(&empty, mask, 1, &empty, 0.5, nullptr), LEAKYRELU_ERROR_MASK_BYTES);
  }
}

TEST_F(ApiTest, MaskOfManyBytesButOne) {
  const int64_t shape[] = {int64_t{1} << 40};
  const int64_t strides[] = {0};
  const leakyrelu_array x = {At(0), LEAKYRELU_FLOAT32, 1, shape, strides};
  mask_bytes_ = (size_t{1} << 37) - 1;
  ExpectForward(LEAKYRELU_ERROR_MASK_BYTES, &x, nullptr, Mask());
}

// ---- dtypes

TEST_F(ApiTest, UnknownDType) {
  constexpr int32_t kNone = static_cast<int32_t>(leakyrelu::kNumDTypes) + 1;
  for (int32_t dtype : {0, kNone, -1, std::numeric_limits<int32_t>::max(), std::numeric_limits<int32_t>::min()}) {
    leakyrelu_array unknown = x_;
    unknown.dtype = static_cast<leakyrelu_dtype>(dtype);
    ExpectBoth(LEAKYRELU_ERROR_DTYPE, &unknown, &y_);
    ExpectBoth(LEAKYRELU_ERROR_DTYPE, &x_, &unknown);
    ExpectBoth(LEAKYRELU_ERROR_DTYPE, &unknown, &unknown);
  }
}

TEST_F(ApiTest, UnknownDTypeOfTheMaskAlone) {
  leakyrelu_array unknown = x_;
  unknown.dtype = static_cast<leakyrelu_dtype>(0);
  ExpectForward(LEAKYRELU_ERROR_DTYPE, &unknown, nullptr, Mask());
}

TEST_F(ApiTest, ZeroedStructIsAnError) {
  const leakyrelu_array zeroed = {};
  ExpectBoth(LEAKYRELU_ERROR_DTYPE, &zeroed, &zeroed);
}

TEST_F(ApiTest, DTypeMismatch) {
  for (leakyrelu_dtype dtype : {LEAKYRELU_FLOAT16, LEAKYRELU_BFLOAT16, LEAKYRELU_FLOAT64}) {
    leakyrelu_array other = y_;
    other.dtype = dtype;
    ExpectBoth(LEAKYRELU_ERROR_DTYPE_MISMATCH, &x_, &other);
  }
}

// ---- Shapes

TEST_F(ApiTest, NegativeNdim) {
  leakyrelu_array negative = x_;
  negative.ndim = -1;
  ExpectBoth(LEAKYRELU_ERROR_NDIM, &negative, &y_);
  ExpectBoth(LEAKYRELU_ERROR_NDIM, &x_, &negative);
}

TEST_F(ApiTest, NegativeExtent) {
  const int64_t shape[] = {2, -3, 4};
  leakyrelu_array negative = x_;
  negative.shape = shape;
  ExpectBoth(LEAKYRELU_ERROR_SHAPE, &negative, &negative);
  ExpectBoth(LEAKYRELU_ERROR_SHAPE, &x_, &negative);
}

TEST_F(ApiTest, ShapeMismatch) {
  const int64_t shape[] = {2, 4, 3};
  leakyrelu_array other = y_;
  other.shape = shape;
  ExpectBoth(LEAKYRELU_ERROR_SHAPE_MISMATCH, &x_, &other);
}

TEST_F(ApiTest, NdimMismatch) {
  const int64_t shape[] = {24};
  leakyrelu_array other = y_;
  other.ndim = 1;
  other.shape = shape;
  ExpectBoth(LEAKYRELU_ERROR_SHAPE_MISMATCH, &x_, &other);
}

TEST_F(ApiTest, ShapesThatDifferByAnExtentOf1Mismatch) {
  const int64_t shape[] = {2, 3, 4, 1};
  leakyrelu_array other = y_;
  other.ndim = 4;
  other.shape = shape;
  ExpectBoth(LEAKYRELU_ERROR_SHAPE_MISMATCH, &x_, &other);
}

TEST_F(ApiTest, EmptyShapesMismatchToo) {
  const int64_t shape[] = {2, 0};
  const int64_t other_shape[] = {0, 2};
  const leakyrelu_array empty = {nullptr, LEAKYRELU_FLOAT32, 2, shape, nullptr};
  const leakyrelu_array other = {nullptr, LEAKYRELU_FLOAT32, 2, other_shape, nullptr};
  ExpectBoth(LEAKYRELU_ERROR_SHAPE_MISMATCH, &empty, &other);
}

TEST_F(ApiTest, TooManyElements) {
  const int64_t shape[] = {kMax, 2};
  const int64_t strides[] = {0, 0};
  const leakyrelu_array large = {At(0), LEAKYRELU_FLOAT32, 2, shape, strides};
  ExpectBoth(LEAKYRELU_ERROR_TOO_LARGE, &large, &y_);
  ExpectBoth(LEAKYRELU_ERROR_TOO_LARGE, &x_, &large);
}

TEST_F(ApiTest, StridesBeyondTheAddressSpace) {
  for (int64_t stride : {kMax, kMax / 2, kMax / 4, -kMax, -kMax - 1, -(int64_t{1} << 60)}) {
    const int64_t strides[] = {stride, 4, 1};
    leakyrelu_array wide = x_;
    wide.strides = strides;
    ExpectBoth(LEAKYRELU_ERROR_TOO_LARGE, &wide, &y_);
    ExpectBoth(LEAKYRELU_ERROR_TOO_LARGE, &x_, &wide);
  }
}

// A row, which is seen without a plan, and the same with strides.
TEST_F(ApiTest, BeyondTheEndOfTheAddressSpace) {
  const int64_t elements = 4;
  const int64_t stride = 1;
  const leakyrelu_array row = {At(0), LEAKYRELU_FLOAT32, 1, &elements, nullptr};
  const uintptr_t near_the_end = std::numeric_limits<uintptr_t>::max() - 7;
  leakyrelu_array last = {reinterpret_cast<void*>(near_the_end), LEAKYRELU_FLOAT32, 1, &elements, nullptr};
  for (const int64_t* strides : {static_cast<const int64_t*>(nullptr), &stride}) {
    last.strides = strides;
    ExpectBoth(LEAKYRELU_ERROR_TOO_LARGE, &last, &row);
    ExpectBoth(LEAKYRELU_ERROR_TOO_LARGE, &row, &last);
    ExpectBoth(LEAKYRELU_ERROR_TOO_LARGE, &last, &last);
  }
}

// ---- Slopes

TEST_F(ApiTest, SlopeBeyondFloat32) {
  for (leakyrelu_dtype dtype : {LEAKYRELU_FLOAT16, LEAKYRELU_BFLOAT16, LEAKYRELU_FLOAT32}) {
    leakyrelu_array x = x_;
    leakyrelu_array y = y_;
    x.dtype = y.dtype = dtype;
    for (double slope : {std::nextafter(double{FLT_MAX}, kInfinity), 1e300, DBL_MAX}) {
      ExpectBoth(LEAKYRELU_ERROR_SLOPE_OVERFLOW, &x, &y, slope);
      ExpectBoth(LEAKYRELU_ERROR_SLOPE_OVERFLOW, &x, &y, -slope);
    }
  }
}

TEST_F(ApiTest, SlopeWithinFloat32) {
  for (leakyrelu_dtype dtype : {LEAKYRELU_FLOAT16, LEAKYRELU_BFLOAT16, LEAKYRELU_FLOAT32}) {
    leakyrelu_array x = x_;
    leakyrelu_array y = y_;
    x.dtype = y.dtype = dtype;
    for (double slope : {0.0, 1e-300, 1.0, double{FLT_MAX}, -double{FLT_MAX}, kInfinity, -kInfinity, kNaN}) {
      EXPECT_EQ(leakyrelu_forward(&x, &y, slope, nullptr, 0, nullptr), LEAKYRELU_OK);
      EXPECT_EQ(leakyrelu_backward(&x, Mask(), mask_bytes_, &y, slope, nullptr), LEAKYRELU_OK);
    }
  }
}

TEST_F(ApiTest, AnySlopeForFloat64) {
  leakyrelu_array x = x_;
  leakyrelu_array y = y_;
  x.dtype = y.dtype = LEAKYRELU_FLOAT64;
  for (double slope : {std::nextafter(double{FLT_MAX}, kInfinity), 1e300, -DBL_MAX, kInfinity, -kInfinity, kNaN}) {
    EXPECT_EQ(leakyrelu_forward(&x, &y, slope, nullptr, 0, nullptr), LEAKYRELU_OK);
    EXPECT_EQ(leakyrelu_backward(&x, Mask(), mask_bytes_, &y, slope, nullptr), LEAKYRELU_OK);
  }
}

// ---- Overlap

TEST_F(ApiTest, OutputShiftedOverTheInput) {
  for (size_t byte : std::vector<size_t>{1, 2, 4, 92, 95}) {
    leakyrelu_array shifted = x_;
    shifted.data = At(byte);
    ExpectBoth(LEAKYRELU_ERROR_OVERLAP, &x_, &shifted);
    ExpectBoth(LEAKYRELU_ERROR_OVERLAP, &shifted, &x_);
  }
}

TEST_F(ApiTest, OutputRightBehindTheInput) {
  leakyrelu_array behind = x_;
  behind.data = At(96);
  ExpectBoth(LEAKYRELU_OK, &x_, &behind);
}

TEST_F(ApiTest, SameElementsInAnotherOrder) {
  const int64_t shape[] = {4, 4};
  const int64_t transposed[] = {1, 4};
  const leakyrelu_array x = {At(0), LEAKYRELU_FLOAT32, 2, shape, nullptr};
  const leakyrelu_array y = {At(0), LEAKYRELU_FLOAT32, 2, shape, transposed};
  ExpectBoth(LEAKYRELU_ERROR_OVERLAP, &x, &y);
}

TEST_F(ApiTest, SameElementsReversed) {
  const int64_t shape[] = {5};
  const int64_t reversed[] = {-1};
  const leakyrelu_array x = {At(0), LEAKYRELU_FLOAT32, 1, shape, nullptr};
  const leakyrelu_array y = {At(16), LEAKYRELU_FLOAT32, 1, shape, reversed};
  ExpectBoth(LEAKYRELU_ERROR_OVERLAP, &x, &y);
}

TEST_F(ApiTest, SameElementsDescribedTwoWaysAreInPlace) {
  const int64_t shape[] = {1, 5};
  const int64_t strides[] = {77, 1};
  const leakyrelu_array x = {At(0), LEAKYRELU_FLOAT32, 2, shape, nullptr};
  const leakyrelu_array y = {At(0), LEAKYRELU_FLOAT32, 2, shape, strides};
  ExpectForward(LEAKYRELU_OK, &x, &y, nullptr);
}

TEST_F(ApiTest, BroadcastInputWithinTheOutput) {
  const int64_t zeros[] = {0, 0, 0};
  leakyrelu_array x = x_;
  x.strides = zeros;
  x.data = At(1024 + 4 * 23);
  ExpectBoth(LEAKYRELU_ERROR_OVERLAP, &x, &y_);
}

TEST_F(ApiTest, OutputRepeats) {
  for (const auto& strides : {std::vector<int64_t>{0, 4, 1}, {12, 4, 0}, {12, 3, 1}, {1, 1, 1}, {12, -1, 1}}) {
    leakyrelu_array repeating = y_;
    repeating.strides = strides.data();
    repeating.data = At(1024 + 64);
    ExpectBoth(LEAKYRELU_ERROR_OUTPUT_REPEATS, &x_, &repeating);
  }
}

TEST_F(ApiTest, InPlaceOnARepeatingArray) {
  const int64_t strides[] = {0, 4, 1};
  leakyrelu_array repeating = x_;
  repeating.strides = strides;
  ExpectBoth(LEAKYRELU_ERROR_OUTPUT_REPEATS, &repeating, &repeating);
}

TEST_F(ApiTest, RepeatingInputIsFine) {
  const int64_t strides[] = {0, 1, 1};
  leakyrelu_array repeating = x_;
  repeating.strides = strides;
  ExpectBoth(LEAKYRELU_OK, &repeating, &y_);
}

TEST_F(ApiTest, ForwardMaskOverlapsTheInput) {
  for (size_t byte : std::vector<size_t>{0, 1, 50, 95}) {
    ExpectForward(LEAKYRELU_ERROR_MASK_OVERLAP, &x_, &y_, Mask(byte));
    ExpectForward(LEAKYRELU_ERROR_MASK_OVERLAP, &x_, nullptr, Mask(byte));
    ExpectForward(LEAKYRELU_ERROR_MASK_OVERLAP, &x_, &x_, Mask(byte));
  }
}

TEST_F(ApiTest, MaskOverlapsTheOutput) {
  for (size_t byte : std::vector<size_t>{1022, 1023, 1024, 1119}) {  // the mask has 3 bytes
    ExpectForward(LEAKYRELU_ERROR_MASK_OVERLAP, &x_, &y_, Mask(byte));
    ExpectBackward(LEAKYRELU_ERROR_MASK_OVERLAP, &x_, Mask(byte), &y_);
  }
}

TEST_F(ApiTest, MaskRightBeforeAndBehindTheOutput) {
  for (size_t byte : std::vector<size_t>{1021, 1120}) {
    EXPECT_EQ(leakyrelu_forward(&x_, &y_, 0.5, Mask(byte), mask_bytes_, nullptr), LEAKYRELU_OK);
    EXPECT_EQ(leakyrelu_backward(&x_, Mask(byte), mask_bytes_, &y_, 0.5, nullptr), LEAKYRELU_OK);
  }
}

TEST_F(ApiTest, MaskInAGapOfTheOutputIsFine) {
  const int64_t strides[] = {24, 8, 2};
  leakyrelu_array gappy = y_;
  gappy.strides = strides;
  EXPECT_EQ(leakyrelu_forward(&x_, &gappy, 0.5, Mask(1024 + 4), mask_bytes_, nullptr), LEAKYRELU_OK);
  ExpectForward(LEAKYRELU_ERROR_MASK_OVERLAP, &x_, &gappy, Mask(1024 + 6));
}

TEST_F(ApiTest, BackwardMaskWithinDyIsFine) {
  EXPECT_EQ(leakyrelu_backward(&x_, Mask(0), mask_bytes_, &y_, 0.5, nullptr), LEAKYRELU_OK);
}

// A row of few elements, which the library does without a plan; the arrays of the other tests have three dims.
TEST_F(ApiTest, RowOfFewElements) {
  const int64_t shape[] = {24};
  const int64_t longer[] = {25};
  leakyrelu_array x = {At(0), LEAKYRELU_FLOAT32, 1, shape, nullptr};
  leakyrelu_array y = {At(1024), LEAKYRELU_FLOAT32, 1, shape, nullptr};
  for (size_t byte : std::vector<size_t>{1, 4, 95, 97}) {
    leakyrelu_array shifted = {At(byte), LEAKYRELU_FLOAT32, 1, shape, nullptr};
    ExpectBoth(byte < 96 ? LEAKYRELU_ERROR_OVERLAP : LEAKYRELU_OK, &x, &shifted);
    ExpectBoth(byte < 96 ? LEAKYRELU_ERROR_OVERLAP : LEAKYRELU_OK, &shifted, &x);
  }
  for (size_t byte : std::vector<size_t>{1022, 1023, 1024, 1119}) {
    ExpectForward(LEAKYRELU_ERROR_MASK_OVERLAP, &x, &y, Mask(byte));
    ExpectBackward(LEAKYRELU_ERROR_MASK_OVERLAP, &x, Mask(byte), &y);
  }
  for (size_t byte : std::vector<size_t>{0, 95}) ExpectForward(LEAKYRELU_ERROR_MASK_OVERLAP, &x, &y, Mask(byte));
  ExpectForward(LEAKYRELU_OK, &x, &y, Mask(1021));
  ExpectBackward(LEAKYRELU_OK, &x, Mask(1120), &y);
  ExpectBackward(LEAKYRELU_ERROR_NULL_MASK, &x, nullptr, &y);
  y.shape = longer;
  ExpectBoth(LEAKYRELU_ERROR_SHAPE_MISMATCH, &x, &y);
  y.shape = nullptr;
  ExpectBoth(LEAKYRELU_ERROR_NULL_SHAPE, &x, &y);
  y = {nullptr, LEAKYRELU_FLOAT32, 1, shape, nullptr};
  ExpectBoth(LEAKYRELU_ERROR_NULL_DATA, &x, &y);
  y = {At(1024), LEAKYRELU_FLOAT64, 1, shape, nullptr};
  ExpectBoth(LEAKYRELU_ERROR_DTYPE_MISMATCH, &x, &y);
}

// ---- Executors and threads

TEST_F(ApiTest, ExecutorWithoutParallelFor) {
  const leakyrelu_executor executor = {nullptr, nullptr, 2};
  ExpectBoth(LEAKYRELU_ERROR_EXECUTOR, &x_, &y_, 0.5, &executor);
}

TEST_F(ApiTest, ExecutorWithTooFewThreads) {
  for (int32_t num_threads : {0, -1, std::numeric_limits<int32_t>::min()}) {
    const leakyrelu_executor executor = {nullptr, test_util::RunBackwards, num_threads};
    ExpectBoth(LEAKYRELU_ERROR_NUM_THREADS, &x_, &y_, 0.5, &executor);
  }
}

void ThrowException(void* /*context*/, int64_t /*tasks*/, leakyrelu_task /*task*/, void* /*work*/) {
  throw std::runtime_error("no threads today");
}

void ThrowNumber(void* /*context*/, int64_t /*tasks*/, leakyrelu_task /*task*/, void* /*work*/) { throw 42; }

TEST(ApiExecutorTest, ThatThrows) {
  std::vector<float> x(1 << 20, -1.0f);
  const int64_t shape[] = {1 << 20};
  const leakyrelu_array array = {x.data(), LEAKYRELU_FLOAT32, 1, shape, nullptr};
  const std::vector<uint8_t> mask(1 << 17);
  for (auto* parallel_for : {ThrowException, ThrowNumber}) {
    const leakyrelu_executor executor = {nullptr, parallel_for, 2};
    EXPECT_EQ(leakyrelu_forward(&array, &array, 0.5, nullptr, 0, &executor), LEAKYRELU_ERROR_EXECUTOR_FAILED);
    EXPECT_EQ(leakyrelu_backward(&array, mask.data(), mask.size(), &array, 0.5, &executor),
              LEAKYRELU_ERROR_EXECUTOR_FAILED);
  }
}

TEST(ApiThreadsTest, SetAndGet) {
  const int32_t before = leakyrelu_get_num_threads();
  EXPECT_GE(before, 1);
  for (int32_t num_threads : {1, 3, std::numeric_limits<int32_t>::max()}) {
    EXPECT_EQ(leakyrelu_set_num_threads(num_threads), LEAKYRELU_OK);
    EXPECT_EQ(leakyrelu_get_num_threads(), num_threads);
  }
  EXPECT_EQ(leakyrelu_set_num_threads(before), LEAKYRELU_OK);
}

TEST(ApiThreadsTest, TooFewAreRefusedAndChangeNothing) {
  const int32_t before = leakyrelu_get_num_threads();
  ASSERT_EQ(leakyrelu_set_num_threads(5), LEAKYRELU_OK);
  for (int32_t num_threads : {0, -1, std::numeric_limits<int32_t>::min()}) {
    EXPECT_EQ(leakyrelu_set_num_threads(num_threads), LEAKYRELU_ERROR_NUM_THREADS);
    EXPECT_EQ(leakyrelu_get_num_threads(), 5);
  }
  leakyrelu_set_num_threads(before);
}

// ---- The small ones

TEST(MaskBytesTest, OneForEach8) {
  EXPECT_EQ(leakyrelu_mask_bytes(0), 0u);
  EXPECT_EQ(leakyrelu_mask_bytes(1), 1u);
  EXPECT_EQ(leakyrelu_mask_bytes(7), 1u);
  EXPECT_EQ(leakyrelu_mask_bytes(8), 1u);
  EXPECT_EQ(leakyrelu_mask_bytes(9), 2u);
  EXPECT_EQ(leakyrelu_mask_bytes(kMax), size_t{1} << 60);
}

TEST(MaskBytesTest, NoneForNegativeCounts) {
  EXPECT_EQ(leakyrelu_mask_bytes(-1), 0u);
  EXPECT_EQ(leakyrelu_mask_bytes(-8), 0u);
  EXPECT_EQ(leakyrelu_mask_bytes(std::numeric_limits<int64_t>::min()), 0u);
}

TEST(VersionTest, IsTheHeaders) {
  EXPECT_EQ(leakyrelu_version(), std::to_string(LEAKYRELU_VERSION_MAJOR) + "." +
                                     std::to_string(LEAKYRELU_VERSION_MINOR) + "." +
                                     std::to_string(LEAKYRELU_VERSION_PATCH));
}

constexpr leakyrelu_status kLastStatus = LEAKYRELU_ERROR_BIAS_OVERLAP;

TEST(StatusMessageTest, EachStatusHasItsOwn) {
  std::set<std::string> messages;
  for (int32_t status = LEAKYRELU_OK; status <= kLastStatus; ++status) {
    const char* message = leakyrelu_status_message(static_cast<leakyrelu_status>(status));
    ASSERT_NE(message, nullptr);
    EXPECT_STRNE(message, "");
    EXPECT_TRUE(messages.insert(message).second) << message;
  }
}

TEST(StatusMessageTest, UnknownStatusHasAnotherOne) {
  const std::string unknown = leakyrelu_status_message(static_cast<leakyrelu_status>(kLastStatus + 1));
  EXPECT_NE(unknown, "");
  for (int32_t status : {-1, 99, std::numeric_limits<int32_t>::max(), std::numeric_limits<int32_t>::min()}) {
    EXPECT_EQ(leakyrelu_status_message(static_cast<leakyrelu_status>(status)), unknown);
  }
  for (int32_t status = LEAKYRELU_OK; status <= kLastStatus; ++status) {
    EXPECT_NE(leakyrelu_status_message(static_cast<leakyrelu_status>(status)), unknown);
  }
}

}  // namespace
