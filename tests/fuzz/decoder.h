// From a fuzzer's bytes to arrays, masks and numbers, mostly right ones.
#ifndef LEAKYRELU_TESTS_FUZZ_DECODER_H_
#define LEAKYRELU_TESTS_FUZZ_DECODER_H_

#include <algorithm>
#include <bit>
#include <cfloat>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "arena.h"
#include "leakyrelu/leakyrelu.h"

namespace fuzz {

// The fuzzer's bytes, and zeros behind them. Zero is always the most usual choice.
class Source {
 public:
  Source(const uint8_t* data, size_t size) : data_(data), end_(data + size) {}

  uint64_t Take(int bytes) {
    uint64_t value = 0;
    for (int i = 0; i < bytes && data_ != end_; ++i) value |= uint64_t{*data_++} << (8 * i);
    return value;
  }
  int64_t Below(int64_t limit) {
    return static_cast<int64_t>(Take(limit <= 256 ? 1 : 3) % static_cast<uint64_t>(limit));
  }
  bool OneIn(int64_t count) { return Below(count) == count - 1; }
  template <class T, size_t size>
  T Pick(const T (&choices)[size]) {
    return choices[Below(size)];
  }
  int64_t Wild() {
    constexpr int64_t kChoices[] = {
        -1,      kLeast,     kMost,     kMost / 2 + 1, kMost / 8,    int64_t{1} << 31, int64_t{1} << 32,
        1 << 20, -(1 << 20), kMost / 4, kLeast + 1,    -(kMost / 8), 3'037'000'500};
    return OneIn(2) ? static_cast<int64_t>(Take(8)) : Pick(kChoices);
  }
  double Number() {
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
    constexpr double kChoices[] = {0.01,       1.0,   0.0,   -0.0,    -0.2,        1.4142135623730951,    kInfinity,
                                   -kInfinity, kNaN,  1e-45, FLT_MAX, -FLT_MAX,    3.4028234663852887e38, DBL_MAX,
                                   -1e300,     256.0, 0.5,   FLT_MIN, DBL_TRUE_MIN};
    return OneIn(4) ? std::bit_cast<double>(Take(8)) : Pick(kChoices);
  }

 private:
  const uint8_t* data_;
  const uint8_t* end_;
};

using Numbers = std::vector<int64_t>;

// An array whose shape and strides are as long as they must be, and not longer.
struct View {
  leakyrelu_array array = {};
  std::unique_ptr<int64_t[]> shape;
  std::unique_ptr<int64_t[]> strides;
};

inline std::unique_ptr<int64_t[]> Exactly(const Numbers& numbers) {
  auto copy = std::make_unique<int64_t[]>(numbers.size());
  std::copy(numbers.begin(), numbers.end(), copy.get());
  return copy;
}

inline int64_t ItemSize(leakyrelu_dtype dtype) {
  return dtype == LEAKYRELU_FLOAT64 ? 8 : dtype == LEAKYRELU_FLOAT32 ? 4 : 2;
}
inline bool IsDType(leakyrelu_dtype dtype) { return dtype >= LEAKYRELU_FLOAT16 && dtype <= LEAKYRELU_FLOAT64; }

class Decoder {
 public:
  Decoder(const uint8_t* data, size_t size)
      : source(data, size),
        is_large(source.OneIn(32)),
        bytes(is_large ? kArenaBytes : kSmallArenaBytes),
        dtype(OneDType()) {}

  leakyrelu_dtype OneDType() {
    constexpr int32_t kChoices[] = {3, 1, 2, 4, 3, 1, 2, 4, 3, 1, 2, 4, 0, 5, -1, 1 << 30};
    return static_cast<leakyrelu_dtype>(source.Pick(kChoices));
  }

  // The output, beside the input: mostly of its shape, sometimes its very elements or others not far from them.
  View OneOutput(const View& in) {
    const Numbers shape = in.array.shape != nullptr && in.array.ndim > 0
                              ? Numbers(in.array.shape, in.array.shape + in.array.ndim)
                              : Numbers();
    const int64_t kind = source.Below(8);
    if (kind == 7) return OneView(OneShape(), OneDType());
    View out = OneView(shape, source.OneIn(32) ? OneDType() : in.array.dtype);
    if (kind < 4) return out;
    out.array.data = in.array.data;
    if (kind < 6) {
      if (in.array.strides != nullptr)
        out.strides = Exactly(Numbers(in.array.strides, in.array.strides + shape.size()));
      out.array.strides = in.array.strides != nullptr ? out.strides.get() : nullptr;
    }
    if (kind == 5) {
      const int64_t unit = source.OneIn(4) ? 1 : ItemSize(dtype);
      const auto away = static_cast<uintptr_t>(static_cast<int8_t>(source.Take(1)) * unit);
      out.array.data = reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(in.array.data) + away);
    }
    return out;
  }

  Numbers OneShape() {
    constexpr int64_t kUsual[] = {2, 3, 1, 4, 5, 7, 8, 9, 16, 17, 31, 33, 63, 64, 65, 100, 257, 300, 513, 1000, 0};
    constexpr int64_t kLarge[] = {2, 3, 70'001, 33'000, 1, 257, 1024, 17, 65'536, 300};
    const int64_t kind = source.Below(16);
    Numbers shape(static_cast<size_t>(kind < 14 ? source.Below(6) : source.Below(81)));
    int64_t left = is_large ? kMaxElements : kSmallMaxElements;
    for (int64_t& extent : shape) {
      extent = is_large ? source.Pick(kLarge) : source.Pick(kUsual);
      if (source.OneIn(64)) {
        extent = source.Wild();
      } else if (extent > left) {
        extent = 1;
      }
      if (extent > 0) left /= extent;
    }
    return shape;
  }

  View OneView(const Numbers& shape, leakyrelu_dtype its_dtype) {
    View view;
    view.array.dtype = its_dtype;
    view.array.ndim = static_cast<int32_t>(shape.size());
    view.shape = Exactly(shape);
    if (!shape.empty() || source.OneIn(2)) view.array.shape = view.shape.get();
    const Numbers strides = OneStrides(shape);
    if (strides.size() == shape.size()) {
      view.strides = Exactly(strides);
      view.array.strides = view.strides.get();
    }
    view.array.data = Place(shape, strides, ItemSize(its_dtype));
    if (source.OneIn(64)) view.array.shape = nullptr;
    if (source.OneIn(64)) view.array.ndim = static_cast<int32_t>(source.Take(4) | 0x80000000u);
    return view;
  }

  // As in views of larger arrays, permuted and turned round, or anything; one too many for none.
  Numbers OneStrides(const Numbers& shape) {
    Numbers strides(shape.size());
    const int64_t kind = source.Below(8);
    if (kind < 2) return Numbers(shape.size() + 1);
    if (kind == 7) {
      for (int64_t& stride : strides) stride = source.OneIn(8) ? source.Wild() : static_cast<int8_t>(source.Take(1));
      return strides;
    }
    std::vector<size_t> order;  // innermost first
    for (size_t i = 0; i < shape.size(); ++i) {
      order.insert(order.begin() + (kind < 5 ? 0 : source.Below(static_cast<int64_t>(i) + 1)), i);
    }
    Wide step = 1;
    for (const size_t i : order) {
      const uint64_t choice = source.Take(1);
      if (choice % 8 == 7) ++step;
      if (choice % 16 >= 12) step *= 2;
      if (step > kMost || step < kLeast) step = 1;
      const auto stride = static_cast<int64_t>(step);
      strides[i] = choice / 16 == 15 ? 0 : choice / 16 >= 10 ? -stride : stride;
      if (choice / 16 != 15) step *= std::clamp<int64_t>(shape[i], 1, kArenaBytes);
    }
    return strides;
  }

  // An address with which all elements lie in the arena, if there is one; or none, or any.
  void* Place(const Numbers& shape, const Numbers& strides, int64_t itemsize) {
    if (source.OneIn(64)) return nullptr;
    if (source.OneIn(128)) return reinterpret_cast<void*>(source.Wild());
    Wide low = 0;
    Wide high = itemsize;
    Wide step = 1;
    for (size_t i = shape.size(); i-- > 0;) {
      const Wide stride = strides.size() == shape.size() ? Wide{strides[i]} : step;
      const Wide reach = std::clamp<Wide>((Wide{shape[i]} - 1) * stride, kLeast, kMost) * itemsize;
      (reach < 0 ? low : high) += reach;
      step = std::min<Wide>(step * std::max<int64_t>(shape[i], 1), kMost);
    }
    const Wide room = bytes - (high - low);
    int64_t offset = room > 0 ? source.Below(static_cast<int64_t>(room) + 1) : 0;
    if (!source.OneIn(4)) offset = offset / itemsize * itemsize;
    const auto first = static_cast<uintptr_t>(room >= 0 ? static_cast<int64_t>(offset - low) : 0);
    return reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(arena) + first);
  }

  uint8_t* PlaceMask(size_t mask_bytes) {
    return static_cast<uint8_t*>(Place({static_cast<int64_t>(mask_bytes)}, {1}, 1));
  }

  Source source;
  const bool is_large;
  const int64_t bytes;  // of the arena
  const leakyrelu_dtype dtype;
};

}  // namespace fuzz

#endif  // LEAKYRELU_TESTS_FUZZ_DECODER_H_
