// The SIMD kernels: compiled once for each instruction set by Highway, chosen at run time.

#include "kernels.h"

#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "mode.h"

// Highway would compile the plain fallback target as one-lane HWY_SCALAR under GCC before 12.3, for a GCC bug in
// high-half integer multiplication (gcc.gnu.org/PR106322). No kernel multiplies integers, so take the full 128-bit one.
#define HWY_BROKEN_EMU128 0

static_assert(
    std::endian::native == std::endian::little,
    "leakyrelu is for little-endian machines: kernels store 64 bits of a mask as one word, and its bytes must "
    "come in that order");

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels.cc"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>  // IWYU pragma: keep; must come before highway.h
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace leakyrelu {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Elements of one mask word, the unit of the main loop.
constexpr size_t kBlock = 64;

constexpr size_t kLineBytes = 64;  // of the cache

#define LEAKYRELU_INLINE HWY_INLINE
#include "formula.h"
#include "lanes-inl.h"
#undef LEAKYRELU_INLINE

enum class Stores { kCached, kStreaming };

// Of the vectors, from the first element on or from the last.
enum class Order { kAscending, kDescending };

// An unsigned integer with a bit for each lane. Kept as narrow as that, or GCC 12 clears the bits above one by one.
template <size_t kLanes>
using LaneBits = std::conditional_t<(kLanes > 16), std::conditional_t<(kLanes > 32), uint64_t, uint32_t>,
                                    std::conditional_t<(kLanes > 8), uint16_t, uint8_t>>;

template <class D>
HWY_INLINE uint64_t MaskBits(D d, hn::Mask<D> mask) {
  uint8_t bytes[8] = {};  // StoreMaskBits may write all 8
  hn::StoreMaskBits(d, mask, bytes);
  LaneBits<hn::MaxLanes(D())> bits;
  std::memcpy(&bits, bytes, sizeof(bits));
#if HWY_COMPILER_GCC_ACTUAL && HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
  // GCC 12, told -O1 -fsanitize=thread, spills a mask register as wide as the mask and reads all 64 bits of the slot,
  // unless the bits have been in a general one before.
  asm("" : "+r"(bits));
#endif
  return bits;
}

// Where element i goes; nowhere if only the mask is asked for.
template <Mode mode, typename T>
HWY_INLINE T* At(T* out, size_t i) {
  if constexpr (mode == Mode::kMaskOnly) return nullptr;
  return out + i;
}

// One vector. `word` holds the mask's bits from this vector's first element on, if they are read; returns them, if they
// are written.
template <class L, Mode mode, Stores stores, typename T>
HWY_INLINE uint64_t Vector(const T* in, T* out, uint64_t word, typename L::Slope slope) {
  const typename L::D d;
  const typename L::V v = hn::LoadU(d, in);
  typename L::M positive;
  if constexpr (kReadsMask<mode>) {
    positive = hn::LoadMaskBits(d, reinterpret_cast<const uint8_t*>(&word));  // may read all 8 bytes
  } else {
    positive = L::Positive(v);
  }
  if constexpr (kWritesOut<mode>) {
    const typename L::V result = LeakyReluFormula(L(), v, positive, slope);
    if constexpr (stores == Stores::kStreaming) {
      hn::Stream(result, d, out);
    } else {
      hn::StoreU(result, d, out);
    }
  }
  if constexpr (kWritesMask<mode>) return MaskBits(d, positive);
  return 0;
}

// `elements`: a multiple of the vector's, at most kBlock.
template <class L, Mode mode, Stores stores, Order order = Order::kAscending, typename T>
HWY_INLINE uint64_t Vectors(const T* in, T* out, uint64_t word, typename L::Slope slope, size_t elements) {
  const size_t lanes = hn::Lanes(typename L::D());
  uint64_t written = 0;
  for (size_t done = 0; done < elements; done += lanes) {
    const size_t i = order == Order::kAscending ? done : elements - lanes - done;
    written |= Vector<L, mode, stores>(in + i, At<mode>(out, i), word >> i, slope) << i;
  }
  return written;
}

// 1 ... kBlock - 1 elements. A function of its own: all in one takes a compiler minutes, with sanitizers.
template <class L, Mode mode, typename T>
HWY_NOINLINE uint64_t Rest(const T* in, T* out, uint64_t word, const typename L::Slope& slope, size_t elements) {
  const typename L::D d;
  const size_t lanes = hn::Lanes(d);
  const size_t whole = elements / lanes * lanes;
  uint64_t written = Vectors<L, mode, Stores::kCached>(in, out, word, slope, whole);
  if (whole == elements) return written;
  const bool in_place = kWritesOut<mode> && in == out;
  if (whole > 0 && !in_place) {
    // The last vector that fits. Some of its elements are done a second time, which in place would be wrong.
    const size_t i = elements - lanes;
    return written | Vector<L, mode, Stores::kCached>(in + i, At<mode>(out, i), word >> i, slope) << i;
  }
  HWY_ALIGN T vector[hn::MaxLanes(d)];
  hn::Store(hn::Zero(d), d, vector);  // zero: no mask bit, no slow arithmetic
  std::memcpy(vector, in + whole, (elements - whole) * sizeof(T));
  written |= Vector<L, mode, Stores::kCached>(vector, vector, word >> whole, slope) << whole;
  if constexpr (kWritesOut<mode>) std::memcpy(out + whole, vector, (elements - whole) * sizeof(T));
  return written;
}

// `elements`: a multiple of kBlock.
template <class L, Mode mode, Stores stores, Order order, typename T>
HWY_INLINE void Blocks(const T* in, T* out, uint8_t* mask, size_t elements, typename L::Slope slope) {
  for (size_t done = 0; done < elements; done += kBlock) {
    const size_t i = order == Order::kAscending ? done : elements - kBlock - done;
    uint64_t word = 0;
    if constexpr (kReadsMask<mode>) std::memcpy(&word, mask + i / 8, sizeof(word));
    word = Vectors<L, mode, stores, order>(in + i, At<mode>(out, i), word, slope, kBlock);
    if constexpr (kWritesMask<mode>) std::memcpy(mask + i / 8, &word, sizeof(word));
  }
}

// Where ascending loads would wait for the stores before them, descending. By the lower 12 bits of the addresses a
// processor tells whether a load wants what a store still under way has written. Where `out` lies just behind `in`
// modulo 4096, as an allocator places arrays of a power of two, ascending loads come right after the stores to such an
// address and can be 12 times slower; descending ones come before them. Farther behind fewer stores are still under
// way, and rows of an array that go now up, now down cost more than is gained; so do, descending, stores some of which
// cross cache lines.
template <class L, typename T>
HWY_INLINE Order BestOrder(const T* in, const T* out) {
  constexpr size_t kVectorBytes = hn::MaxLanes(typename L::D()) * sizeof(T);
  const uintptr_t to = reinterpret_cast<uintptr_t>(out);
  const uintptr_t distance = (to - reinterpret_cast<uintptr_t>(in)) % 4096;
  const bool some_cross_lines = kVectorBytes < kLineBytes && to % kVectorBytes != 0;
  return 0 < distance && distance < 512 && !some_cross_lines ? Order::kDescending : Order::kAscending;
}

// Streaming: out is aligned to a vector.
template <class L, Mode mode, Stores stores, typename T>
HWY_INLINE void ForEachVector(const T* in, T* out, uint8_t* mask, size_t elements, typename L::Slope slope) {
  const size_t i = elements / kBlock * kBlock;
  if (mode == Mode::kMaskOnly || HWY_LIKELY(BestOrder<L>(in, out) == Order::kAscending)) {
    Blocks<L, mode, stores, Order::kAscending>(in, out, mask, i, slope);
  } else {
    Blocks<L, mode, stores, Order::kDescending>(in, out, mask, i, slope);
  }
  if constexpr (stores == Stores::kStreaming) hwy::FlushStream();

  const size_t rest = elements - i;
  if (rest == 0) return;
  const size_t mask_bytes = (rest + 7) / 8;
  uint64_t word = 0;
  if constexpr (kReadsMask<mode>) std::memcpy(&word, mask + i / 8, mask_bytes);
  word = Rest<L, mode>(in + i, At<mode>(out, i), word, slope, rest);
  if constexpr (kWritesMask<mode>) std::memcpy(mask + i / 8, &word, mask_bytes);
}

// The streaming loop for an output that is aligned from element `head` (1 ... kBlock - 1) on, and at least so long.
// From there on the mask's bits are `head` away from the borders of its words.
template <class L, Mode mode, typename T>
HWY_NOINLINE void ForEachShiftedVector(const T* in, T* out, uint8_t* mask, size_t elements, typename L::Slope slope,
                                       size_t head) {
  const size_t mask_bytes = (elements + 7) / 8;
  const auto load = [mask, mask_bytes](size_t byte) {
    uint64_t word = 0;
    if (byte + sizeof(word) <= mask_bytes) {
      std::memcpy(&word, mask + byte, sizeof(word));
    } else if (byte < mask_bytes) {
      std::memcpy(&word, mask + byte, mask_bytes - byte);
    }
    return word;
  };

  size_t byte = 0;
  uint64_t carry = 0;  // the word at `byte`: as far as it is known where it is written, whole where it is read
  if constexpr (kReadsMask<mode>) carry = load(0);
  const uint64_t first = Rest<L, mode>(in, out, carry, slope, head);
  if constexpr (kWritesMask<mode>) carry = first;
  size_t i = head;
  for (; i + kBlock <= elements; i += kBlock) {
    uint64_t word = 0;
    if constexpr (kReadsMask<mode>) {
      const uint64_t next = load(byte + 8);
      word = carry >> head | next << (kBlock - head);
      carry = next;
    }
    word = Vectors<L, mode, Stores::kStreaming>(in + i, out + i, word, slope, kBlock);
    if constexpr (kWritesMask<mode>) {
      const uint64_t whole = carry | word << head;
      std::memcpy(mask + byte, &whole, sizeof(whole));
      carry = word >> (kBlock - head);
    }
    byte += 8;
  }
  hwy::FlushStream();

  uint64_t word = 0;
  if constexpr (kReadsMask<mode>) word = carry >> head | load(byte + 8) << (kBlock - head);
  if (i < elements) word = Rest<L, mode>(in + i, out + i, word, slope, elements - i);
  if constexpr (kWritesMask<mode>) {
    const uint64_t last[] = {carry | word << head, word >> (kBlock - head)};
    std::memcpy(mask + byte, last, mask_bytes - byte);
  }
}

template <class L, Mode mode, Stores stores, typename T>
HWY_INLINE void WholeChunk(const T* in, T* out, uint8_t* mask, size_t elements, double slope) {
  if constexpr (stores == Stores::kStreaming) {
    constexpr size_t kVectorBytes = hn::MaxLanes(typename L::D()) * sizeof(T);
    const size_t head = (0 - reinterpret_cast<uintptr_t>(out)) % kVectorBytes / sizeof(T);
    if (head > 0 && head < elements) {
      return ForEachShiftedVector<L, mode>(in, out, mask, elements, L::MakeSlope(slope), head);
    }
    if (head > 0) return WholeChunk<L, mode, Stores::kCached>(in, out, mask, elements, slope);
  }
  ForEachVector<L, mode, stores>(in, out, mask, elements, L::MakeSlope(slope));
}

template <class L, Stores stores>
void Forward(const void* in, void* out, uint8_t* mask, size_t elements, double slope) {
  using T = hn::TFromD<typename L::D>;
  const T* x = static_cast<const T*>(in);
  T* y = static_cast<T*>(out);
  if (mask == nullptr) {
    WholeChunk<L, Mode::kForward, stores>(x, y, mask, elements, slope);
  } else if (y == nullptr) {
    WholeChunk<L, Mode::kMaskOnly, Stores::kCached>(x, y, mask, elements, slope);
  } else {
    WholeChunk<L, Mode::kForwardWithMask, stores>(x, y, mask, elements, slope);
  }
}

template <class L, Stores stores>
void Backward(const void* in, void* out, uint8_t* mask, size_t elements, double slope) {
  using T = hn::TFromD<typename L::D>;
  WholeChunk<L, Mode::kBackward, stores>(static_cast<const T*>(in), static_cast<T*>(out), mask, elements, slope);
}

#include "fused-inl.h"

const Kernels* Table() {
#define LEAKYRELU_FORWARD(constant, name, lanes, ...) &Forward<lanes, Stores::kCached>,
#define LEAKYRELU_BACKWARD(constant, name, lanes, ...) &Backward<lanes, Stores::kCached>,
#define LEAKYRELU_STREAMING_FORWARD(constant, name, lanes, ...) &Forward<lanes, Stores::kStreaming>,
#define LEAKYRELU_STREAMING_BACKWARD(constant, name, lanes, ...) &Backward<lanes, Stores::kStreaming>,
#define LEAKYRELU_FUSED_FORWARD(constant, name, lanes, ...) &FusedForward<lanes>,
#define LEAKYRELU_FUSED_BACKWARD(constant, name, lanes, ...) &FusedBackward<lanes>,
  static const Kernels kTable = {hwy::TargetName(HWY_TARGET),
                                 {LEAKYRELU_FOR_EACH_DTYPE(LEAKYRELU_FORWARD)},
                                 {LEAKYRELU_FOR_EACH_DTYPE(LEAKYRELU_BACKWARD)},
                                 {LEAKYRELU_FOR_EACH_DTYPE(LEAKYRELU_STREAMING_FORWARD)},
                                 {LEAKYRELU_FOR_EACH_DTYPE(LEAKYRELU_STREAMING_BACKWARD)},
                                 {LEAKYRELU_FOR_EACH_DTYPE(LEAKYRELU_FUSED_FORWARD)},
                                 {LEAKYRELU_FOR_EACH_DTYPE(LEAKYRELU_FUSED_BACKWARD)}};
#undef LEAKYRELU_FORWARD
#undef LEAKYRELU_BACKWARD
#undef LEAKYRELU_STREAMING_FORWARD
#undef LEAKYRELU_STREAMING_BACKWARD
#undef LEAKYRELU_FUSED_FORWARD
#undef LEAKYRELU_FUSED_BACKWARD
  return &kTable;
}

}  // namespace HWY_NAMESPACE
}  // namespace leakyrelu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace leakyrelu {
namespace {

HWY_EXPORT(Table);

// The table of one target. Highway's own dispatch is process-wide state, shared with every other user of libhwy; asking
// its table through a ChosenTarget of our own leaves that state alone.
const Kernels* TableOf(int64_t target) {
  if constexpr ((HWY_TARGETS & (HWY_TARGETS - 1)) == 0) return HWY_STATIC_DISPATCH(Table)();
  hwy::ChosenTarget chosen;
  chosen.Update(target);
  return HWY_DISPATCH_TABLE(Table)[chosen.GetIndex()]();
}

// One entry for each target in a set. No vector: calls, whose first one comes here, must not need memory.
template <class Entry>
class TargetList {
 public:
  // Best first: Highway gives better targets lower bits.
  template <class Make>
  TargetList(int64_t targets, Make make) {
    for (; targets != 0; targets &= targets - 1) entries_[size_++] = make(targets & -targets);
  }
  std::span<const Entry> entries() const { return {entries_, size_}; }

 private:
  Entry entries_[std::popcount(uint64_t{HWY_TARGETS})];
  size_t size_ = 0;
};

struct Choice {
  const Kernels* active;
  const char* ignored;  // what LEAKYRELU_TARGET asked for instead; null: nothing
};

Choice Choose() {
  const auto supported = SupportedKernels();
  const char* const name = std::getenv("LEAKYRELU_TARGET");
  if (name == nullptr || *name == '\0') return {supported.front(), nullptr};
  for (const Kernels* kernels : supported) {
    if (std::strcmp(kernels->target, name) == 0) return {kernels, nullptr};
  }
  return {supported.front(), name};
}

const Choice& TheChoice() {
  static const Choice choice = Choose();
  return choice;
}

}  // namespace

std::span<const Kernels* const> SupportedKernels() {
  static const TargetList<const Kernels*> list((hwy::SupportedTargets() | HWY_STATIC_TARGET) & HWY_TARGETS, TableOf);
  return list.entries();
}

const Kernels& ActiveKernels() { return *TheChoice().active; }

const char* IgnoredTarget() { return TheChoice().ignored; }

std::span<const char* const> CompiledTargets() {
  static const TargetList<const char*> list(HWY_TARGETS, hwy::TargetName);
  return list.entries();
}

}  // namespace leakyrelu

#endif  // HWY_ONCE
