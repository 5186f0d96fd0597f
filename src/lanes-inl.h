// How each dtype is loaded, tested, scaled and rounded in SIMD lanes. All that the kernels know of a dtype is here.
//
// Each lanes type has: D, V, M (Highway's tag, vector and mask of its lanes), Slope and MakeSlope(double), and the
// operations of formula.h: Positive(x) (x > 0; false for both zeros and NaN), Scale(v, slope), Select(mask, a, b).
//
// And for the fused operation Wide, the lanes of float32 or float64 in which it is computed, StepD and MaskD, the tags
// of the elements of one step and of their masks, and
//   InWide(x, bias, &positive, &within, f)  f of the same four in wide lanes, once or in parts
//
// Like formula.h without include guard and namespace: kernels.cc includes it once for each instruction set.

// float32 and float64: lanes are the numbers themselves.
template <class Tag>
struct LanesOf {
  using D = Tag;
  using V = hn::Vec<D>;
  using M = hn::Mask<D>;
  using Slope = V;

  static HWY_INLINE Slope MakeSlope(double slope) { return hn::Set(D(), static_cast<hn::TFromD<D>>(slope)); }
  static HWY_INLINE M Positive(V x) { return hn::Gt(x, hn::Zero(D())); }
  static HWY_INLINE V Scale(V v, Slope slope) { return hn::Mul(v, slope); }
  static HWY_INLINE V Select(M mask, V a, V b) { return hn::IfThenElse(mask, a, b); }

  using Wide = LanesOf;
  using StepD = D;
  using MaskD = D;
  template <class F>
  static HWY_INLINE V InWide(V x, V bias, M* positive, M* within, F f) {
    return f(x, bias, positive, within);
  }
  static HWY_INLINE V Add(V a, V b) { return hn::Add(a, b); }
  static HWY_INLINE V Clamp(V v, V limit) {
#if HWY_ARCH_X86 && HWY_TARGET < HWY_EMU128
    // x86 gives the second number where one is NaN and where both are zeros.
    return hn::Min(limit, hn::Max(hn::Neg(limit), v));
#else
    // The limit with v's sign; that of -0 changes it.
    return hn::IfThenElse(hn::Gt(hn::Abs(v), limit), hn::Xor(limit, hn::And(v, hn::SignBit(D()))), v);
#endif
  }
  static HWY_INLINE M IsWithin(V v, V limit) { return hn::Eq(Clamp(v, limit), v); }  // the clamp is there anyway
};
template <typename T>
using FloatLanes = LanesOf<hn::CappedTag<T, kBlock>>;

// What both 16-bit formats share: lanes hold the bits as integers, and x > 0 is decided on these, 16 lanes of AVX2 at a
// time instead of 8. kInfinity is the format's +inf.
template <int16_t kInfinity>
struct HalfLanes {
  using D = hn::CappedTag<int16_t, kBlock>;
  using V = hn::Vec<D>;
  using M = hn::Mask<D>;

  // Positive numbers and +inf are the integers 1 ... kInfinity, NaN lies above, all others below 1. Adding the distance
  // from kInfinity to the largest integer makes NaN wrap around to the negative ones: one addition, one comparison. The
  // lanes are added as unsigned ones, which may wrap: where Highway's + is the compiler's own, as under GCC on ARM, a
  // compiler takes it that signed ones do not, and x + distance > distance for x > 0.
  static HWY_INLINE M Positive(V x) {
    const hn::RebindToUnsigned<D> du;
    constexpr int16_t kDistance = 0x7FFF - kInfinity;
    const auto sum = hn::Add(hn::BitCast(du, x), hn::Set(du, static_cast<uint16_t>(kDistance)));
    return hn::Gt(hn::BitCast(D(), sum), hn::Set(D(), kDistance));
  }
  static HWY_INLINE V Select(M mask, V a, V b) { return hn::IfThenElse(mask, a, b); }
};

// A 16-bit format as 32-bit lanes, each of which holds two numbers: no shuffle is needed to widen them, only a shift or
// an AND. Format says how numbers in the upper halves of 32-bit lanes become floats and how floats are rounded back
// there (what is left in the lower halves does not matter).
template <class Format>
struct PairLanes : HalfLanes<Format::kInfinity> {
  using typename HalfLanes<Format::kInfinity>::D;
  using typename HalfLanes<Format::kInfinity>::V;
  using typename HalfLanes<Format::kInfinity>::M;
  using D32 = hn::Repartition<uint32_t, D>;
  using DF = hn::Repartition<float, D>;
  using Slope = hn::Vec<DF>;

  // Every NaN becomes the one whose lower half is zero; BFloat16::Narrow relies on it.
  static HWY_INLINE Slope MakeSlope(double slope) {
    return hn::Set(DF(), std::isnan(slope) ? std::numeric_limits<float>::quiet_NaN() : static_cast<float>(slope));
  }
  static HWY_INLINE V Scale(V v, Slope slope) {
    return Merge(Format::Narrow(D32(), hn::Mul(Odd(v), slope)), Format::Narrow(D32(), hn::Mul(Even(v), slope)));
  }

  using Wide = LanesOf<DF>;
  using StepD = D;
  using MaskD = D;
  template <class F>
  static HWY_INLINE V InWide(V x, V bias, M* positive, M* within, F f) {
    auto odd_positive = OddMask(*positive);
    auto odd_within = OddMask(*within);
    auto even_positive = EvenMask(*positive);
    auto even_within = EvenMask(*within);
    const auto odd = Format::Narrow(D32(), f(Odd(x), Odd(bias), &odd_positive, &odd_within));
    const auto even = Format::Narrow(D32(), f(Even(x), Even(bias), &even_positive, &even_within));
    *positive = MergeMasks(odd_positive, even_positive);
    *within = MergeMasks(odd_within, even_within);
    return Merge(odd, even);
  }

 private:
  using DI = hn::RebindToSigned<D32>;

  static HWY_INLINE Slope Odd(V v) {
    return Format::Widen(D32(), hn::And(hn::BitCast(D32(), v), hn::Set(D32(), 0xFFFF0000u)));
  }
  static HWY_INLINE Slope Even(V v) { return Format::Widen(D32(), hn::ShiftLeft<16>(hn::BitCast(D32(), v))); }
  static HWY_INLINE V Merge(hn::Vec<D32> odd, hn::Vec<D32> even) {
    return hn::OddEven(hn::BitCast(D(), odd), hn::BitCast(D(), hn::ShiftRight<16>(even)));
  }

  static HWY_INLINE hn::Mask<DF> OddMask(M mask) {
    const auto pairs = hn::BitCast(DI(), hn::VecFromMask(D(), mask));
    return hn::MaskFromVec(hn::BitCast(DF(), hn::BroadcastSignBit(pairs)));
  }
  static HWY_INLINE hn::Mask<DF> EvenMask(M mask) {
    const auto pairs = hn::BitCast(DI(), hn::VecFromMask(D(), mask));
    return hn::MaskFromVec(hn::BitCast(DF(), hn::BroadcastSignBit(hn::ShiftLeft<16>(pairs))));
  }
  static HWY_INLINE M MergeMasks(hn::Mask<DF> odd, hn::Mask<DF> even) {
    return hn::MaskFromVec(hn::OddEven(hn::BitCast(D(), hn::VecFromMask(DF(), odd)),  //
                                       hn::BitCast(D(), hn::VecFromMask(DF(), even))));
  }
};

// bfloat16 is the upper half of a float32. For 16 elements on AVX2: 2 instructions to widen, 2 multiplications, 2 x 4
// to round, 2 to merge; with load, Positive (2), Select and store 19.
struct BFloat16 {
  static constexpr int16_t kInfinity = 0x7F80;

  template <class D32>
  static HWY_INLINE hn::Vec<hn::RebindToFloat<D32>> Widen(D32 /*d32*/, hn::Vec<D32> bits) {
    return hn::BitCast(hn::RebindToFloat<D32>(), bits);
  }

  // To the nearest upper half, ties to even: add just under half a unit, and one more if the unit's last bit is set.
  // Infinity stays and overflow becomes infinity by itself. NaN needs no test: each one that gets here (x times slope,
  // infinity times 0) has zeros in its lower half, so nothing carries into the upper one.
  template <class D32>
  static HWY_INLINE hn::Vec<D32> Narrow(D32 d32, hn::Vec<hn::RebindToFloat<D32>> v) {
    const auto bits = hn::BitCast(d32, v);
    const auto last = hn::And(hn::ShiftRight<16>(bits), hn::Set(d32, 1u));
    return hn::Add(bits, hn::Add(last, hn::Set(d32, 0x7FFFu)));
  }
};
using BFloat16Lanes = PairLanes<BFloat16>;

#if (HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2) || (HWY_ARCH_ARM_A64 && HWY_TARGET < HWY_EMU128)

// float16 where instructions convert it, both ways exactly and rounding to nearest even. For 16 elements on AVX2:
// 2 + 2 to convert, 2 multiplications, 2 to split and merge; with load, Positive (2), Select and store 13. On NEON,
// whose vectors hold 8, 26 (by integer arithmetic, below, 148); on SVE of 256 bits 18 (83). Counted as GCC 12 compiles
// it.
struct Float16Lanes : HalfLanes<0x7C00> {
  using DF = hn::Repartition<float, D>;
  using Slope = hn::Vec<DF>;

  static HWY_INLINE Slope MakeSlope(double slope) { return hn::Set(DF(), static_cast<float>(slope)); }
  static HWY_INLINE V Scale(V v, Slope slope) {
    const hn::Half<D> half;
    const hn::Rebind<hwy::float16_t, DF> d16;
    const auto lower = hn::PromoteTo(DF(), hn::BitCast(d16, hn::LowerHalf(half, v)));
    const auto upper = hn::PromoteTo(DF(), hn::BitCast(d16, hn::UpperHalf(half, v)));
    return hn::Combine(D(), hn::BitCast(half, hn::DemoteTo(d16, hn::Mul(upper, slope))),
                       hn::BitCast(half, hn::DemoteTo(d16, hn::Mul(lower, slope))));
  }

  using Wide = FloatLanes<float>;
  using StepD = hn::Rebind<int16_t, typename Wide::D>;
  using MaskD = typename Wide::D;
  template <class F>
  static HWY_INLINE hn::Vec<StepD> InWide(hn::Vec<StepD> x, hn::Vec<StepD> bias, typename Wide::M* positive,
                                          typename Wide::M* within, F f) {
    const hn::Rebind<hwy::float16_t, typename Wide::D> d16;
    const typename Wide::D wide;
    const auto v =
        f(hn::PromoteTo(wide, hn::BitCast(d16, x)), hn::PromoteTo(wide, hn::BitCast(d16, bias)), positive, within);
    return hn::BitCast(StepD(), hn::DemoteTo(d16, v));
  }
};

#else

// float16 by integer arithmetic. Highway's conversion without such instructions (1.0.3) loses infinities and NaN.
struct Float16 {
  static constexpr int16_t kInfinity = 0x7C00;

  template <class D32>
  static HWY_INLINE hn::Vec<hn::RebindToFloat<D32>> Widen(D32 d32, hn::Vec<D32> bits) {
    const hn::RebindToFloat<D32> df;
    const hn::RebindToSigned<D32> di;
    const auto sign = hn::And(bits, hn::Set(d32, 0x80000000u));
    const auto magnitude = hn::ShiftRight<3>(hn::AndNot(hn::Set(d32, 0x80000000u), bits));  // float32's field widths
    const auto bias = hn::Set(d32, 112u << 23);  // float32's exponent bias less float16's
    const auto is_special = hn::Gt(hn::BitCast(di, magnitude), hn::Set(di, (31 << 23) - 1));
    const auto is_tiny = hn::Lt(hn::BitCast(di, magnitude), hn::Set(di, 1 << 23));
    const auto normal = hn::Add(magnitude, bias);
    // Infinity and NaN: the largest exponent stays the largest.
    const auto special = hn::Add(normal, bias);
    // Subnormal: put the implicit one of the smallest normal exponent in front, then subtract it again.
    const auto one = hn::Set(d32, 113u << 23);
    const auto tiny = hn::Sub(hn::BitCast(df, hn::Add(magnitude, one)), hn::BitCast(df, one));
    const auto finite = hn::IfThenElse(hn::RebindMask(df, is_tiny), tiny, hn::BitCast(df, normal));
    const auto value = hn::IfThenElse(hn::RebindMask(df, is_special), hn::BitCast(df, special), finite);
    return hn::Or(value, hn::BitCast(df, sign));
  }

  template <class D32>
  static HWY_INLINE hn::Vec<D32> Narrow(D32 d32, hn::Vec<hn::RebindToFloat<D32>> v) {
    const hn::RebindToFloat<D32> df;
    const hn::RebindToSigned<D32> di;
    const auto bits = hn::BitCast(d32, v);
    const auto sign = hn::And(bits, hn::Set(d32, 0x80000000u));
    const auto magnitude = hn::AndNot(hn::Set(d32, 0x80000000u), bits);
    const auto is_nan = hn::Gt(hn::BitCast(di, magnitude), hn::Set(di, 0x7F800000));
    const auto is_tiny = hn::Lt(hn::BitCast(di, magnitude), hn::Set(di, 113 << 23));
    // Normal: as BFloat16::Narrow with 13 bits to lose; all that is too large becomes infinity.
    const auto last = hn::And(hn::ShiftRight<13>(magnitude), hn::Set(d32, 1u));
    const auto rounded = hn::Sub(hn::Add(magnitude, hn::Add(last, hn::Set(d32, 0xFFFu))), hn::Set(d32, 112u << 23));
    const auto normal = hn::Min(hn::ShiftRight<13>(rounded), hn::Set(d32, 0x7C00u));
    // Subnormal: the unit of numbers just above one half is float16's smallest one, so adding one half rounds to it.
    const auto half = hn::Set(df, 0.5f);
    const auto tiny = hn::Sub(hn::BitCast(d32, hn::Add(hn::BitCast(df, magnitude), half)), hn::BitCast(d32, half));
    // NaN: quiet, with what fits of its payload.
    const auto nan = hn::Or(hn::Set(d32, 0x7E00u), hn::And(hn::ShiftRight<13>(magnitude), hn::Set(d32, 0x3FFu)));
    const auto number = hn::IfThenElse(hn::RebindMask(d32, is_tiny), tiny, normal);
    const auto value = hn::IfThenElse(hn::RebindMask(d32, is_nan), nan, number);
    return hn::Or(hn::ShiftLeft<16>(value), sign);
  }
};
using Float16Lanes = PairLanes<Float16>;

#endif  // of whether instructions convert float16
