// What several tests need: random numbers, guarded memory, arrays of any layout in canary-filled buffers.
#ifndef LEAKYRELU_TESTS_CORE_TEST_UTIL_H_
#define LEAKYRELU_TESTS_CORE_TEST_UTIL_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <numeric>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "leakyrelu/leakyrelu.h"
#include "oracle.h"
#include "pages.h"
#include "sanitizers.h"

namespace test_util {

#if defined(LEAKYRELU_TESTS_TSAN)
inline constexpr bool kThreadSanitizer = true;
#else
inline constexpr bool kThreadSanitizer = false;
#endif

// Under a sanitizer, sweeps are thinned out by about this factor.
#if defined(LEAKYRELU_TESTS_TSAN)
inline constexpr int kThinning = 16;
#elif defined(LEAKYRELU_TESTS_ASAN)
inline constexpr int kThinning = 4;
#else
inline constexpr int kThinning = 1;
#endif
inline constexpr bool kSanitized = kThinning > 1;

// Whether the processor is one of qemu's, which runs a program as a part of itself and asks the kernel in its place.
#if defined(LEAKYRELU_TESTS_QEMU)
inline constexpr bool kQemu = true;
#else
inline constexpr bool kQemu = false;
#endif

// What memory that must stay as it is gets filled with.
inline constexpr std::byte kCanary{0xA5};

// ---- Random numbers: print the seed with SCOPED_TRACE and a failure can be repeated

class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}

  uint64_t Bits() { return engine_(); }
  int64_t Between(int64_t low, int64_t high) {  // both included
    return low + static_cast<int64_t>(Bits() % static_cast<uint64_t>(high - low + 1));
  }
  bool OneIn(int64_t n) { return Between(1, n) == 1; }
  template <typename T>
  T Pick(const std::vector<T>& values) {
    return values[static_cast<size_t>(Between(0, static_cast<int64_t>(values.size()) - 1))];
  }
  template <typename T>
  void Shuffle(std::vector<T>* values) {
    std::shuffle(values->begin(), values->end(), engine_);
  }

 private:
  std::mt19937_64 engine_;
};

// ---- Elements as bits

inline uint64_t Load(const std::byte* from, int64_t bytes) {
  uint64_t bits = 0;
  std::memcpy(&bits, from, static_cast<size_t>(bytes));
  return bits;
}

inline void Store(std::byte* to, int64_t bytes, uint64_t bits) { std::memcpy(to, &bits, static_cast<size_t>(bytes)); }

// Special values and random bits of any kind, mixed.
inline uint64_t RandomValue(Random* random, oracle::DType dtype, const std::vector<uint64_t>& special) {
  const uint64_t bits = random->OneIn(3) ? random->Pick(special) : random->Bits();
  const uint64_t sign = oracle::SignBit(dtype);
  return bits & (sign | (sign - 1));
}

inline bool MaskBit(const uint8_t* mask, int64_t i) { return ((mask[i / 8] >> (i % 8)) & 1) != 0; }

inline void SetMaskBit(std::vector<uint8_t>* mask, int64_t i) {
  uint8_t& byte = (*mask)[static_cast<size_t>(i / 8)];
  byte = static_cast<uint8_t>(byte | (1 << (i % 8)));
}

// ---- Memory

// True if every byte of [begin, end) is the canary.
inline bool IsUntouched(const std::byte* begin, const std::byte* end) {
  return begin == end ||
         (*begin == kCanary && std::memcmp(begin, begin + 1, static_cast<size_t>(end - begin - 1)) == 0);
}

// Sets all bits where the next call will have its variables, so that what it reads there and has not written shows.
[[gnu::noinline]] inline void DirtyStack() {
  volatile unsigned char bytes[8192];
  for (size_t i = 0; i < sizeof(bytes); ++i) bytes[i] = 0xFF;
}

// ---- The C API's arrays

inline leakyrelu_dtype ApiDType(oracle::DType dtype) {
  switch (dtype) {
    case oracle::DType::kFloat16:
      return LEAKYRELU_FLOAT16;
    case oracle::DType::kBFloat16:
      return LEAKYRELU_BFLOAT16;
    case oracle::DType::kFloat32:
      return LEAKYRELU_FLOAT32;
    case oracle::DType::kFloat64:
      break;
  }
  return LEAKYRELU_FLOAT64;
}

using Dims = std::vector<int64_t>;

inline int64_t CountOf(const Dims& shape) {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

inline Dims COrder(const Dims& shape) {
  Dims strides(shape.size());
  int64_t stride = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    strides[i] = stride;
    stride *= shape[i];
  }
  return strides;
}

// The offset of every element, in C order of the shape.
inline Dims Offsets(const Dims& shape, const Dims& strides) {
  Dims offsets = {0};
  if (CountOf(shape) == 0) return {};
  for (size_t i = 0; i < shape.size(); ++i) {
    Dims next;
    next.reserve(offsets.size() * static_cast<size_t>(shape[i]));
    for (int64_t offset : offsets) {
      for (int64_t k = 0; k < shape[i]; ++k) next.push_back(offset + k * strides[i]);
    }
    offsets = std::move(next);
  }
  return offsets;
}

// Where an array lies in its guarded buffer: so many bytes behind the guard page before it, or before the one behind
// it.
struct Place {
  bool at_end = false;
  int64_t away = 0;
};

// An array of any layout in a guarded buffer of its own, all of which is canary at first.
class TestArray {
 public:
  TestArray(oracle::DType dtype, Dims shape, Dims strides, Place place = {})
      : dtype_(dtype),
        bytes_(oracle::FormatOf(dtype).bytes),
        shape_(std::move(shape)),
        strides_(std::move(strides)),
        offsets_(Offsets(shape_, strides_)),
        low_(offsets_.empty() ? 0 : *std::min_element(offsets_.begin(), offsets_.end())),
        high_(offsets_.empty() ? -1 : *std::max_element(offsets_.begin(), offsets_.end())),
        buffer_(static_cast<size_t>((high_ - low_ + 1) * bytes_ + place.away + 1)) {
    std::fill(buffer_.begin(), buffer_.end(), kCanary);
    data_ =
        place.at_end ? buffer_.end() - place.away - (high_ + 1) * bytes_ : buffer_.begin() + place.away - low_ * bytes_;
  }
  TestArray(const TestArray&) = delete;
  TestArray& operator=(const TestArray&) = delete;

  leakyrelu_array Api() {
    return {data_, ApiDType(dtype_), static_cast<int32_t>(shape_.size()), shape_.data(), strides_.data()};
  }
  int64_t elements() const { return static_cast<int64_t>(offsets_.size()); }

  // By position in C order of the shape.
  uint64_t Get(int64_t i) const { return Load(At(i), bytes_); }
  void Set(int64_t i, uint64_t bits) { Store(At(i), bytes_, bits); }

  void FillRandomly(Random* random) {
    const std::vector<uint64_t> special = oracle::SpecialValues(dtype_);
    for (int64_t i = 0; i < elements(); ++i) Set(i, RandomValue(random, dtype_, special));
  }

  // All of the buffer, to compare with later.
  std::vector<std::byte> Snapshot() const { return {buffer_.begin(), buffer_.end()}; }

  // True if all but the elements is as it was.
  bool IsUntouchedOutsideElements(std::vector<std::byte> snapshot) const {
    for (int64_t i = 0; i < elements(); ++i) std::copy_n(At(i), bytes_, snapshot.data() + (At(i) - buffer_.begin()));
    return snapshot == Snapshot();
  }

 private:
  std::byte* At(int64_t i) const { return data_ + offsets_[static_cast<size_t>(i)] * bytes_; }

  oracle::DType dtype_;
  int64_t bytes_;
  Dims shape_;
  Dims strides_;
  Dims offsets_;
  int64_t low_;  // of the offsets
  int64_t high_;
  GuardedBuffer buffer_;
  std::byte* data_;  // element (0, 0, ...)
};

// ---- Random layouts

inline Dims RandomShape(Random* random, int64_t max_elements) {
  static const Dims kExtents = {1, 1, 2, 2, 3, 4, 5, 7, 8, 9, 16, 17, 63, 64, 65, 100, 130, 300};
  Dims shape(static_cast<size_t>(random->Between(0, 6)));
  int64_t room = max_elements;
  for (int64_t& extent : shape) {
    do extent = random->Pick(kExtents);
    while (extent > room);
    room /= extent;
  }
  random->Shuffle(&shape);
  if (!shape.empty() && random->OneIn(40)) shape[0] = 0;
  return shape;
}

// C order, or dims permuted, with gaps, and some backwards. No element is there twice.
inline Dims DistinctStrides(Random* random, const Dims& shape) {
  if (random->OneIn(4)) return COrder(shape);
  std::vector<size_t> order(shape.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::reverse(order.begin(), order.end());
  if (random->OneIn(2)) random->Shuffle(&order);
  const bool has_gaps = random->OneIn(2);
  const bool has_reversed = random->OneIn(2);
  Dims strides(shape.size());
  int64_t next = has_gaps ? random->Between(1, 3) : 1;
  for (size_t dim : order) {
    strides[dim] = has_reversed && random->OneIn(2) ? -next : next;
    next = next * std::max<int64_t>(1, shape[dim]) + (has_gaps && random->OneIn(2) ? random->Between(0, 5) : 0);
  }
  return strides;
}

// What may be read: as above, or with strides of 0 (broadcast), or with windows that slide over one another.
inline Dims ReadableStrides(Random* random, const Dims& shape) {
  Dims strides = DistinctStrides(random, shape);
  switch (random->Between(0, 3)) {
    case 0:
      for (int64_t& stride : strides) stride = random->OneIn(2) ? 0 : stride;
      break;
    case 1:
      for (int64_t& stride : strides) stride = random->OneIn(2) ? random->Between(-3, 3) : stride;
      break;
    default:
      break;
  }
  return strides;
}

// ---- Executors

// As many threads as tasks.
inline void RunOnStdThreads(void* /*context*/, int64_t tasks, leakyrelu_task task, void* work) {
  std::vector<std::thread> threads;
  for (int64_t i = 1; i < tasks; ++i) threads.emplace_back(task, work, i);
  task(work, 0);
  for (std::thread& thread : threads) thread.join();
}

// On the caller's thread, last task first.
inline void RunBackwards(void* /*context*/, int64_t tasks, leakyrelu_task task, void* work) {
  for (int64_t i = tasks; i-- > 0;) task(work, i);
}

}  // namespace test_util

#endif  // LEAKYRELU_TESTS_CORE_TEST_UTIL_H_
