// The kernels of the fused operation: bias, LeakyReLU, scale and clamp over one contiguous chunk.
//
// Simpler loops than those of kernels.cc: every dtype is computed in float32 or float64 lanes, a block at a time, and
// what is left at the end goes through a block on the stack.
//
// Like formula.h without include guard and namespace: kernels.cc includes it once for each instruction set.

// Which bits are kept: none, t > 0, or also |v| <= limit. For the first the limit may be infinite; the second is for
// no clamp at all.
enum class Kept { kNone, kPositive, kPositiveAndWithin };

// The words of a block's bits in the masks.
struct FusedBits {
  uint64_t positive = 0;
  uint64_t within = 0;
};

template <class L>
using WideV = typename L::Wide::V;

// Every NaN becomes the one whose lower half is zero; BFloat16::Narrow relies on it.
template <class L>
HWY_INLINE WideV<L> MakeWide(double number) {
  return L::Wide::MakeSlope(std::isnan(number) ? std::numeric_limits<double>::quiet_NaN() : number);
}

// `elements`: a multiple of the wide lanes, at most kBlock, as in the next one. `bias`: a number for each element, or
// null, and `one_bias` is that of all.
template <class L, Kept kept, typename T>
HWY_INLINE FusedBits FusedForwardBlock(const T* in, const T* bias, WideV<L> one_bias, T* out, WideV<L> slope,
                                       WideV<L> scale, WideV<L> limit, size_t elements) {
  using Wide = typename L::Wide;
  const typename Wide::D d;
  FusedBits bits;
  for (size_t i = 0; i < elements; i += hn::Lanes(d)) {
    const WideV<L> b = bias != nullptr ? L::LoadWide(bias + i) : one_bias;
    typename Wide::M positive;
    WideV<L> v = FusedFormula(Wide(), L::LoadWide(in + i), b, slope, scale, &positive);
    if constexpr (kept != Kept::kNone) bits.positive |= MaskBits(d, positive) << i;
    if constexpr (kept == Kept::kPositiveAndWithin) bits.within |= MaskBits(d, Wide::IsWithin(v, limit)) << i;
    if constexpr (kept != Kept::kPositive) v = Wide::Clamp(v, limit);
    L::StoreWide(v, out + i);
  }
  return bits;
}

template <class L, Kept kept, typename T>
HWY_INLINE void FusedBackwardBlock(const T* in, T* out, FusedBits bits, WideV<L> slope, WideV<L> scale,
                                   size_t elements) {
  using Wide = typename L::Wide;
  const typename Wide::D d;
  const auto lanes = [d](uint64_t word) {
    return hn::LoadMaskBits(d, reinterpret_cast<const uint8_t*>(&word));  // may read all 8 bytes
  };
  for (size_t i = 0; i < elements; i += hn::Lanes(d)) {
    WideV<L> v = L::LoadWide(in + i);
    if constexpr (kept == Kept::kPositiveAndWithin) v = hn::IfThenElseZero(lanes(bits.within >> i), v);
    L::StoreWide(FusedGradient(Wide(), v, lanes(bits.positive >> i), slope, scale), out + i);
  }
}

// Calls block(in, bias, out, bits, elements) for each block, where bits is what the masks hold or will hold.
template <class L, Kept kept, bool kForward, typename Block>
HWY_INLINE void ForEachBlock(const FusedChunk& chunk, Block block) {
  using T = hn::TFromD<typename L::D>;
  const typename L::D d;
  const T* const in = static_cast<const T*>(chunk.in);
  const T* const bias = chunk.bias_varies ? static_cast<const T*>(chunk.bias) : nullptr;
  T* const out = static_cast<T*>(chunk.out);
  const auto load = [&](size_t i, size_t mask_bytes) {
    FusedBits bits;
    if constexpr (!kForward) {
      std::memcpy(&bits.positive, chunk.mask + i / 8, mask_bytes);
      if constexpr (kept == Kept::kPositiveAndWithin) std::memcpy(&bits.within, chunk.within + i / 8, mask_bytes);
    }
    return bits;
  };
  const auto keep = [&](FusedBits bits, size_t i, size_t mask_bytes) {
    if constexpr (kForward && kept != Kept::kNone) std::memcpy(chunk.mask + i / 8, &bits.positive, mask_bytes);
    if constexpr (kForward && kept == Kept::kPositiveAndWithin) {
      std::memcpy(chunk.within + i / 8, &bits.within, mask_bytes);
    }
  };

  const size_t blocks_end = chunk.elements / kBlock * kBlock;
  const bool streams = chunk.streams && reinterpret_cast<uintptr_t>(out) % (hn::MaxLanes(d) * sizeof(T)) == 0;
  const bool descends = HWY_UNLIKELY(BestOrder<L>(in, out) == Order::kDescending);
  HWY_ALIGN T result[kBlock];  // for stores that must wait until all of the block is loaded, or go past the cache
  for (size_t done = 0; done < blocks_end; done += kBlock) {
    const size_t i = descends ? blocks_end - kBlock - done : done;
    T* const to = streams || descends ? result : out + i;
    keep(block(in + i, bias != nullptr ? bias + i : nullptr, to, load(i, sizeof(uint64_t)), kBlock), i,
         sizeof(uint64_t));
    if (streams) {
      for (size_t j = 0; j < kBlock; j += hn::Lanes(d)) hn::Stream(hn::Load(d, result + j), d, out + i + j);
    } else if (descends) {
      std::memcpy(out + i, result, sizeof(result));
    }
  }
  if (streams) hwy::FlushStream();

  const size_t tail = chunk.elements - blocks_end;
  if (tail == 0) return;
  const typename L::Wide::D wide;
  const size_t whole = tail / hn::Lanes(wide) * hn::Lanes(wide);
  const size_t mask_bytes = (tail + 7) / 8;
  FusedBits bits = load(blocks_end, mask_bytes);
  FusedBits kept_bits =
      block(in + blocks_end, bias != nullptr ? bias + blocks_end : nullptr, out + blocks_end, bits, whole);
  if (whole < tail) {
    const size_t i = blocks_end + whole;
    HWY_ALIGN T last[hn::MaxLanes(wide)] = {};
    HWY_ALIGN T last_bias[hn::MaxLanes(wide)] = {};
    std::memcpy(last, in + i, (tail - whole) * sizeof(T));
    if (bias != nullptr) std::memcpy(last_bias, bias + i, (tail - whole) * sizeof(T));
    bits = block(last, bias != nullptr ? last_bias : nullptr, last, {bits.positive >> whole, bits.within >> whole},
                 hn::Lanes(wide));
    const uint64_t own = (uint64_t{1} << (tail - whole)) - 1;
    kept_bits.positive |= (bits.positive & own) << whole;
    kept_bits.within |= (bits.within & own) << whole;
    std::memcpy(out + i, last, (tail - whole) * sizeof(T));
  }
  keep(kept_bits, blocks_end, mask_bytes);
}

template <class L, Kept kept>
HWY_NOINLINE void FusedForwardLoop(const FusedChunk& chunk, const FusedNumbers& numbers) {
  using T = hn::TFromD<typename L::D>;
  const WideV<L> slope = MakeWide<L>(numbers.slope);
  const WideV<L> scale = MakeWide<L>(numbers.scale);
  const WideV<L> limit = MakeWide<L>(numbers.clamp);
  WideV<L> one_bias = MakeWide<L>(-0.0);  // which changes no number
  if (chunk.bias != nullptr && !chunk.bias_varies) {
    HWY_ALIGN T same[hn::MaxLanes(typename L::Wide::D())];
    for (T& number : same) std::memcpy(&number, chunk.bias, sizeof(T));
    one_bias = L::LoadWide(same);
  }
  ForEachBlock<L, kept, true>(chunk, [&](const T* in, const T* bias, T* out, FusedBits, size_t elements) HWY_ATTR {
    return FusedForwardBlock<L, kept>(in, bias, one_bias, out, slope, scale, limit, elements);
  });
}

template <class L>
void FusedForward(const FusedChunk& chunk, const FusedNumbers& numbers) {
  if (chunk.mask == nullptr) {
    FusedForwardLoop<L, Kept::kNone>(chunk, numbers);
  } else if (chunk.within == nullptr) {
    FusedForwardLoop<L, Kept::kPositive>(chunk, numbers);
  } else {
    FusedForwardLoop<L, Kept::kPositiveAndWithin>(chunk, numbers);
  }
}

template <class L, Kept kept>
HWY_NOINLINE void FusedBackwardLoop(const FusedChunk& chunk, const FusedNumbers& numbers) {
  using T = hn::TFromD<typename L::D>;
  const WideV<L> slope = MakeWide<L>(numbers.slope);
  const WideV<L> scale = MakeWide<L>(numbers.scale);
  ForEachBlock<L, kept, false>(chunk, [&](const T* in, const T*, T* out, FusedBits bits, size_t elements) HWY_ATTR {
    FusedBackwardBlock<L, kept>(in, out, bits, slope, scale, elements);
    return bits;
  });
}

template <class L>
void FusedBackward(const FusedChunk& chunk, const FusedNumbers& numbers) {
  if (chunk.within == nullptr) {
    FusedBackwardLoop<L, Kept::kPositive>(chunk, numbers);
  } else {
    FusedBackwardLoop<L, Kept::kPositiveAndWithin>(chunk, numbers);
  }
}
