// Proves the arithmetic of checked.h, against plain words where the answer is known and against the compiler's 128-bit
// integers where it has them.

#include "checked.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <vector>

#include "test_util.h"

namespace {

using leakyrelu::Add;
using leakyrelu::Multiply;
using leakyrelu::MultiplyHigh;
using leakyrelu::MultiplyModulo;
using test_util::Random;

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
constexpr int64_t kMin = std::numeric_limits<int64_t>::min();
constexpr uint64_t kMaxUnsigned = std::numeric_limits<uint64_t>::max();

TEST(AddTest, Limits) {
  int64_t result = 7;
  EXPECT_FALSE(Add(kMax, 1, &result));
  EXPECT_FALSE(Add(1, kMax, &result));
  EXPECT_FALSE(Add(kMin, -1, &result));
  EXPECT_FALSE(Add(kMin, kMin, &result));
  EXPECT_EQ(result, 7);
  EXPECT_TRUE(Add(kMax, kMin, &result));
  EXPECT_EQ(result, -1);
  EXPECT_TRUE(Add(kMax, 0, &result));
  EXPECT_EQ(result, kMax);
  EXPECT_TRUE(Add(kMin, 0, &result));
  EXPECT_EQ(result, kMin);
}

TEST(MultiplyTest, Limits) {
  int64_t result = 7;
  EXPECT_FALSE(Multiply(kMin, -1, &result));
  EXPECT_FALSE(Multiply(-1, kMin, &result));
  EXPECT_FALSE(Multiply(kMax, 2, &result));
  EXPECT_FALSE(Multiply(kMax / 2 + 1, 2, &result));
  EXPECT_FALSE(Multiply(kMin / 2 - 1, 2, &result));
  EXPECT_FALSE(Multiply(int64_t{1} << 32, int64_t{1} << 31, &result));
  EXPECT_EQ(result, 7);
  EXPECT_TRUE(Multiply(-(int64_t{1} << 32), int64_t{1} << 31, &result));
  EXPECT_EQ(result, kMin);
  EXPECT_TRUE(Multiply(-(int64_t{1} << 31), -(int64_t{1} << 31), &result));
  EXPECT_EQ(result, int64_t{1} << 62);
  EXPECT_TRUE(Multiply(kMin, 1, &result));
  EXPECT_EQ(result, kMin);
  EXPECT_TRUE(Multiply(kMax, -1, &result));
  EXPECT_EQ(result, -kMax);
  EXPECT_TRUE(Multiply(kMin, 0, &result));
  EXPECT_EQ(result, 0);
}

TEST(MultiplyTest, ResultMayBeAnOperand) {
  int64_t number = 6;
  EXPECT_TRUE(Multiply(number, 7, &number));
  EXPECT_EQ(number, 42);
}

TEST(MultiplyHighTest, Limits) {
  EXPECT_EQ(MultiplyHigh(kMaxUnsigned, kMaxUnsigned), kMaxUnsigned - 1);
  EXPECT_EQ(MultiplyHigh(uint64_t{1} << 63, 2), 1u);
  EXPECT_EQ(MultiplyHigh(uint64_t{1} << 32, (uint64_t{1} << 32) - 1), 0u);
  EXPECT_EQ(MultiplyHigh(0, kMaxUnsigned), 0u);
}

TEST(MultiplyModuloTest, Limits) {
  EXPECT_EQ(MultiplyModulo(0, 0, 1), 0u);
  EXPECT_EQ(MultiplyModulo(kMaxUnsigned - 1, kMaxUnsigned - 1, kMaxUnsigned), 1u);  // -1 times -1
  EXPECT_EQ(MultiplyModulo(uint64_t{1} << 63, 2, (uint64_t{1} << 63) + 1), (uint64_t{1} << 63) - 1);
  EXPECT_EQ(MultiplyModulo(12, 10, 7919), 120u);
}

#if defined(__SIZEOF_INT128__)

__extension__ using Wide = __int128;
__extension__ using UnsignedWide = unsigned __int128;

// Random numbers of every magnitude, and those around the powers of two.
std::vector<uint64_t> Numbers(Random* random) {
  std::vector<uint64_t> numbers = {0, 1, 2, 3, kMaxUnsigned};
  for (int bit = 1; bit < 64; ++bit) {
    const uint64_t power = uint64_t{1} << bit;
    for (uint64_t number : {power - 1, power, power + 1, 0 - power, random->Bits() % power}) numbers.push_back(number);
  }
  return numbers;
}

TEST(CheckedTest, AgreesWithWideIntegers) {
  Random random(1);
  const std::vector<uint64_t> numbers = Numbers(&random);
  for (uint64_t a : numbers) {
    for (uint64_t b : numbers) {
      const int64_t s = static_cast<int64_t>(a);
      const int64_t t = static_cast<int64_t>(b);
      int64_t result = 7;
      const Wide sum = Wide{s} + t;
      ASSERT_EQ(Add(s, t, &result), sum >= kMin && sum <= kMax) << s << " + " << t;
      ASSERT_EQ(result, sum >= kMin && sum <= kMax ? static_cast<int64_t>(sum) : 7) << s << " + " << t;
      result = 7;
      const Wide product = Wide{s} * t;
      ASSERT_EQ(Multiply(s, t, &result), product >= kMin && product <= kMax) << s << " * " << t;
      ASSERT_EQ(result, product >= kMin && product <= kMax ? static_cast<int64_t>(product) : 7) << s << " * " << t;
      ASSERT_EQ(MultiplyHigh(a, b), static_cast<uint64_t>(UnsignedWide{a} * b >> 64)) << a << " * " << b;
    }
  }
}

TEST(CheckedTest, MultiplyModuloAgreesWithWideIntegers) {
  Random random(2);
  const std::vector<uint64_t> numbers = Numbers(&random);
  for (uint64_t m : numbers) {
    for (int i = 0; m > 0 && i < 200; ++i) {
      const uint64_t a = random.Pick(numbers) % m;
      const uint64_t b = random.Pick(numbers) % m;
      ASSERT_EQ(MultiplyModulo(a, b, m), static_cast<uint64_t>(UnsignedWide{a} * b % m))
          << a << " * " << b << " modulo " << m;
    }
  }
}

#endif

}  // namespace
