// What is wrong with a call: by the header's rules, and by a map of the bytes that each of its arrays has.
#ifndef LEAKYRELU_TESTS_FUZZ_JUDGEMENT_H_
#define LEAKYRELU_TESTS_FUZZ_JUDGEMENT_H_

#include <algorithm>
#include <array>
#include <cfloat>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <set>
#include <vector>

#include "arena.h"
#include "decoder.h"
#include "leakyrelu/leakyrelu.h"

namespace fuzz {

// The statuses that a call may return, other than LEAKYRELU_OK.
class Verdict {
 public:
  void Add(leakyrelu_status status, bool is_wrong = true) {
    if (!is_wrong) return;
    statuses_.insert(status);
    is_wrong_ = true;
  }
  void AddPossible(std::initializer_list<leakyrelu_status> statuses) { statuses_.insert(statuses); }
  bool is_wrong() const { return is_wrong_; }
  bool Allows(leakyrelu_status status) const { return statuses_.count(status) != 0; }

 private:
  std::set<leakyrelu_status> statuses_;
  bool is_wrong_ = false;
};

// Where an array's or a mask's elements are.
struct Elements {
  int64_t count = -1;         // -1: its shape does not say
  bool are_in_arena = false;  // few enough, and all of them
  Numbers at;                 // then: the offset of each into the arena, in C order
};

inline Wide AddressOf(const void* pointer) { return static_cast<Wide>(reinterpret_cast<uintptr_t>(pointer)); }

inline Elements Judge(const leakyrelu_array& array, int64_t itemsize, int64_t arena_bytes, Verdict* verdict) {
  Elements found;
  verdict->Add(LEAKYRELU_ERROR_NDIM, array.ndim < 0);
  verdict->Add(LEAKYRELU_ERROR_NULL_SHAPE, array.ndim > 0 && array.shape == nullptr);
  if (array.ndim < 0 || (array.ndim > 0 && array.shape == nullptr)) return found;
  const Numbers shape(array.shape, array.shape + array.ndim);
  verdict->Add(LEAKYRELU_ERROR_SHAPE, std::any_of(shape.begin(), shape.end(), [](int64_t n) { return n < 0; }));
  const bool is_empty = std::count(shape.begin(), shape.end(), 0) > 0;
  Wide count = 1;
  for (const int64_t extent : shape) {
    if (extent < 0) return found;
    count = std::min<Wide>(count * (is_empty ? 0 : extent), Wide{kMost} + 1);
  }
  verdict->Add(LEAKYRELU_ERROR_TOO_LARGE, count > kMost);
  if (count > kMost) return found;
  found.count = static_cast<int64_t>(count);
  found.are_in_arena = found.count == 0;
  if (found.count == 0) return found;
  verdict->Add(LEAKYRELU_ERROR_NULL_DATA, array.data == nullptr);
  if (array.data == nullptr) return found;

  Numbers strides;
  Wide low = AddressOf(array.data);
  Wide high = low + itemsize - 1;
  for (const int64_t extent : shape) {
    count /= extent;
    strides.push_back(array.strides != nullptr ? array.strides[strides.size()] : static_cast<int64_t>(count));
    constexpr Wide kFar = Wide{1} << 65;
    const Wide reach = std::clamp<Wide>(Wide{extent - 1} * strides.back(), -kFar, kFar) * itemsize;
    (reach < 0 ? low : high) += reach;
  }
  constexpr Wide kTop = (Wide{1} << 64) - 1;
  verdict->Add(LEAKYRELU_ERROR_TOO_LARGE, low < 0 || high > kTop || high - low > kMost);
  found.are_in_arena = low >= AddressOf(arena) && high < AddressOf(arena) + arena_bytes && found.count <= kMaxElements;
  for (int64_t i = 0; found.are_in_arena && i < found.count; ++i) {
    int64_t offset = static_cast<int64_t>(AddressOf(array.data) - AddressOf(arena));
    int64_t rest = i;
    for (size_t dim = shape.size(); dim-- > 0;) {
      offset += rest % shape[dim] * strides[dim] * itemsize;
      rest /= shape[dim];
    }
    found.at.push_back(offset);
  }
  return found;
}

inline size_t MaskBytes(int64_t elements) { return elements > 0 ? static_cast<size_t>((Wide{elements} + 7) / 8) : 0; }

struct Call {
  bool is_forward = false;
  bool is_fused = false;
  const leakyrelu_array* in = nullptr;
  const leakyrelu_array* out = nullptr;
  double slope = 0;
  uint8_t* mask = nullptr;
  uint8_t* within = nullptr;
  size_t mask_bytes = 0;
  const leakyrelu_fused* fused = nullptr;
  const leakyrelu_executor* executor = nullptr;

  leakyrelu_status Run() const {
    if (!is_fused && is_forward) return leakyrelu_forward(in, out, slope, mask, mask_bytes, executor);
    if (!is_fused) return leakyrelu_backward(in, mask, mask_bytes, out, slope, executor);
    if (is_forward) return leakyrelu_fused_forward(in, out, fused, slope, mask, within, mask_bytes, executor);
    return leakyrelu_fused_backward(in, mask, within, mask_bytes, out, fused, slope, executor);
  }
};

// A call's memory, and what is wrong with the call.
struct Judgement {
  Judgement(const Call& call, int64_t arena_bytes);

  bool Share(unsigned some, unsigned others) const {
    return std::any_of(meetings.begin(), meetings.end(),
                       [=](unsigned owners) { return (owners & some) != 0 && (owners & others) != 0; });
  }
  // True if an element is there twice.
  bool Mark(const Elements& elements, int64_t bytes_each, unsigned owner) {
    bool is_twice = false;
    for (const int64_t at : elements.at) {
      is_twice |= (owners[static_cast<size_t>(at)] & owner) != 0;
      for (int64_t i = 0; i < bytes_each; ++i) {
        uint8_t& all = owners[static_cast<size_t>(at + i)];
        all = static_cast<uint8_t>(all | owner);
        meetings[all] = all;
      }
      ASAN_UNPOISON_MEMORY_REGION(arena + at, static_cast<size_t>(bytes_each));
    }
    return is_twice;
  }
  void JudgeFused(const Call& call);

  enum Owner : unsigned { kIn = 1, kOut = 2, kMask = 4, kWithin = 8, kBias = 16 };

  Verdict verdict;
  int64_t itemsize = 1;
  Elements in, out, mask, within, bias;
  std::vector<uint8_t> owners;             // of each byte of the arena
  std::array<unsigned, 32> meetings = {};  // of owners in some byte
  bool are_in_arena = true;
};

inline bool Overflows(double number, leakyrelu_dtype dtype) {
  return dtype != LEAKYRELU_FLOAT64 && std::isfinite(number) && std::fabs(number) > FLT_MAX;
}

inline Judgement::Judgement(const Call& call, int64_t arena_bytes) : owners(static_cast<size_t>(arena_bytes)) {
  if (call.executor != nullptr) {
    verdict.Add(LEAKYRELU_ERROR_EXECUTOR, call.executor->parallel_for == nullptr);
    verdict.Add(LEAKYRELU_ERROR_NUM_THREADS, call.executor->num_threads < 1);
  }
  verdict.Add(LEAKYRELU_ERROR_NULL_INPUT, call.in == nullptr);
  const bool needs_out = call.is_fused || !call.is_forward || call.mask == nullptr;
  verdict.Add(LEAKYRELU_ERROR_NULL_OUTPUT, call.out == nullptr && needs_out);
  if (call.in == nullptr || (call.out == nullptr && needs_out)) return;

  const leakyrelu_dtype dtype = call.in->dtype;
  itemsize = ItemSize(dtype);
  verdict.Add(LEAKYRELU_ERROR_DTYPE, !IsDType(dtype));
  verdict.Add(LEAKYRELU_ERROR_SLOPE_OVERFLOW, Overflows(call.slope, dtype));
  in = Judge(*call.in, itemsize, arena_bytes, &verdict);
  Mark(in, itemsize, kIn);
  if (call.out != nullptr) {
    const int32_t ndim = call.out->ndim;
    verdict.Add(LEAKYRELU_ERROR_DTYPE, !IsDType(call.out->dtype));
    verdict.Add(LEAKYRELU_ERROR_DTYPE_MISMATCH, call.out->dtype != dtype);
    out = Judge(*call.out, itemsize, arena_bytes, &verdict);
    const bool have_shapes = in.count >= 0 && out.count >= 0;
    verdict.Add(
        LEAKYRELU_ERROR_SHAPE_MISMATCH,
        have_shapes && (ndim != call.in->ndim || !std::equal(call.in->shape, call.in->shape + ndim, call.out->shape)));
    verdict.Add(LEAKYRELU_ERROR_OUTPUT_REPEATS, Mark(out, itemsize, kOut));
    verdict.Add(LEAKYRELU_ERROR_OVERLAP, in.at != out.at && Share(kIn, kOut));
  }
  const size_t right_bytes = MaskBytes(in.count);
  verdict.Add(LEAKYRELU_ERROR_NULL_MASK, !call.is_forward && call.mask == nullptr && in.count > 0);
  const bool is_right_length = call.mask_bytes == (call.mask != nullptr ? right_bytes : 0);
  verdict.Add(LEAKYRELU_ERROR_MASK_BYTES, in.count >= 0 && !is_right_length);
  const auto judge_mask = [&](const uint8_t* data, unsigned owner, Elements* bits) {
    bits->are_in_arena = true;
    if (data == nullptr || in.count <= 0 || !is_right_length) return;
    const auto length = static_cast<int64_t>(right_bytes);
    Verdict unused;  // a mask where none can be is not seen
    *bits = Judge({const_cast<uint8_t*>(data), {}, 1, &length, nullptr}, 1, arena_bytes, &unused);
    Mark(*bits, 1, owner);
  };
  judge_mask(call.mask, kMask, &mask);
  verdict.Add(LEAKYRELU_ERROR_MASK_OVERLAP, Share(kMask, call.is_forward ? kIn | kOut : kOut));
  are_in_arena = in.are_in_arena && mask.are_in_arena && (call.out == nullptr || out.are_in_arena);
  if (call.is_fused) {
    judge_mask(call.within, kWithin, &within);
    are_in_arena &= within.are_in_arena;
    JudgeFused(call);
  }
  if (!are_in_arena || !is_right_length) {  // what was not looked at
    verdict.AddPossible({LEAKYRELU_ERROR_OVERLAP, LEAKYRELU_ERROR_OUTPUT_REPEATS, LEAKYRELU_ERROR_MASK_OVERLAP,
                         LEAKYRELU_ERROR_BIAS_OVERLAP});
  }
}

inline void Judgement::JudgeFused(const Call& call) {
  verdict.Add(LEAKYRELU_ERROR_NULL_FUSED, call.fused == nullptr);
  if (call.fused == nullptr) return;
  const leakyrelu_fused& fused = *call.fused;
  verdict.Add(LEAKYRELU_ERROR_SCALE_OVERFLOW, Overflows(fused.scale, call.in->dtype));
  verdict.Add(LEAKYRELU_ERROR_CLAMP,
              std::isnan(fused.clamp) || fused.clamp < 0 || Overflows(fused.clamp, call.in->dtype));
  const bool wants_within = call.mask != nullptr && std::isfinite(fused.clamp);
  verdict.Add(LEAKYRELU_ERROR_WITHIN, wants_within != (call.within != nullptr));
  verdict.Add(LEAKYRELU_ERROR_MASK_OVERLAP, Share(kWithin, call.is_forward ? kIn | kOut | kMask : kOut));
  if (!call.is_forward || fused.bias == nullptr) return;

  const leakyrelu_array& array = *fused.bias;
  const bool is_dim = fused.dim >= 0 && fused.dim < call.in->ndim;
  verdict.Add(LEAKYRELU_ERROR_DIM, !is_dim);
  verdict.Add(LEAKYRELU_ERROR_BIAS_DTYPE, array.dtype != call.in->dtype);
  verdict.Add(LEAKYRELU_ERROR_BIAS_SHAPE, array.ndim != 1);
  verdict.Add(LEAKYRELU_ERROR_NULL_SHAPE, array.ndim == 1 && array.shape == nullptr);
  if (array.ndim != 1 || array.shape == nullptr || !is_dim || in.count < 0) return;
  verdict.Add(LEAKYRELU_ERROR_BIAS_SHAPE, array.shape[0] != call.in->shape[fused.dim]);
  if (array.shape[0] != call.in->shape[fused.dim] || in.count == 0) return;
  bias = Judge(array, itemsize, static_cast<int64_t>(owners.size()), &verdict);
  are_in_arena &= bias.are_in_arena;
  Mark(bias, itemsize, kBias);
  verdict.Add(LEAKYRELU_ERROR_BIAS_OVERLAP, Share(kBias, kOut));
  verdict.Add(LEAKYRELU_ERROR_MASK_OVERLAP, Share(kBias, kMask | kWithin));
}

}  // namespace fuzz

#endif  // LEAKYRELU_TESTS_FUZZ_JUDGEMENT_H_
