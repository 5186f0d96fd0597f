// Proves the oracle itself, against constants worked out by hand, so that a broken oracle cannot hide a broken library.

#include "oracle.h"

#include <gtest/gtest.h>

#include <set>

namespace {

using oracle::DType;

uint64_t Half(float value) { return oracle::EncodeNarrow(DType::kFloat16, value); }
uint64_t Brain(float value) { return oracle::EncodeNarrow(DType::kBFloat16, value); }

TEST(OracleDecode, Float16KnownValues) {
  EXPECT_EQ(oracle::Decode(DType::kFloat16, 0x3C00), 1.0);
  EXPECT_EQ(oracle::Decode(DType::kFloat16, 0xC000), -2.0);
  EXPECT_EQ(oracle::Decode(DType::kFloat16, 0x3555), 0.333251953125);
  EXPECT_EQ(oracle::Decode(DType::kFloat16, 0x7BFF), 65504.0);
  EXPECT_EQ(oracle::Decode(DType::kFloat16, 0x0400), 0x1p-14);
  EXPECT_EQ(oracle::Decode(DType::kFloat16, 0x03FF), 1023 * 0x1p-24);
  EXPECT_EQ(oracle::Decode(DType::kFloat16, 0x0001), 0x1p-24);
}

TEST(OracleDecode, BFloat16KnownValues) {
  EXPECT_EQ(oracle::Decode(DType::kBFloat16, 0x3F80), 1.0);
  EXPECT_EQ(oracle::Decode(DType::kBFloat16, 0xC049), -3.140625);
  EXPECT_EQ(oracle::Decode(DType::kBFloat16, 0x7F7F), 0x1.FEp127);
  EXPECT_EQ(oracle::Decode(DType::kBFloat16, 0x0080), 0x1p-126);
  EXPECT_EQ(oracle::Decode(DType::kBFloat16, 0x0001), 0x1p-133);
}

TEST(OracleDecode, BFloat16IsTheUpperHalfOfFloat32) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = std::bit_cast<float>(bits << 16);
    if (std::isnan(value)) continue;
    ASSERT_EQ(oracle::Decode(DType::kBFloat16, bits), static_cast<double>(value)) << bits;
  }
}

TEST(OracleDecode, Float32AsTheProcessorReadsIt) {
  for (uint64_t bits : oracle::SpecialValues(DType::kFloat32)) {
    if (oracle::IsNaN(DType::kFloat32, bits)) continue;
    EXPECT_EQ(oracle::Decode(DType::kFloat32, bits),
              static_cast<double>(std::bit_cast<float>(static_cast<uint32_t>(bits))));
  }
}

TEST(OracleDecode, Float64AsTheProcessorReadsIt) {
  for (uint64_t bits : oracle::SpecialValues(DType::kFloat64)) {
    if (oracle::IsNaN(DType::kFloat64, bits)) continue;
    EXPECT_EQ(oracle::Decode(DType::kFloat64, bits), std::bit_cast<double>(bits));
  }
}

TEST(OracleDecode, ZeroKeepsItsSign) {
  for (DType dtype : oracle::kDTypes) {
    EXPECT_FALSE(std::signbit(oracle::Decode(dtype, 0)));
    EXPECT_TRUE(std::signbit(oracle::Decode(dtype, oracle::SignBit(dtype))));
  }
}

TEST(OracleDecode, Infinities) {
  EXPECT_EQ(oracle::Decode(DType::kFloat16, 0x7C00), std::numeric_limits<double>::infinity());
  EXPECT_EQ(oracle::Decode(DType::kFloat16, 0xFC00), -std::numeric_limits<double>::infinity());
  EXPECT_EQ(oracle::Decode(DType::kBFloat16, 0x7F80), std::numeric_limits<double>::infinity());
  EXPECT_EQ(oracle::Decode(DType::kFloat32, 0x7F800000), std::numeric_limits<double>::infinity());
  EXPECT_EQ(oracle::Decode(DType::kFloat64, 0x7FF0000000000000), std::numeric_limits<double>::infinity());
}

TEST(OracleDecode, NaNsAreThosePatternsAboveInfinity) {
  for (uint64_t nan : std::vector<uint64_t>{0x7C01, 0x7DFF, 0x7E00, 0x7FFF, 0xFC01, 0xFE00, 0xFFFF}) {
    EXPECT_TRUE(std::isnan(oracle::Decode(DType::kFloat16, nan))) << nan;
  }
  for (uint64_t nan : std::vector<uint64_t>{0x7F81, 0x7FBF, 0x7FC0, 0x7FFF, 0xFF81, 0xFFC0, 0xFFFF}) {
    EXPECT_TRUE(std::isnan(oracle::Decode(DType::kBFloat16, nan))) << nan;
  }
}

TEST(OracleEncode, EveryValueComesBack) {
  for (DType dtype : oracle::kDTypes) {
    if (!oracle::IsNarrow(dtype)) continue;
    for (uint64_t bits = 0; bits < 2 * oracle::SignBit(dtype); ++bits) {
      const float value = static_cast<float>(oracle::Decode(dtype, bits));
      ASSERT_TRUE(oracle::Same(dtype, oracle::EncodeNarrow(dtype, value), bits)) << bits;
    }
  }
}

TEST(OracleEncode, Float16TiesGoToEven) {
  EXPECT_EQ(Half(1 + 0x1p-11f), 0x3C00u);                 // half way from 1 to the next: 1 is even
  EXPECT_EQ(Half(1 + 3 * 0x1p-11f), 0x3C02u);             // half way from the next to the one after it
  EXPECT_EQ(Half(1 + 0x1p-11f + 0x1p-23f), 0x3C01u);      // just above the tie
  EXPECT_EQ(Half(1 + 3 * 0x1p-11f - 0x1p-23f), 0x3C01u);  // just below it
  EXPECT_EQ(Half(-1 - 3 * 0x1p-11f), 0xBC02u);
  EXPECT_EQ(Half(2049.0f), 0x6800u);  // 2048 and 2050 are neighbours
  EXPECT_EQ(Half(2051.0f), 0x6802u);
}

TEST(OracleEncode, BFloat16TiesGoToEven) {
  EXPECT_EQ(Brain(1 + 0x1p-8f), 0x3F80u);
  EXPECT_EQ(Brain(1 + 3 * 0x1p-8f), 0x3F82u);
  EXPECT_EQ(Brain(1 + 0x1p-8f + 0x1p-23f), 0x3F81u);
  EXPECT_EQ(Brain(-1 - 0x1p-8f), 0xBF80u);
}

TEST(OracleEncode, Float16OverflowsHalfWayAboveTheLargest) {
  EXPECT_EQ(Half(65504.0f), 0x7BFFu);
  EXPECT_EQ(Half(65519.996f), 0x7BFFu);
  EXPECT_EQ(Half(65520.0f), 0x7C00u);  // the tie: infinity is the even one
  EXPECT_EQ(Half(-65520.0f), 0xFC00u);
  EXPECT_EQ(Half(FLT_MAX), 0x7C00u);
  EXPECT_EQ(Half(std::numeric_limits<float>::infinity()), 0x7C00u);
}

TEST(OracleEncode, BFloat16OverflowsHalfWayAboveTheLargest) {
  EXPECT_EQ(Brain(std::bit_cast<float>(0x7F7F7FFFu)), 0x7F7Fu);
  EXPECT_EQ(Brain(std::bit_cast<float>(0x7F7F8000u)), 0x7F80u);
  EXPECT_EQ(Brain(FLT_MAX), 0x7F80u);
  EXPECT_EQ(Brain(-std::numeric_limits<float>::infinity()), 0xFF80u);
}

TEST(OracleEncode, Float16Subnormals) {
  EXPECT_EQ(Half(0x1p-24f), 0x0001u);
  EXPECT_EQ(Half(0x1p-25f), 0x0000u);  // half of the smallest: zero is even
  EXPECT_EQ(Half(0x1.000002p-25f), 0x0001u);
  EXPECT_EQ(Half(3 * 0x1p-25f), 0x0002u);  // one and a half
  EXPECT_EQ(Half(-0x1p-25f), 0x8000u);
  EXPECT_EQ(Half(1023.5f * 0x1p-24f), 0x0400u);  // from the largest subnormal up to the smallest normal
  EXPECT_EQ(Half(FLT_TRUE_MIN), 0x0000u);
}

TEST(OracleEncode, BFloat16Subnormals) {
  EXPECT_EQ(Brain(0x1p-133f), 0x0001u);
  EXPECT_EQ(Brain(0x1p-134f), 0x0000u);
  EXPECT_EQ(Brain(3 * 0x1p-134f), 0x0002u);
  EXPECT_EQ(Brain(-FLT_TRUE_MIN), 0x8000u);
}

TEST(OracleEncode, NaNStaysNaN) {
  for (DType dtype : oracle::kDTypes) {
    if (!oracle::IsNarrow(dtype)) continue;
    EXPECT_TRUE(oracle::IsNaN(dtype, oracle::EncodeNarrow(dtype, std::numeric_limits<float>::quiet_NaN())));
    EXPECT_TRUE(oracle::IsNaN(dtype, oracle::EncodeNarrow(dtype, -std::numeric_limits<float>::quiet_NaN())));
  }
}

TEST(OracleScale, RoundsFloat32Once) {
  // (1 + 2^-23)^2 = 1 + 2^-22 + 2^-46: the last term is lost.
  EXPECT_EQ(oracle::Scale(DType::kFloat32, 0x3F800001, 1 + 0x1p-23), 0x3F800002u);
}

TEST(OracleScale, RoundsTheSlopeToFloat32) {
  EXPECT_EQ(oracle::Scale(DType::kFloat32, 0x3F924925, 0.01), 0x3C3B3EE7u);  // by the double 0.01: ...E8
}

TEST(OracleScale, ComputesFloat64InDouble) {
  EXPECT_EQ(oracle::Scale(DType::kFloat64, std::bit_cast<uint64_t>(1e10), 0.1), std::bit_cast<uint64_t>(1e9));
}

TEST(OracleScale, RoundsFloat16ByWayOfFloat32) {
  EXPECT_EQ(oracle::Scale(DType::kFloat16, 0xC000, 0.01), 0xA51Fu);
  EXPECT_EQ(oracle::Scale(DType::kFloat16, 0x3C01, 1.7), 0x3ECEu);  // rounded once only: 0x3ECF
}

TEST(OracleScale, KeepsFloat32Subnormals) {
  EXPECT_EQ(oracle::Scale(DType::kFloat32, 0x00000003, 0.5), 0x00000002u);  // 1.5 units: tie to even
  EXPECT_EQ(oracle::Scale(DType::kFloat32, 0x00800000, 0.5), 0x00400000u);
  EXPECT_EQ(oracle::Scale(DType::kFloat32, 0x00000001, 1.0), 0x00000001u);
}

TEST(OracleForward, ZeroTakesTheSlopesSide) {
  EXPECT_EQ(oracle::Forward(DType::kFloat32, 0x00000000, -0.2), 0x80000000u);
  EXPECT_EQ(oracle::Forward(DType::kFloat32, 0x80000000, -0.2), 0x00000000u);
  EXPECT_EQ(oracle::Forward(DType::kFloat32, 0x00000000, 0.2), 0x00000000u);
}

TEST(OracleForward, SlopeZero) {
  EXPECT_EQ(oracle::Forward(DType::kFloat32, 0xBF800000, 0.0), 0x80000000u);                       // -1 -> -0
  EXPECT_TRUE(oracle::IsNaN(DType::kFloat32, oracle::Forward(DType::kFloat32, 0xFF800000, 0.0)));  // -inf -> NaN
  EXPECT_EQ(oracle::Forward(DType::kFloat32, 0x7F800000, 0.0), 0x7F800000u);                       // inf stays
}

TEST(OracleForward, PositiveIsUntouchedWhateverTheSlope) {
  for (DType dtype : oracle::kDTypes) {
    for (double slope : oracle::Slopes(dtype)) EXPECT_EQ(oracle::Forward(dtype, 1, slope), 1u);
  }
}

TEST(OracleForward, NegativeIsScaled) {
  EXPECT_EQ(oracle::Forward(DType::kFloat32, 0xC0000000, 0.5), 0xBF800000u);  // -2 -> -1
  EXPECT_EQ(oracle::Forward(DType::kFloat64, std::bit_cast<uint64_t>(-2.0), 1.75), std::bit_cast<uint64_t>(-3.5));
  EXPECT_EQ(oracle::Forward(DType::kFloat16, 0xC000, -1.5), 0x4200u);   // -2 -> 3
  EXPECT_EQ(oracle::Forward(DType::kBFloat16, 0xC000, -1.5), 0x4040u);  // -2 -> 3
}

TEST(OracleForward, NaNStaysNaN) {
  for (DType dtype : oracle::kDTypes) {
    for (uint64_t x : oracle::SpecialValues(dtype)) {
      if (oracle::IsNaN(dtype, x)) {
        EXPECT_TRUE(oracle::IsNaN(dtype, oracle::Forward(dtype, x, 0.01)));
      }
    }
  }
}

TEST(OracleBackward, FollowsTheBitAndNotTheValue) {
  EXPECT_EQ(oracle::Backward(DType::kFloat32, 0xC0000000, true, 0.5), 0xC0000000u);
  EXPECT_EQ(oracle::Backward(DType::kFloat32, 0xC0000000, false, 0.5), 0xBF800000u);
  EXPECT_EQ(oracle::Backward(DType::kFloat32, 0x40000000, false, 0.5), 0x3F800000u);
}

TEST(OracleIsPositive, IsFalseForZerosAndNaN) {
  for (DType dtype : oracle::kDTypes) {
    EXPECT_FALSE(oracle::IsPositive(dtype, 0));
    EXPECT_FALSE(oracle::IsPositive(dtype, oracle::SignBit(dtype)));
    EXPECT_FALSE(oracle::IsPositive(dtype, oracle::Infinity(dtype) + 1));
    EXPECT_FALSE(oracle::IsPositive(dtype, oracle::SignBit(dtype) | 1));
  }
}

TEST(OracleIsPositive, IsTrueFromTheSmallestSubnormalToInfinity) {
  for (DType dtype : oracle::kDTypes) {
    EXPECT_TRUE(oracle::IsPositive(dtype, 1));
    EXPECT_TRUE(oracle::IsPositive(dtype, oracle::Infinity(dtype)));
  }
}

TEST(OracleSame, TellsZerosApartAndNaNsNot) {
  EXPECT_FALSE(oracle::Same(DType::kFloat16, 0x0000, 0x8000));
  EXPECT_TRUE(oracle::Same(DType::kFloat16, 0x7C01, 0xFE00));
  EXPECT_FALSE(oracle::Same(DType::kFloat16, 0x7C00, 0x7E00));
  EXPECT_TRUE(oracle::Same(DType::kFloat16, 0x3C00, 0x3C00));
}

TEST(OracleSpecialValues, AreAllDifferent) {
  for (DType dtype : oracle::kDTypes) {
    const std::vector<uint64_t> values = oracle::SpecialValues(dtype);
    EXPECT_EQ(std::set<uint64_t>(values.begin(), values.end()).size(), values.size());
  }
}

}  // namespace
