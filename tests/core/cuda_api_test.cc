// Proves that the CUDA functions check what the CPU's do, by the same code, and what is said only on devices.

#include <gtest/gtest.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "cuda_under_test.h"
#include "leakyrelu/leakyrelu.h"
#include "test_util.h"

namespace {

class CudaApiTest : public testing::Test {
 protected:
  CudaApiTest() : memory_(4096, test_util::kCanary) {
    float* x = reinterpret_cast<float*>(At(0));
    for (int i = 0; i < 24; ++i) x[i] = i % 2 == 0 ? 1.0f : -1.0f;
  }

  std::byte* At(size_t byte) { return memory_.data() + byte; }
  uint8_t* Mask() { return reinterpret_cast<uint8_t*>(At(3000)); }

  // That both functions return this and write nothing.
  void ExpectBoth(leakyrelu_status expected, const leakyrelu_array* in, const leakyrelu_array* out,
                  double slope = 0.5) {
    const std::vector<std::byte> before = memory_;
    EXPECT_EQ(cuda_under_test::Forward(in, out, slope, nullptr, 0), expected);
    EXPECT_EQ(cuda_under_test::Forward(in, out, slope, Mask(), kMaskBytes), expected);
    EXPECT_EQ(cuda_under_test::Backward(in, Mask(), kMaskBytes, out, slope), expected);
    EXPECT_TRUE(memory_ == before);
  }

  static constexpr size_t kMaskBytes = 3;
  const int64_t shape_[2] = {6, 4};
  std::vector<std::byte> memory_;
  leakyrelu_array x_ = {At(0), LEAKYRELU_FLOAT32, 2, shape_, nullptr};
  leakyrelu_array y_ = {At(1024), LEAKYRELU_FLOAT32, 2, shape_, nullptr};
};

TEST_F(CudaApiTest, AllIsRight) {
  EXPECT_EQ(cuda_under_test::Forward(&x_, &y_, 0.5, Mask(), kMaskBytes), LEAKYRELU_OK);
  EXPECT_EQ(reinterpret_cast<float*>(At(1024))[1], -0.5f);
  EXPECT_EQ(cuda_under_test::Backward(&y_, Mask(), kMaskBytes, &y_, 0.5), LEAKYRELU_OK);
  EXPECT_EQ(reinterpret_cast<float*>(At(1024))[1], -0.25f);
}

TEST_F(CudaApiTest, Null) {
  ExpectBoth(LEAKYRELU_ERROR_NULL_INPUT, nullptr, &y_);
  EXPECT_EQ(cuda_under_test::Forward(&x_, nullptr, 0.5, nullptr, 0), LEAKYRELU_ERROR_NULL_OUTPUT);
  EXPECT_EQ(cuda_under_test::Backward(&x_, Mask(), kMaskBytes, nullptr, 0.5), LEAKYRELU_ERROR_NULL_OUTPUT);
  EXPECT_EQ(cuda_under_test::Backward(&x_, nullptr, 0, &y_, 0.5), LEAKYRELU_ERROR_NULL_MASK);
}

TEST_F(CudaApiTest, MaskBytes) {
  const std::vector<std::byte> before = memory_;
  for (size_t bytes : std::vector<size_t>{0, 2, 4}) {
    EXPECT_EQ(cuda_under_test::Forward(&x_, &y_, 0.5, Mask(), bytes), LEAKYRELU_ERROR_MASK_BYTES);
    EXPECT_EQ(cuda_under_test::Forward(&x_, nullptr, 0.5, Mask(), bytes), LEAKYRELU_ERROR_MASK_BYTES);
    EXPECT_EQ(cuda_under_test::Backward(&x_, Mask(), bytes, &y_, 0.5), LEAKYRELU_ERROR_MASK_BYTES);
  }
  EXPECT_EQ(cuda_under_test::Forward(&x_, &y_, 0.5, nullptr, kMaskBytes), LEAKYRELU_ERROR_MASK_BYTES);
  EXPECT_TRUE(memory_ == before);
}

TEST_F(CudaApiTest, DTypeAndSlope) {
  ExpectBoth(LEAKYRELU_ERROR_SLOPE_OVERFLOW, &x_, &y_, 1e300);
  y_.dtype = LEAKYRELU_FLOAT64;
  ExpectBoth(LEAKYRELU_ERROR_DTYPE_MISMATCH, &x_, &y_);
  x_.dtype = static_cast<leakyrelu_dtype>(0);
  ExpectBoth(LEAKYRELU_ERROR_DTYPE, &x_, &y_);
}

TEST_F(CudaApiTest, Shape) {
  const int64_t other[] = {4, 6};
  y_.shape = other;
  ExpectBoth(LEAKYRELU_ERROR_SHAPE_MISMATCH, &x_, &y_);
}

TEST_F(CudaApiTest, Overlap) {
  const int64_t repeating[] = {0, 1};
  y_.strides = repeating;
  ExpectBoth(LEAKYRELU_ERROR_OUTPUT_REPEATS, &x_, &y_);
  y_.strides = nullptr;
  y_.data = At(4);
  ExpectBoth(LEAKYRELU_ERROR_OVERLAP, &x_, &y_);
  EXPECT_EQ(cuda_under_test::Forward(&x_, &x_, 0.5, reinterpret_cast<uint8_t*>(At(95)), kMaskBytes),
            LEAKYRELU_ERROR_MASK_OVERLAP);
}

TEST_F(CudaApiTest, Misaligned) {
  for (size_t byte : std::vector<size_t>{1, 2, 3}) {
    leakyrelu_array shifted = x_;
    shifted.data = At(2048 + byte);
    ExpectBoth(LEAKYRELU_ERROR_MISALIGNED, &x_, &shifted);
    ExpectBoth(LEAKYRELU_ERROR_MISALIGNED, &shifted, &y_);
    EXPECT_EQ(cuda_under_test::Forward(&shifted, nullptr, 0.5, Mask(), kMaskBytes), LEAKYRELU_ERROR_MISALIGNED);
  }
}

// ---- The fused functions: what their own checks say, and that they are there

class CudaFusedApiTest : public CudaApiTest {
 protected:
  void ExpectForward(leakyrelu_status expected) {
    const std::vector<std::byte> before = memory_;
    EXPECT_EQ(Forward(), expected);
    EXPECT_TRUE(memory_ == before);
  }
  leakyrelu_status Forward() {
    return cuda_under_test::FusedForward(&x_, &y_, &fused_, 0.5, Mask(), within_, kMaskBytes);
  }

  const int64_t bias_shape_[1] = {4};
  leakyrelu_array bias_ = {At(2048), LEAKYRELU_FLOAT32, 1, bias_shape_, nullptr};
  leakyrelu_fused fused_ = {&bias_, 1, 2.0, 1.5};
  uint8_t* within_ = Mask() + 100;
};

TEST_F(CudaFusedApiTest, AllIsRight) {
  std::fill_n(reinterpret_cast<float*>(At(2048)), 4, 0.0f);
  EXPECT_EQ(Forward(), LEAKYRELU_OK);
  EXPECT_EQ(reinterpret_cast<float*>(At(1024))[0], 1.5f);
  EXPECT_EQ(reinterpret_cast<float*>(At(1024))[1], -1.0f);
  fused_.bias = nullptr;
  EXPECT_EQ(cuda_under_test::FusedBackward(&y_, Mask(), within_, kMaskBytes, &y_, &fused_, 0.5), LEAKYRELU_OK);
  EXPECT_EQ(reinterpret_cast<float*>(At(1024))[0], 0.0f);
  EXPECT_EQ(reinterpret_cast<float*>(At(1024))[1], -1.0f);
}

TEST_F(CudaFusedApiTest, NumbersAndMasks) {
  fused_.scale = 1e39;
  ExpectForward(LEAKYRELU_ERROR_SCALE_OVERFLOW);
  fused_.scale = 1;
  fused_.clamp = -1;
  ExpectForward(LEAKYRELU_ERROR_CLAMP);
  fused_.clamp = 1;
  within_ = nullptr;
  ExpectForward(LEAKYRELU_ERROR_WITHIN);
  within_ = Mask() + 1;
  ExpectForward(LEAKYRELU_ERROR_MASK_OVERLAP);
}

TEST_F(CudaFusedApiTest, Bias) {
  fused_.dim = 2;
  ExpectForward(LEAKYRELU_ERROR_DIM);
  fused_.dim = 0;
  ExpectForward(LEAKYRELU_ERROR_BIAS_SHAPE);
  fused_.dim = 1;
  bias_.data = y_.data;
  ExpectForward(LEAKYRELU_ERROR_BIAS_OVERLAP);
}

TEST_F(CudaFusedApiTest, Misaligned) {
  bias_.data = At(2050);
  ExpectForward(LEAKYRELU_ERROR_MISALIGNED);
  bias_.data = At(2048);
  x_.data = At(1);
  ExpectForward(LEAKYRELU_ERROR_MISALIGNED);
  std::swap(x_, y_);
  ExpectForward(LEAKYRELU_ERROR_MISALIGNED);
}

TEST_F(CudaFusedApiTest, NothingToCall) {
  EXPECT_EQ(cuda_under_test::FusedForward(&x_, &y_, nullptr, 0.5, nullptr, nullptr, 0), LEAKYRELU_ERROR_NULL_FUSED);
  EXPECT_EQ(cuda_under_test::FusedForward(&x_, nullptr, &fused_, 0.5, Mask(), within_, kMaskBytes),
            LEAKYRELU_ERROR_NULL_OUTPUT);
  fused_.bias = nullptr;
  EXPECT_EQ(cuda_under_test::FusedBackward(&x_, nullptr, nullptr, 0, &y_, &fused_, 0.5), LEAKYRELU_ERROR_NULL_MASK);
}

TEST_F(CudaApiTest, EmptyIsRightWhateverTheAddress) {
  const int64_t none[] = {0};
  const leakyrelu_array empty = {At(1), LEAKYRELU_FLOAT32, 1, none, nullptr};
  const leakyrelu_array null = {nullptr, LEAKYRELU_FLOAT32, 1, none, nullptr};
  EXPECT_EQ(cuda_under_test::Forward(&empty, &null, 0.5, nullptr, 0), LEAKYRELU_OK);
  EXPECT_EQ(cuda_under_test::Backward(&null, nullptr, 0, &empty, 0.5), LEAKYRELU_OK);
  const leakyrelu_fused fused = {&null, 0, 1.0, 2.0};
  EXPECT_EQ(cuda_under_test::FusedForward(&empty, &null, &fused, 0.5, nullptr, nullptr, 0), LEAKYRELU_OK);
}

}  // namespace
