// The LeakyReLU that every test compares with: one number at a time, slow, plain, and without a line of the library.
#ifndef LEAKYRELU_TESTS_CORE_ORACLE_H_
#define LEAKYRELU_TESTS_CORE_ORACLE_H_

#include <algorithm>
#include <bit>
#include <cfloat>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace oracle {

static_assert(FLT_EVAL_METHOD == 0, "a float product must be rounded to float");

enum class DType { kFloat16, kBFloat16, kFloat32, kFloat64 };

inline constexpr DType kDTypes[] = {DType::kFloat16, DType::kBFloat16, DType::kFloat32, DType::kFloat64};

// An IEEE 754 binary format: 1 sign bit, exponent bits, fraction bits.
struct Format {
  const char* name;
  int64_t bytes;
  int exponent_bits;
  int fraction_bits;
};

inline const Format& FormatOf(DType dtype) {
  static constexpr Format kFormats[] = {
      {"float16", 2, 5, 10}, {"bfloat16", 2, 8, 7}, {"float32", 4, 8, 23}, {"float64", 8, 11, 52}};
  return kFormats[static_cast<int>(dtype)];
}

// ---- Bit patterns, held in the low bits of a uint64_t

inline uint64_t SignBit(DType dtype) { return uint64_t{1} << (FormatOf(dtype).bytes * 8 - 1); }

inline uint64_t Infinity(DType dtype) {
  const Format& format = FormatOf(dtype);
  return ((uint64_t{1} << format.exponent_bits) - 1) << format.fraction_bits;
}

inline bool IsNaN(DType dtype, uint64_t bits) { return (bits & ~SignBit(dtype)) > Infinity(dtype); }

// The number that the bits stand for; a double holds those of every format exactly.
inline double Decode(DType dtype, uint64_t bits) {
  const Format& format = FormatOf(dtype);
  const int bias = (1 << (format.exponent_bits - 1)) - 1;
  const uint64_t magnitude = bits & ~SignBit(dtype);
  const int exponent = static_cast<int>(magnitude >> format.fraction_bits);
  const uint64_t one = uint64_t{1} << format.fraction_bits;
  const uint64_t fraction = magnitude % one;

  double value = 0;
  if (IsNaN(dtype, bits)) {
    value = std::numeric_limits<double>::quiet_NaN();
  } else if (magnitude == Infinity(dtype)) {
    value = std::numeric_limits<double>::infinity();
  } else if (exponent == 0) {
    value = std::ldexp(static_cast<double>(fraction), 1 - bias - format.fraction_bits);
  } else {
    value = std::ldexp(static_cast<double>(one + fraction), exponent - bias - format.fraction_bits);
  }
  return (bits & SignBit(dtype)) != 0 ? -value : value;
}

// Whether all bit patterns are few enough to try them all. Such formats are computed in float32.
inline bool IsNarrow(DType dtype) { return FormatOf(dtype).bytes <= 2; }

// The magnitudes of a narrow format in ascending order, so that an index is a bit pattern: 0, all finite ones, and in
// infinity's place the power of two that would come next, from half the way to which on a number rounds to infinity.
inline const std::vector<double>& Magnitudes(DType dtype) {
  static const auto make = [](DType t) {
    std::vector<double> values;
    for (uint64_t bits = 0; bits < Infinity(t); ++bits) values.push_back(Decode(t, bits));
    values.push_back(std::ldexp(1.0, 1 << (FormatOf(t).exponent_bits - 1)));
    return values;
  };
  static const std::vector<std::vector<double>> all = [] {
    std::vector<std::vector<double>> found;
    for (DType t : kDTypes) found.push_back(IsNarrow(t) ? make(t) : std::vector<double>());
    return found;
  }();
  return all[static_cast<size_t>(dtype)];
}

// The narrow format's pattern nearest to `value`, ties to the even pattern; a search, no bit tricks.
inline uint64_t EncodeNarrow(DType dtype, float value) {
  const uint64_t sign = std::signbit(value) ? SignBit(dtype) : 0;
  if (std::isnan(value)) return sign | (Infinity(dtype) + 1);
  const std::vector<double>& magnitudes = Magnitudes(dtype);
  const double magnitude = std::fabs(static_cast<double>(value));
  const auto above = std::upper_bound(magnitudes.begin(), magnitudes.end(), magnitude);
  if (above == magnitudes.end()) return sign | Infinity(dtype);
  const double middle = (*(above - 1) + *above) / 2;  // exact
  const uint64_t upper = static_cast<uint64_t>(above - magnitudes.begin());
  const uint64_t lower = upper - 1;
  if (magnitude < middle) return sign | lower;
  if (magnitude > middle) return sign | upper;
  return sign | (lower % 2 == 0 ? lower : upper);
}

// ---- The definition

inline bool IsPositive(DType dtype, uint64_t x) { return Decode(dtype, x) > 0; }

// v * slope, rounded once to float32 or float64, and for the narrow formats once more to them.
inline uint64_t Scale(DType dtype, uint64_t v, double slope) {
  if (dtype == DType::kFloat64) {
    volatile double product = std::bit_cast<double>(v);
    product = product * slope;
    return std::bit_cast<uint64_t>(static_cast<double>(product));
  }
  volatile float product =
      dtype == DType::kFloat32 ? std::bit_cast<float>(static_cast<uint32_t>(v)) : static_cast<float>(Decode(dtype, v));
  product = product * static_cast<float>(slope);
  const float rounded = product;
  return dtype == DType::kFloat32 ? std::bit_cast<uint32_t>(rounded) : EncodeNarrow(dtype, rounded);
}

inline uint64_t Backward(DType dtype, uint64_t dy, bool x_positive, double slope) {
  return x_positive ? dy : Scale(dtype, dy, slope);
}

inline uint64_t Forward(DType dtype, uint64_t x, double slope) {
  return IsPositive(dtype, x) ? x : Scale(dtype, x, slope);
}

// ---- The fused operation, step by step in the type that the dtype is computed in

// What each step gives, with the number computed on.
template <typename T>
struct FusedSteps {
  T y;
  bool positive;
  bool within;
};

template <typename T>
FusedSteps<T> FusedIn(T x, T bias, double slope, double scale, double clamp) {
  volatile T t = x;
  t = t + bias;
  const bool positive = t > 0;
  volatile T v = t;
  if (!positive) v = v * static_cast<T>(slope);
  v = v * static_cast<T>(scale);
  const T limit = static_cast<T>(clamp);
  const bool within = v >= -limit && v <= limit;
  T y = v;
  if (y > limit) y = limit;
  if (y < -limit) y = -limit;
  return {y, positive, within};
}

template <typename T>
T FusedGradientIn(T dy, bool positive, bool within, double slope, double scale) {
  volatile T h = within ? dy : T{0};
  h = h * static_cast<T>(scale);
  if (!positive) h = h * static_cast<T>(slope);
  return h;
}

inline float AsFloat(DType dtype, uint64_t bits) {
  if (dtype == DType::kFloat32) return std::bit_cast<float>(static_cast<uint32_t>(bits));
  return static_cast<float>(Decode(dtype, bits));
}

inline uint64_t FromFloat(DType dtype, float value) {
  return dtype == DType::kFloat32 ? std::bit_cast<uint32_t>(value) : EncodeNarrow(dtype, value);
}

struct FusedResult {
  uint64_t y;
  bool positive;
  bool within;
};

inline FusedResult FusedForward(DType dtype, uint64_t x, uint64_t bias, double slope, double scale, double clamp) {
  if (dtype == DType::kFloat64) {
    const auto steps = FusedIn(std::bit_cast<double>(x), std::bit_cast<double>(bias), slope, scale, clamp);
    return {std::bit_cast<uint64_t>(steps.y), steps.positive, steps.within};
  }
  const auto steps = FusedIn(AsFloat(dtype, x), AsFloat(dtype, bias), slope, scale, clamp);
  return {FromFloat(dtype, steps.y), steps.positive, steps.within};
}

inline uint64_t FusedBackward(DType dtype, uint64_t dy, bool positive, bool within, double slope, double scale) {
  if (dtype == DType::kFloat64) {
    return std::bit_cast<uint64_t>(FusedGradientIn(std::bit_cast<double>(dy), positive, within, slope, scale));
  }
  return FromFloat(dtype, FusedGradientIn(AsFloat(dtype, dy), positive, within, slope, scale));
}

// What a test asks of a result: bit for bit the expected one, but any NaN for a NaN.
inline bool Same(DType dtype, uint64_t a, uint64_t b) { return a == b || (IsNaN(dtype, a) && IsNaN(dtype, b)); }

// ---- What to try it on

// Bits of a number in the format nearest to it.
inline uint64_t BitsOf(DType dtype, double value) {
  if (dtype == DType::kFloat64) return std::bit_cast<uint64_t>(value);
  if (dtype == DType::kFloat32) return std::bit_cast<uint32_t>(static_cast<float>(value));
  return EncodeNarrow(dtype, static_cast<float>(value));
}

// Where formulas and conversions go wrong: NaN, zeros, infinities, the ends of every range; each with both signs.
inline std::vector<uint64_t> SpecialValues(DType dtype) {
  const uint64_t infinity = Infinity(dtype);
  const uint64_t smallest_normal = uint64_t{1} << FormatOf(dtype).fraction_bits;
  const uint64_t quiet = infinity | (smallest_normal / 2);
  std::vector<uint64_t> values = {
      0,
      1,  // smallest subnormal
      2,
      3,
      smallest_normal - 1,  // largest subnormal
      smallest_normal,
      smallest_normal + 1,
      infinity - 1,  // largest finite
      infinity,
      infinity + 1,  // signalling NaN, smallest payload
      quiet - 1,     // signalling NaN, largest payload
      quiet,
      SignBit(dtype) - 1,  // quiet NaN, largest payload
  };
  for (double number : {0.01, 0.3, 0.5, 1.0, 1.5, 2.0, 3.14159, 100.0, 2049.0, 65000.0}) {
    values.push_back(BitsOf(dtype, number));
  }
  const size_t count = values.size();
  for (size_t i = 0; i < count; ++i) values.push_back(values[i] | SignBit(dtype));
  return values;
}

// Every kind of slope that the dtype allows.
inline std::vector<double> Slopes(DType dtype) {
  const double infinity = std::numeric_limits<double>::infinity();
  const double nan = std::numeric_limits<double>::quiet_NaN();
  std::vector<double> slopes = {0.0,           -0.0,  0.01,    -0.2,     1.0,     1.7, infinity, -infinity,
                                nan,           1e-45, FLT_MAX, -FLT_MAX, FLT_MIN, 0.5,  // exact ties among subnormals
                                1 + 1.0 / 256,                                          // ties of bfloat16
                                1 + 1.0 / 2048};                                        // ties of float16
  slopes.push_back(std::bit_cast<double>(uint64_t{0xFFFFFFFFFFFFFFFF}));  // NaN, negative, every payload bit
  slopes.push_back(std::bit_cast<double>(uint64_t{0x7FF8000020000000}));  // NaN whose float32 ends in 1
  if (dtype == DType::kFloat64) {
    slopes.push_back(1e300);
    slopes.push_back(std::numeric_limits<double>::max());
    slopes.push_back(std::numeric_limits<double>::denorm_min());
  }
  return slopes;
}

}  // namespace oracle

#endif  // LEAKYRELU_TESTS_CORE_ORACLE_H_
