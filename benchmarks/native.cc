// What Python loads by ctypes (native.py): leakyrelu.h, copies as its limits, and the loop that one would write
// instead.
//
// Compiled with -O3 -march=native: the best that the compiler makes of that loop. All memory is contiguous and stays
// where it is.

#include <hwy/cache_control.h>
#include <hwy/highway.h>
#include <omp.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>

#include "leakyrelu/leakyrelu.h"

// One call with its arguments, so that Python passes one pointer whatever is called: each argument takes ctypes some
// 40 ns, which is no side's work.
using Call = std::function<void()>;

namespace {

namespace hn = hwy::HWY_NAMESPACE;

constexpr std::size_t kLine = 64;                   // bytes of a cache line
constexpr std::size_t kParallelBytes = 256 * 1024;  // below this one thread is faster

// Calls work(begin, end) for parts of [0, bytes), one for each thread, that begin at multiples of a cache line.
template <class Work>
void ForEachPart(std::size_t bytes, Work work) {
  const auto parts = static_cast<std::size_t>(bytes < kParallelBytes ? 1 : omp_get_max_threads());
  if (parts == 1) return work(std::size_t{0}, bytes);
  const std::size_t part = (bytes / parts + kLine - 1) / kLine * kLine;
#pragma omp parallel for schedule(static, 1)
  for (std::size_t i = 0; i < parts; ++i) {
    const std::size_t begin = std::min(bytes, i * part);
    work(begin, i + 1 == parts ? bytes : std::min(bytes, begin + part));
  }
}

void Stream(const std::uint8_t* x, std::uint8_t* y, std::size_t bytes) {
  const hn::ScalableTag<std::uint8_t> d;
  const std::size_t lanes = hn::Lanes(d);
  const std::size_t head = std::min(bytes, (lanes - reinterpret_cast<std::uintptr_t>(y) % lanes) % lanes);
  std::memcpy(y, x, head);
  std::size_t i = head;
  for (; i + lanes <= bytes; i += lanes) hn::Stream(hn::LoadU(d, x + i), d, y + i);
  hwy::FlushStream();
  std::memcpy(y + i, x + i, bytes - i);
}

leakyrelu_array View(leakyrelu_dtype dtype, const void* data, const std::int64_t& elements) {
  return {const_cast<void*>(data), dtype, 1, &elements, nullptr};
}

void PlainLoop(const float* x, float* y, std::size_t elements, float slope) {
  for (std::size_t i = 0; i < elements; ++i) y[i] = x[i] > 0 ? x[i] : x[i] * slope;
}

std::size_t MaskBytes(std::size_t elements) { return leakyrelu_mask_bytes(static_cast<std::int64_t>(elements)); }

}  // namespace

extern "C" {

// Of everything below, in the whole process.
void native_set_num_threads(std::int32_t num_threads) {
  omp_set_num_threads(num_threads);
  leakyrelu_set_num_threads(num_threads);
}

void native_run(Call* call) { (*call)(); }

void native_destroy(Call* call) { delete call; }

// mask: may be null.
Call* native_forward(leakyrelu_dtype dtype, const void* x, void* y, std::uint8_t* mask, std::size_t elements,
                     double negative_slope) {
  const std::size_t mask_bytes = mask != nullptr ? MaskBytes(elements) : 0;
  return new Call([=, count = static_cast<std::int64_t>(elements)] {
    const leakyrelu_array in = View(dtype, x, count), out = View(dtype, y, count);
    leakyrelu_forward(&in, &out, negative_slope, mask, mask_bytes, nullptr);
  });
}

Call* native_backward(leakyrelu_dtype dtype, const void* dy, const std::uint8_t* mask, void* dx, std::size_t elements,
                      double negative_slope) {
  return new Call([=, count = static_cast<std::int64_t>(elements), mask_bytes = MaskBytes(elements)] {
    const leakyrelu_array in = View(dtype, dy, count), out = View(dtype, dx, count);
    leakyrelu_backward(&in, mask, mask_bytes, &out, negative_slope, nullptr);
  });
}

// x and y: disjoint.
Call* native_memcpy(const void* x, void* y, std::size_t bytes) {
  return new Call([=] {
    ForEachPart(bytes, [=](std::size_t begin, std::size_t end) {
      std::memcpy(static_cast<std::uint8_t*>(y) + begin, static_cast<const std::uint8_t*>(x) + begin, end - begin);
    });
  });
}

// The same with stores that go past the cache.
Call* native_stream(const void* x, void* y, std::size_t bytes) {
  return new Call([=] {
    ForEachPart(bytes, [=](std::size_t begin, std::size_t end) {
      Stream(static_cast<const std::uint8_t*>(x) + begin, static_cast<std::uint8_t*>(y) + begin, end - begin);
    });
  });
}

// Null unless float32.
Call* native_plain_loop(leakyrelu_dtype dtype, const void* x, void* y, std::size_t elements, double negative_slope) {
  if (dtype != LEAKYRELU_FLOAT32) return nullptr;
  return new Call([=, slope = static_cast<float>(negative_slope)] {
    ForEachPart(elements * sizeof(float), [=](std::size_t begin, std::size_t end) {
      PlainLoop(static_cast<const float*>(x) + begin / sizeof(float), static_cast<float*>(y) + begin / sizeof(float),
                (end - begin) / sizeof(float), slope);
    });
  });
}

}  // extern "C"
