// Forward, forward with mask, mask alone and backward over one contiguous chunk, for each dtype and instruction set.
//
// Kernels know nothing of strides, threads or errors; driver.h feeds them.
#ifndef LEAKYRELU_SRC_KERNELS_H_
#define LEAKYRELU_SRC_KERNELS_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "dtypes.h"

namespace leakyrelu {

// Maps `elements` contiguous elements of `in` to `out`. Bit i % 8 of mask[i / 8] is x_i > 0: a forward kernel writes it
// (all ceil(elements / 8) bytes, unused bits 0), a backward kernel reads it.
//
// in, out: aligned to the element, and either the same or disjoint. Forward: out or mask may be null, not both.
// slope: for 16- and 32-bit dtypes within float32's range, or infinite, or NaN.
using Kernel = void (*)(const void* in, void* out, uint8_t* mask, size_t elements, double slope);

// So many biases follow the last of FusedChunk::bias once more, from the first on, if bias_run is 1: then a kernel
// reads those of any block where they are.
inline constexpr size_t kBiasesAgain = 64;

// One contiguous chunk of the fused operation; see leakyrelu_fused_forward.
struct FusedChunk {
  const void* in;
  const void* bias;    // aligned to the element; null: none. That of element i is
  size_t bias_extent;  // (bias_begin + i) / bias_run % bias_extent
  size_t bias_run;
  size_t bias_begin;
  void* out;        // the same as `in` or disjoint
  uint8_t* mask;    // as a Kernel's; null only forward
  uint8_t* within;  // likewise, of the clamp; null: no clamp, or no mask either
  size_t elements;
  bool streams;  // with stores that go past the cache
};

// Of the fused operation, within float32's range for 16- and 32-bit dtypes, or infinite, or NaN.
struct FusedNumbers {
  double slope;
  double scale;
  double clamp;  // infinite: none
};

using FusedKernel = void (*)(const FusedChunk& chunk, const FusedNumbers& numbers);

// The kernels of one instruction set, indexed by DTypeIndex.
struct Kernels {
  const char* target;  // Highway's name of the instruction set, e.g. "AVX2"
  Kernel forward[kNumDTypes];
  Kernel backward[kNumDTypes];
  // The same with stores that go past the cache, for an output that it could not hold anyway: no line is read just to
  // be overwritten. Ordinary stores where `out` is not aligned to a vector.
  Kernel streaming_forward[kNumDTypes];
  Kernel streaming_backward[kNumDTypes];
  FusedKernel fused_forward[kNumDTypes];
  FusedKernel fused_backward[kNumDTypes];
};

// None of these allocates or throws.

// The ones that every call uses: the best that this machine has, or the one named by the environment variable
// LEAKYRELU_TARGET, read once.
const Kernels& ActiveKernels();

// What LEAKYRELU_TARGET named but this machine cannot run, or nobody knows; null where ActiveKernels had no reason to
// ignore it.
const char* IgnoredTarget();

// All that this machine can run, best first.
std::span<const Kernels* const> SupportedKernels();

// Names of all instruction sets compiled in, best first.
std::span<const char* const> CompiledTargets();

}  // namespace leakyrelu

#endif  // LEAKYRELU_SRC_KERNELS_H_
