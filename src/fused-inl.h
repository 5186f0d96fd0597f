// The kernels of the fused operation: bias, LeakyReLU, scale and clamp over one contiguous chunk.
//
// Simpler loops than those of kernels.cc: every dtype is computed in float32 or float64 lanes, a block at a time, and
// what is left at the end goes through a block on the stack.
//
// Like formula.h without include guard and namespace: kernels.cc includes it once for each instruction set.

// Below, kKeeps says that bits are kept in masks, and kClamps that there is a clamp, whose bits are a second mask.

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

// The biases of consecutive elements: one for each, or the first one for all.
template <typename T>
struct Biases {
  const T* from;
  bool vary;
};

static_assert(kBlock <= kBiasesAgain);

// Finds those of a block.
template <class L>
class BiasReader {
 public:
  using T = hn::TFromD<typename L::D>;

  HWY_INLINE explicit BiasReader(const FusedChunk& chunk)
      : bias_(static_cast<const T*>(chunk.bias)),
        extent_(chunk.bias_extent),
        run_(chunk.bias_run),
        begin_(chunk.bias_begin) {
    if (bias_ == nullptr) {
      const typename L::D d;
      hn::Store(hn::SignBit(d), d, scratch_);  // -0, which changes no number
      end_ = ~size_t{0};
    }
  }

  // Those of `elements` from i on, which is never below that of the call before.
  HWY_INLINE Biases<T> Of(size_t i, size_t elements) {
    return i + elements <= end_ ? Biases<T>{scratch_, false} : Find(i, elements);
  }

 private:
  // A function of its own: GCC 12 crashes on all in one for NEON.
  HWY_NOINLINE Biases<T> Find(size_t i, size_t elements) {
    if (run_ == 1) {
      while (i + begin_ - wrapped_ >= extent_) wrapped_ += extent_;
      return {bias_ + (i + begin_ - wrapped_), true};
    }
    size_t index = (begin_ + i) / run_;
    size_t end = (index + 1) * run_ - begin_;  // of its elements
    index %= extent_;
    if (i + elements <= end) {
      Repeat(bias_[index], 1, scratch_);
      end_ = end;
      return {scratch_, false};
    }
    end_ = 0;
    for (size_t done = 0; done < elements; end += run_) {
      const size_t count = HWY_MIN(end - i, elements) - done;
      Repeat(bias_[index], count, scratch_ + done);
      done += count;
      if (++index == extent_) index = 0;
    }
    return {scratch_, true};
  }

  // Whole vectors: some are written behind the last.
  static HWY_INLINE void Repeat(T number, size_t count, T* to) {
    const typename L::D d;
    for (size_t j = 0; j < count; j += hn::Lanes(d)) hn::StoreU(hn::Set(d, number), d, to + j);
  }

  const T* bias_;
  size_t extent_;
  size_t run_;
  size_t begin_;
  size_t wrapped_ = 0;  // elements of all the times before that the biases of single elements were used up
  size_t end_ = 0;      // until there all elements have the bias in scratch_
  HWY_ALIGN T scratch_[kBlock + hn::MaxLanes(typename L::D())] = {};
};

// `elements`: a multiple of a step's, at most kBlock, as in the next one.
template <class L, bool kKeeps, bool kClamps, typename T>
HWY_INLINE FusedBits FusedForwardBlock(const T* in, Biases<T> bias, T* out, WideV<L> slope, WideV<L> scale,
                                       WideV<L> limit, size_t elements) {
  using Wide = typename L::Wide;
  const typename L::StepD d;
  const typename L::MaskD masks;
  FusedBits bits;
  const auto step = [&](size_t i, hn::Vec<typename L::StepD> b) HWY_ATTR {
    auto positive = hn::MaskFromVec(hn::Zero(masks));
    auto within = positive;
    const auto y = L::InWide(
        hn::LoadU(d, in + i), b, &positive, &within,
        [&](WideV<L> wide_x, WideV<L> wide_bias, auto* wide_positive, [[maybe_unused]] auto* wide_within) HWY_ATTR {
          WideV<L> v = FusedFormula(Wide(), wide_x, wide_bias, slope, scale, wide_positive);
          if constexpr (kKeeps && kClamps) *wide_within = Wide::IsWithin(v, limit);
          if constexpr (kClamps) v = Wide::Clamp(v, limit);
          return v;
        });
    if constexpr (kKeeps) bits.positive |= MaskBits(masks, positive) << i;
    if constexpr (kKeeps && kClamps) bits.within |= MaskBits(masks, within) << i;
    hn::StoreU(y, d, out + i);
  };
  if (bias.vary) {
    for (size_t i = 0; i < elements; i += hn::Lanes(d)) step(i, hn::LoadU(d, bias.from + i));
  } else {  // widened once
    const auto first = hn::LoadU(d, bias.from);
    for (size_t i = 0; i < elements; i += hn::Lanes(d)) step(i, first);
  }
  return bits;
}

template <class L, bool kClamps, typename T>
HWY_INLINE void FusedBackwardBlock(const T* in, T* out, FusedBits bits, WideV<L> slope, WideV<L> scale,
                                   size_t elements) {
  const typename L::StepD d;
  const auto lanes = [](uint64_t word) HWY_ATTR {
    return hn::LoadMaskBits(typename L::MaskD(), reinterpret_cast<const uint8_t*>(&word));  // may read all 8 bytes
  };
  for (size_t i = 0; i < elements; i += hn::Lanes(d)) {
    auto positive = lanes(bits.positive >> i);
    auto within = lanes(bits.within >> i);
    const auto dy = hn::LoadU(d, in + i);
    const auto dx =
        L::InWide(dy, dy, &positive, &within,
                  [&](WideV<L> v, WideV<L> /*bias*/, auto* wide_positive, [[maybe_unused]] auto* wide_within) HWY_ATTR {
                    if constexpr (kClamps) v = hn::IfThenElseZero(*wide_within, v);
                    return FusedGradient(typename L::Wide(), v, *wide_positive, slope, scale);
                  });
    hn::StoreU(dx, d, out + i);
  }
}

// Calls block(i, in, out, bits, elements) for the elements of each block from i on. `bits` is what the masks hold if
// kReads; if kKeeps they will hold what it gives back. In the last one `in` and `out` may be a copy.
template <class L, bool kReads, bool kKeeps, bool kClamps, typename Block>
HWY_INLINE void ForEachBlock(const FusedChunk& chunk, Block block) {
  using T = hn::TFromD<typename L::D>;
  const typename L::D d;
  const T* const in = static_cast<const T*>(chunk.in);
  T* const out = static_cast<T*>(chunk.out);
  const auto load = [&](size_t i, size_t mask_bytes) {
    FusedBits bits;
    if constexpr (kReads) {
      std::memcpy(&bits.positive, chunk.mask + i / 8, mask_bytes);
      if constexpr (kClamps) std::memcpy(&bits.within, chunk.within + i / 8, mask_bytes);
    }
    return bits;
  };
  const auto keep = [&](FusedBits bits, size_t i, size_t mask_bytes) {
    if constexpr (kKeeps) std::memcpy(chunk.mask + i / 8, &bits.positive, mask_bytes);
    if constexpr (kKeeps && kClamps) std::memcpy(chunk.within + i / 8, &bits.within, mask_bytes);
  };

  const size_t blocks_end = chunk.elements / kBlock * kBlock;
  const bool streams = chunk.streams && reinterpret_cast<uintptr_t>(out) % (hn::MaxLanes(d) * sizeof(T)) == 0;
  HWY_ALIGN T result[kBlock];
  for (size_t i = 0; i < blocks_end; i += kBlock) {
    keep(block(i, in + i, streams ? result : out + i, load(i, sizeof(uint64_t)), kBlock), i, sizeof(uint64_t));
    if (!streams) continue;
    for (size_t j = 0; j < kBlock; j += hn::Lanes(d)) hn::Stream(hn::Load(d, result + j), d, out + i + j);
  }
  if (streams) hwy::FlushStream();

  const size_t tail = chunk.elements - blocks_end;
  if (tail == 0) return;
  const typename L::StepD step;
  const size_t whole = tail / hn::Lanes(step) * hn::Lanes(step);
  const size_t mask_bytes = (tail + 7) / 8;
  const FusedBits given = load(blocks_end, mask_bytes);
  FusedBits bits;
  if (whole > 0) bits = block(blocks_end, in + blocks_end, out + blocks_end, given, whole);
  if (whole < tail) {
    const size_t i = blocks_end + whole;
    // Not MaxLanes(step), which by Highway 1.0.3 on SVE is half of Lanes(step).
    HWY_ALIGN T last[hn::MaxLanes(typename L::D())] = {};
    std::memcpy(last, in + i, (tail - whole) * sizeof(T));
    const FusedBits last_bits = block(i, last, last, {given.positive >> whole, given.within >> whole}, hn::Lanes(step));
    const uint64_t own = (uint64_t{1} << (tail - whole)) - 1;
    bits.positive |= (last_bits.positive & own) << whole;
    bits.within |= (last_bits.within & own) << whole;
    std::memcpy(out + i, last, (tail - whole) * sizeof(T));
  }
  keep(bits, blocks_end, mask_bytes);
}

template <class L, bool kKeeps, bool kClamps>
HWY_NOINLINE void FusedForwardLoop(const FusedChunk& chunk, const FusedNumbers& numbers) {
  using T = hn::TFromD<typename L::D>;
  const WideV<L> slope = MakeWide<L>(numbers.slope);
  const WideV<L> scale = MakeWide<L>(numbers.scale);
  const WideV<L> limit = MakeWide<L>(numbers.clamp);
  BiasReader<L> biases(chunk);
  ForEachBlock<L, false, kKeeps, kClamps>(
      chunk, [&](size_t i, const T* in, T* out, FusedBits, size_t elements) HWY_ATTR {
        return FusedForwardBlock<L, kKeeps, kClamps>(in, biases.Of(i, elements), out, slope, scale, limit, elements);
      });
}

template <class L>
void FusedForward(const FusedChunk& chunk, const FusedNumbers& numbers) {
  const bool clamps = !std::isinf(numbers.clamp);
  if (chunk.mask == nullptr) {
    clamps ? FusedForwardLoop<L, false, true>(chunk, numbers) : FusedForwardLoop<L, false, false>(chunk, numbers);
  } else {
    clamps ? FusedForwardLoop<L, true, true>(chunk, numbers) : FusedForwardLoop<L, true, false>(chunk, numbers);
  }
}

template <class L, bool kClamps>
HWY_NOINLINE void FusedBackwardLoop(const FusedChunk& chunk, const FusedNumbers& numbers) {
  using T = hn::TFromD<typename L::D>;
  const WideV<L> slope = MakeWide<L>(numbers.slope);
  const WideV<L> scale = MakeWide<L>(numbers.scale);
  ForEachBlock<L, true, false, kClamps>(chunk,
                                        [&](size_t, const T* in, T* out, FusedBits bits, size_t elements) HWY_ATTR {
                                          FusedBackwardBlock<L, kClamps>(in, out, bits, slope, scale, elements);
                                          return bits;
                                        });
}

template <class L>
void FusedBackward(const FusedChunk& chunk, const FusedNumbers& numbers) {
  if (chunk.within == nullptr) {
    FusedBackwardLoop<L, false>(chunk, numbers);
  } else {
    FusedBackwardLoop<L, true>(chunk, numbers);
  }
}
