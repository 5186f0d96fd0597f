// Bytes a second of each kernel for each instruction set and dtype, on one thread, beside memcpy and a plain loop.
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
#include <memory>
#include <random>
#include <string>

#include "kernels.h"
#include "plain_loop.h"

namespace {

using leakyrelu::DTypeInfo;
using leakyrelu::Kernels;

constexpr size_t kPage = 4096;

struct Free {
  void operator()(void* memory) const { std::free(memory); }
};

// Input, output and mask on pages of their own; the output 512 bytes off, so that it never has the input's address
// modulo a page, which stalls loads behind stores.
struct Memory {
  explicit Memory(size_t bytes)
      : bytes(bytes),
        in_pages(std::aligned_alloc(kPage, bytes)),
        out_pages(std::aligned_alloc(kPage, bytes + kPage)),
        mask_pages(std::aligned_alloc(kPage, bytes)) {
    std::memset(out_pages.get(), 0, bytes + kPage);
    std::memset(mask_pages.get(), 0x55, bytes);
  }
  char* in() const { return static_cast<char*>(in_pages.get()); }
  char* out() const { return static_cast<char*>(out_pages.get()) + 512; }
  uint8_t* mask() const { return static_cast<uint8_t*>(mask_pages.get()); }

  // Fills the input with numbers of magnitude 1 to 2 and either sign.
  void Fill(const DTypeInfo& info) const {
    std::mt19937_64 generator(1);
    const int exponent_bits = info.dtype == LEAKYRELU_FLOAT16 ? 5 : info.dtype == LEAKYRELU_FLOAT64 ? 11 : 8;
    const int bits = static_cast<int>(8 * info.bytes);
    const int mantissa_bits = bits - 1 - exponent_bits;
    const uint64_t one = ((uint64_t{1} << (exponent_bits - 1)) - 1) << mantissa_bits;
    for (size_t i = 0; i < bytes; i += info.bytes) {
      const uint64_t random = generator();
      const uint64_t sign = (random >> 63) << (bits - 1);
      const uint64_t number = sign | one | (random & ((uint64_t{1} << mantissa_bits) - 1));
      std::memcpy(in() + i, &number, info.bytes);
    }
  }

  size_t bytes;
  std::unique_ptr<void, Free> in_pages;
  std::unique_ptr<void, Free> out_pages;
  std::unique_ptr<void, Free> mask_pages;
};

void Count(benchmark::State& state, size_t elements, size_t bytes) {
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * 2 * bytes));
  state.counters["elements/ns"] = benchmark::Counter(static_cast<double>(state.iterations() * elements) * 1e-9,
                                                     benchmark::Counter::kIsRate);
}

void Memcpy(benchmark::State& state, size_t bytes) {
  const Memory memory(bytes);
  memory.Fill(leakyrelu::kDTypes[leakyrelu::DTypeIndex(LEAKYRELU_FLOAT32)]);
  for (auto _ : state) {
    std::memcpy(memory.out(), memory.in(), bytes);
    benchmark::ClobberMemory();
  }
  Count(state, bytes / sizeof(float), bytes);
}

void Plain(benchmark::State& state, const DTypeInfo& info, size_t bytes) {
  const Memory memory(bytes);
  memory.Fill(info);
  for (auto _ : state) {
    PlainLoop(info.dtype, memory.in(), memory.out(), bytes / info.bytes, 0.01);
    benchmark::ClobberMemory();
  }
  Count(state, bytes / info.bytes, bytes);
}

void Run(benchmark::State& state, leakyrelu::Kernel kernel, const DTypeInfo& info, size_t bytes, bool with_mask) {
  const Memory memory(bytes);
  memory.Fill(info);
  for (auto _ : state) {
    kernel(memory.in(), memory.out(), with_mask ? memory.mask() : nullptr, bytes / info.bytes, 0.01);
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
