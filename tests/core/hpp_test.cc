// Proves what leakyrelu.hpp adds to the C functions: a type for every dtype; a mask's length, which comes from the span
// (an empty one is none for forward and one of length 0 elsewhere); what is wrong with that, said with the figures; the
// options of the fused functions.

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "dtypes.h"
#include "leakyrelu/leakyrelu.hpp"

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kTiny = std::numeric_limits<float>::denorm_min();

// Calls and gives what it threw; empty: nothing.
template <class Function>
std::string MessageOf(Function function) {
  try {
    function();
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "";
}

// Bit by bit, so that NaN equals itself and -0 not 0.
bool Same(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// The compilers' own types of 16 bits, as vectors of them are given.
template <class T>
void TestOwnFloat16() {
  const std::vector<std::uint16_t> bits = {0x7E00, 0x0000, 0x8000, 0x7C00, 0xFC00, 0x0001, 0x8001, 0x3C00, 0xC000};
  const std::vector<std::uint16_t> leaky = {0x7E00, 0x0000, 0x8000, 0x7C00, 0xFC00, 0x0001, 0x8000, 0x3C00, 0xBC00};
  std::vector<T> x(bits.size());
  std::memcpy(x.data(), bits.data(), bits.size() * sizeof(T));
  std::vector<T> y(x.size());
  leakyrelu::forward(x, y, {}, 0.5);
  EXPECT_EQ(std::memcmp(y.data(), leaky.data(), leaky.size() * sizeof(T)), 0);
}

TEST(Float16Test, OfTheCompiler) {
#if defined(__FLT16_MAX__) && (defined(__clang__) || __GNUC__ >= 13 || defined(__SSE2__))
  TestOwnFloat16<_Float16>();
#elif !defined(__ARM_FP16_FORMAT_IEEE)
  GTEST_SKIP() << "this compiler has none";
#endif
#ifdef __ARM_FP16_FORMAT_IEEE
  TestOwnFloat16<__fp16>();
#endif
}

template <class... Type>
bool IsOneOf(const leakyrelu::DTypeInfo& info) {
  return ((leakyrelu::dtype_of<Type> == info.dtype && sizeof(Type) == info.bytes) || ...);
}

TEST(DTypeOfTest, EachHasAType) {
  for (const leakyrelu::DTypeInfo& info : leakyrelu::kDTypes) {
    EXPECT_TRUE((IsOneOf<leakyrelu::float16, leakyrelu::bfloat16, float, double>(info))) << info.name;
  }
}

class MaskTest : public testing::Test {
 protected:
  const std::vector<float> x_ = {kNaN, 0.0f, -0.0f, kInfinity, -kInfinity, kTiny, -kTiny, 1.0f, -2.0f};
  const std::vector<float> leaky_ = {kNaN, 0.0f, -0.0f, kInfinity, -kInfinity, kTiny, -0.0f, 1.0f, -1.0f};
  std::vector<float> y_ = std::vector<float>(9, 7.0f);
  const std::vector<float> untouched_ = y_;
  std::vector<std::uint8_t> mask_ = std::vector<std::uint8_t>(2, 0xFF);
};

TEST_F(MaskTest, OfItsLength) {
  leakyrelu::forward(x_, y_, mask_, 0.5);
  EXPECT_TRUE(Same(y_, leaky_));
  EXPECT_EQ(mask_, (std::vector<std::uint8_t>{0xA8, 0x00}));
  mask_ = {0xFF, 0xFF};
  leakyrelu::forward(x_, nullptr, mask_);
  EXPECT_EQ(mask_, (std::vector<std::uint8_t>{0xA8, 0x00}));
  leakyrelu::backward(x_, mask_, y_, 0.5);
  EXPECT_TRUE(Same(y_, leaky_));
}

TEST_F(MaskTest, OfAnotherLength) {
  for (std::size_t bytes : {std::size_t{1}, std::size_t{3}}) {
    std::vector<std::uint8_t> wrong(bytes, 0xFF);
    const std::string message = "mask has " + std::to_string(bytes) + " bytes; 9 elements need 2";
    EXPECT_EQ(MessageOf([&] { leakyrelu::forward(x_, y_, wrong, 0.5); }), message);
    EXPECT_EQ(MessageOf([&] { leakyrelu::forward(x_, nullptr, wrong); }), message);
    EXPECT_EQ(MessageOf([&] { leakyrelu::backward(x_, wrong, y_, 0.5); }), message);
    EXPECT_EQ(wrong, std::vector<std::uint8_t>(bytes, 0xFF));
  }
  EXPECT_TRUE(Same(y_, untouched_));
}

TEST_F(MaskTest, Empty) {
  leakyrelu::forward(x_, y_, {}, 0.5);
  EXPECT_TRUE(Same(y_, leaky_));
  y_ = untouched_;
  EXPECT_EQ(MessageOf([&] { leakyrelu::forward(x_, nullptr, {}); }), "mask has 0 bytes; 9 elements need 2");
  EXPECT_EQ(MessageOf([&] { leakyrelu::backward(x_, {}, y_, 0.5); }), "mask has 0 bytes; 9 elements need 2");
  EXPECT_TRUE(Same(y_, untouched_));
}

TEST_F(MaskTest, OfNoElement) {
  std::vector<float> none;
  EXPECT_EQ(MessageOf([&] { leakyrelu::forward(none, none, {}); }), "");
  EXPECT_EQ(MessageOf([&] { leakyrelu::forward(none, nullptr, {}); }), "");
  EXPECT_EQ(MessageOf([&] { leakyrelu::backward(none, {}, none); }), "");
  EXPECT_EQ(MessageOf([&] { leakyrelu::forward(none, nullptr, mask_); }), "mask has 2 bytes; 0 elements need 0");
  EXPECT_EQ(MessageOf([&] { leakyrelu::backward(none, mask_, none); }), "mask has 2 bytes; 0 elements need 0");
}

// Rows of 3, with a bias along either dim.
class FusedTest : public testing::Test {
 protected:
  using Matrix = leakyrelu::Array<float, 2>;

  std::vector<float> numbers_ = {1.0f, -2.0f, 3.0f, -4.0f, kNaN, 0.0f};
  const std::vector<float> untouched_ = std::vector<float>(6, 7.0f);
  std::vector<float> result_ = untouched_;
  const Matrix x_{numbers_.data(), {2, 3}, {3, 1}};
  const Matrix y_{result_.data(), {2, 3}, {3, 1}};
  std::vector<float> bias_ = {1.0f, 2.0f, -4.0f};
  std::vector<std::uint8_t> mask_ = {0xFF};
  std::vector<std::uint8_t> within_ = {0xFF};
};

TEST_F(FusedTest, OptionsAsTheyAreDoNothing) {
  leakyrelu::fused_forward(x_, y_, {}, {}, {}, 0.5);
  EXPECT_TRUE(Same(result_, {1.0f, -1.0f, 3.0f, -2.0f, kNaN, 0.0f}));
  leakyrelu::fused_forward(x_, y_, {});
  EXPECT_FLOAT_EQ(result_[1], -0.02f);
}

TEST_F(FusedTest, BothWays) {
  leakyrelu::fused_forward(x_, y_, {.bias = bias_, .scale = 4.0, .clamp = 7.0}, mask_, within_, 0.5);
  // t = 2, 0, -1; -3, NaN, -4.  v = 8, 0, -2; -6, NaN, -8.
  EXPECT_TRUE(Same(result_, {7.0f, 0.0f, -2.0f, -6.0f, kNaN, -7.0f}));
  EXPECT_EQ(mask_, (std::vector<std::uint8_t>{0x01}));
  EXPECT_EQ(within_, (std::vector<std::uint8_t>{0x0E}));
  const std::vector<float> ones(6, 1.0f);
  const std::vector<std::uint8_t> positive = {0x05};
  leakyrelu::fused_backward(ones, positive, within_, result_, {.scale = 4.0, .clamp = 7.0}, 0.5);
  EXPECT_TRUE(Same(result_, {0.0f, 2.0f, 4.0f, 2.0f, 0.0f, 0.0f}));
  leakyrelu::fused_backward(ones, positive, {}, result_, {.bias = bias_, .scale = 4.0}, 0.5);
  EXPECT_TRUE(Same(result_, {4.0f, 2.0f, 4.0f, 2.0f, 2.0f, 2.0f}));
}

TEST_F(FusedTest, BiasAlongTheFirstDimWithAStride) {
  const leakyrelu::Array<float, 1> bias(bias_.data(), {2}, {2});  // 1, -4
  leakyrelu::fused_forward(x_, x_, {.bias = bias, .dim = 0}, {}, {}, 0.5);
  EXPECT_TRUE(Same(numbers_, {2.0f, -0.5f, 4.0f, -4.0f, kNaN, -2.0f}));
}

TEST_F(FusedTest, NoElements) {
  std::vector<float> none;
  EXPECT_EQ(MessageOf([&] { leakyrelu::fused_forward(none, none, {.clamp = 1.0}); }), "");
  EXPECT_EQ(MessageOf([&] { leakyrelu::fused_backward(none, {}, {}, none, {.clamp = 1.0}); }), "");
}

TEST_F(FusedTest, WhatIsWrong) {
  const auto forward = [&](const leakyrelu::FusedOptions& options, std::vector<std::uint8_t>& within) {
    return MessageOf([&] { leakyrelu::fused_forward(x_, y_, options, mask_, within, 0.5); });
  };
  const auto backward = [&](const leakyrelu::FusedOptions& options, const std::vector<std::uint8_t>& within) {
    return MessageOf([&] { leakyrelu::fused_backward(x_, mask_, within, y_, options, 0.5); });
  };
  std::vector<std::uint8_t> none;
  std::vector<std::uint8_t> two(2);
  const std::vector<double> doubles(3);
  EXPECT_EQ(forward({.bias = doubles}, none), leakyrelu_status_message(LEAKYRELU_ERROR_BIAS_DTYPE));
  EXPECT_EQ(forward({.bias = bias_, .dim = 0}, none), leakyrelu_status_message(LEAKYRELU_ERROR_BIAS_SHAPE));
  EXPECT_EQ(forward({.bias = bias_, .dim = 2}, none), leakyrelu_status_message(LEAKYRELU_ERROR_DIM));
  EXPECT_EQ(forward({.scale = 1e39}, none), leakyrelu_status_message(LEAKYRELU_ERROR_SCALE_OVERFLOW));
  EXPECT_EQ(backward({.clamp = -1.0}, none), leakyrelu_status_message(LEAKYRELU_ERROR_CLAMP));
  EXPECT_EQ(forward({.clamp = 1.0}, none), leakyrelu_status_message(LEAKYRELU_ERROR_WITHIN));
  EXPECT_EQ(backward({}, within_), leakyrelu_status_message(LEAKYRELU_ERROR_WITHIN));
  EXPECT_EQ(forward({.clamp = 1.0}, two), "within has 2 bytes; it must have as many as mask, 1");
  EXPECT_EQ(backward({.clamp = 1.0}, two), "within has 2 bytes; it must have as many as mask, 1");
  mask_ = two;
  EXPECT_EQ(forward({.clamp = 1.0}, two), "mask has 2 bytes; 6 elements need 1");
  mask_ = none;
  EXPECT_EQ(backward({}, none), "mask has 0 bytes; 6 elements need 1");
  EXPECT_TRUE(Same(result_, untouched_));
}

}  // namespace
