// Bytes per second of each kernel for each instruction set and dtype, on one thread, beside memcpy and a plain loop.
//
// Bytes are those of the input read and the output written (the mask, 1/64 to 1/16 of these, is not counted), so
// that the ratio to memcpy of as many bytes reads off directly. Interleave to compare:
//   kernels_bench --benchmark_enable_random_interleaving=true --benchmark_repetitions=9
//
// Numbers are normal in both senses: half of them negative, none subnormal, for those slow any arithmetic down.

#include <benchmark/benchmark.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>

#include "kernels.h"
#include "plain_loop.h"

namespace {

using leakyrelu::DTypeInfo;
using leakyrelu::Kernels;

constexpr size_t kPage = 4096;

struct Free {
  void operator()(void* memory) const { std::free(memory); }
};
using Pages = std::unique_ptr<void, Free>;

Pages Allocate(size_t bytes) {
  Pages pages(std::aligned_alloc(kPage, bytes));
  std::memset(pages.get(), 0x55, bytes);
  return pages;
}

// Numbers of magnitude 1 to 2 and either sign.
const void* Input(const DTypeInfo& info, size_t bytes) {
  static std::map<std::pair<leakyrelu_dtype, size_t>, Pages> inputs;
  Pages& pages = inputs[{info.dtype, bytes}];
  if (pages == nullptr) {
    pages = Allocate(bytes);
    const int exponent_bits = info.dtype == LEAKYRELU_FLOAT16 ? 5 : info.dtype == LEAKYRELU_FLOAT64 ? 11 : 8;
    const int bits = static_cast<int>(8 * info.bytes);
    const int mantissa_bits = bits - 1 - exponent_bits;
    const uint64_t one = ((uint64_t{1} << (exponent_bits - 1)) - 1) << mantissa_bits;
    std::minstd_rand generator(1);
    for (size_t i = 0; i < bytes; i += info.bytes) {
      const uint64_t random = uint64_t{generator()} * 0x9E3779B97F4A7C15u;
      const uint64_t sign = (random >> 63) << (bits - 1);
      const uint64_t number = sign | one | (random & ((uint64_t{1} << mantissa_bits) - 1));
      std::memcpy(static_cast<char*>(pages.get()) + i, &number, info.bytes);
    }
  }
  return pages.get();
}

// 512 bytes into a page, so that it never has the input's address modulo a page, which stalls loads behind stores.
void* Output(size_t bytes) {
  static std::map<size_t, Pages> outputs;
  Pages& pages = outputs[bytes];
  if (pages == nullptr) pages = Allocate(bytes + kPage);
  return static_cast<char*>(pages.get()) + 512;
}

uint8_t* Mask(size_t bytes) {
  static std::map<size_t, Pages> masks;
  Pages& pages = masks[bytes];
  if (pages == nullptr) pages = Allocate(bytes / 16 + kPage);
  return static_cast<uint8_t*>(pages.get());
}

void Count(benchmark::State& state, size_t elements, size_t bytes) {
  state.SetBytesProcessed(state.iterations() * 2 * static_cast<int64_t>(bytes));
  state.counters["elements/ns"] = benchmark::Counter(
      static_cast<double>(state.iterations()) * static_cast<double>(elements) * 1e-9, benchmark::Counter::kIsRate);
}

void Memcpy(benchmark::State& state, size_t bytes) {
  const void* in = Input(leakyrelu::kDTypes[leakyrelu::DTypeIndex(LEAKYRELU_FLOAT32)], bytes);
  void* out = Output(bytes);
  for (auto _ : state) {
    std::memcpy(out, in, bytes);
    benchmark::ClobberMemory();
  }
  Count(state, bytes / sizeof(float), bytes);
}

void Plain(benchmark::State& state, const DTypeInfo& info, size_t bytes) {
  const void* in = Input(info, bytes);
  void* out = Output(bytes);
  for (auto _ : state) {
    PlainLoop(info.dtype, in, out, bytes / info.bytes, 0.01);
    benchmark::ClobberMemory();
  }
  Count(state, bytes / info.bytes, bytes);
}

void Run(benchmark::State& state, leakyrelu::Kernel kernel, const DTypeInfo& info, size_t bytes, bool with_mask) {
  const void* in = Input(info, bytes);
  void* out = Output(bytes);
  uint8_t* mask = with_mask ? Mask(bytes) : nullptr;
  for (auto _ : state) {
    kernel(in, out, mask, bytes / info.bytes, 0.01);
    benchmark::ClobberMemory();
  }
  Count(state, bytes / info.bytes, bytes);
}

std::string SizeName(size_t bytes) {
  return bytes < (size_t{1} << 20) ? std::to_string(bytes >> 10) + "KiB" : std::to_string(bytes >> 20) + "MiB";
}

void Register() {
  for (const size_t bytes : {size_t{16} << 10, size_t{256} << 10, size_t{256} << 20}) {
    const std::string size = SizeName(bytes);
    benchmark::RegisterBenchmark((size + "/memcpy").c_str(), Memcpy, bytes)->UseRealTime();
    for (const DTypeInfo& info : leakyrelu::kDTypes) {
      const std::string prefix = size + "/" + info.name + "/";
      benchmark::RegisterBenchmark((prefix + "plain_loop").c_str(), Plain, info, bytes)->UseRealTime();
      for (const Kernels* kernels : leakyrelu::SupportedKernels()) {
        const size_t dtype = leakyrelu::DTypeIndex(info.dtype);
        const std::string name = prefix + kernels->target + "/";
        benchmark::RegisterBenchmark((name + "forward").c_str(), Run, kernels->forward[dtype], info, bytes, false)
            ->UseRealTime();
        benchmark::RegisterBenchmark((name + "forward_mask").c_str(), Run, kernels->forward[dtype], info, bytes, true)
            ->UseRealTime();
        benchmark::RegisterBenchmark((name + "backward").c_str(), Run, kernels->backward[dtype], info, bytes, true)
            ->UseRealTime();
      }
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  Register();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
