// Copies, leakyrelu.h, the plain loop on several threads, and multiplications; compiled with -O3 -march=native.

#include "native.h"

#include <hwy/cache_control.h>
#include <hwy/highway.h>
#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "plain_loop.h"

namespace {

namespace hn = hwy::HWY_NAMESPACE;

constexpr std::size_t kLine = 64;                   // bytes of a cache line
constexpr std::size_t kParallelBytes = 256 * 1024;  // below this one thread is faster
constexpr std::size_t kMultiplicationsAtATime = 1 << 16;

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

std::size_t MaskBytes(std::size_t elements) { return leakyrelu_mask_bytes(static_cast<std::int64_t>(elements)); }

}  // namespace

void native_set_num_threads(std::int32_t num_threads) {
  omp_set_num_threads(num_threads);
  leakyrelu_set_num_threads(num_threads);
}

void native_run(Call* call) { call->Run(); }

void native_destroy(Call* call) { delete call; }

Call* native_forward(leakyrelu_dtype dtype, const void* x, void* y, std::uint8_t* mask, std::size_t elements,
                     double negative_slope) {
  const std::size_t mask_bytes = mask != nullptr ? MaskBytes(elements) : 0;
  return MakeCall([=, count = static_cast<std::int64_t>(elements)] {
    const leakyrelu_array in = View(dtype, x, count), out = View(dtype, y, count);
    leakyrelu_forward(&in, &out, negative_slope, mask, mask_bytes, nullptr);
  });
}

Call* native_backward(leakyrelu_dtype dtype, const void* dy, const std::uint8_t* mask, void* dx, std::size_t elements,
                      double negative_slope) {
  return MakeCall([=, count = static_cast<std::int64_t>(elements), mask_bytes = MaskBytes(elements)] {
    const leakyrelu_array in = View(dtype, dy, count), out = View(dtype, dx, count);
    leakyrelu_backward(&in, mask, mask_bytes, &out, negative_slope, nullptr);
  });
}

Call* native_memcpy(const void* x, void* y, std::size_t bytes) {
  return MakeCall([=] {
    ForEachPart(bytes, [=](std::size_t begin, std::size_t end) {
      std::memcpy(static_cast<std::uint8_t*>(y) + begin, static_cast<const std::uint8_t*>(x) + begin, end - begin);
    });
  });
}

Call* native_stream(const void* x, void* y, std::size_t bytes) {
  return MakeCall([=] {
    ForEachPart(bytes, [=](std::size_t begin, std::size_t end) {
      Stream(static_cast<const std::uint8_t*>(x) + begin, static_cast<std::uint8_t*>(y) + begin, end - begin);
    });
  });
}

Call* native_plain_loop(leakyrelu_dtype dtype, const void* x, void* y, std::size_t elements, double negative_slope) {
  const std::size_t itemsize = dtype == LEAKYRELU_FLOAT64 ? 8 : dtype == LEAKYRELU_FLOAT32 ? 4 : 2;
  return MakeCall([=] {
    ForEachPart(elements * itemsize, [=](std::size_t begin, std::size_t end) {
      PlainLoop(dtype, static_cast<const std::uint8_t*>(x) + begin, static_cast<std::uint8_t*>(y) + begin,
                (end - begin) / itemsize, negative_slope);
    });
  });
}

void native_multiply(std::size_t multiplications) {
  const hn::ScalableTag<float> d;
  volatile float one = 1.0f;  // not known to the compiler
  const auto factor = hn::Set(d, one);
#pragma omp parallel for schedule(static)
  for (std::size_t i = 0; i < multiplications / kMultiplicationsAtATime; ++i) {
    // Eight chains, so that none waits for its own result.
    auto a = factor, b = factor, c = factor, e = factor, f = factor, g = factor, h = factor, j = factor;
    for (std::size_t k = 0; k < kMultiplicationsAtATime; k += 8 * hn::Lanes(d)) {
      a = hn::Mul(a, factor), b = hn::Mul(b, factor), c = hn::Mul(c, factor), e = hn::Mul(e, factor);
      f = hn::Mul(f, factor), g = hn::Mul(g, factor), h = hn::Mul(h, factor), j = hn::Mul(j, factor);
    }
    const auto sum = hn::Add(hn::Add(hn::Add(a, b), hn::Add(c, e)), hn::Add(hn::Add(f, g), hn::Add(h, j)));
    volatile float sink = hn::GetLane(sum);
    static_cast<void>(sink);
  }
}
