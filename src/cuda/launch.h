// From a call and its plan to a kernel and a number of blocks. Touches no data and needs no CUDA.
#ifndef LEAKYRELU_SRC_CUDA_LAUNCH_H_
#define LEAKYRELU_SRC_CUDA_LAUNCH_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <type_traits>

#include "cuda/contiguous.h"
#include "cuda/operations.h"
#include "cuda/strided.h"
#include "dtypes.h"
#include "leakyrelu/cuda.h"
#include "plan.h"

namespace leakyrelu::cuda {

// What a call of the fused operation has besides.
struct FusedCall {
  const void* bias;  // its element 0, as aligned as its dtype asks; null: none, and so in a backward
  uint8_t* within;   // null: no clamp, or no mask
  double scale;
  double clamp;  // infinite: none
};

struct KernelCall {
  Mode mode;       // of a fused call all that counts is whether it is kBackward
  size_t dtype;    // its DTypeIndex
  const void* in;  // element (0, 0, ...), as aligned as its dtype asks
  void* out;       // likewise; null: the mask alone
  uint8_t* mask;   // null: none. Else the plan must be in C order
  double slope;
  const FusedCall* fused = nullptr;  // null: LeakyReLU alone
};

// Enqueues the call's kernel on the stream: in kernels.cu for a device.
leakyrelu_status Launch(const KernelCall& call, const Plan& plan, cudaStream_t stream);

// The most blocks of a launch; a block that finds more work than its own goes on. Many more than any card runs at a
// time, so that none is idle towards the end, and it need not be asked how many it runs.
inline constexpr int64_t kMaxBlocks = int64_t{1} << 16;

inline uint32_t BlocksFor(int64_t elements, int64_t block_elements) {
  return static_cast<uint32_t>(std::min(elements / block_elements + (elements % block_elements != 0), kMaxBlocks));
}

// Whether 32 bits hold every index and every offset.
inline bool Fits32Bits(const Plan& plan) {
  constexpr int64_t kLargest = std::numeric_limits<int32_t>::max();
  int64_t in_reach = 0;
  int64_t out_reach = 0;
  for (int i = 0; i < plan.dims; ++i) {  // cannot overflow: what bounds a layout bounds these
    in_reach += (plan.loops[i].extent - 1) * std::abs(plan.loops[i].in_stride);
    out_reach += (plan.loops[i].extent - 1) * std::abs(plan.loops[i].out_stride);
  }
  const int64_t bias_reach = (plan.bias.extent - 1) * std::abs(plan.bias.stride);
  return std::max({plan.elements, in_reach, out_reach, bias_reach}) <= kLargest;
}

inline bool IsContiguous(const Plan& plan) {
  return plan.dims == 1 && plan.loops[0].in_stride == 1 && plan.loops[0].out_stride == 1;
}

// ---- The operation of a call

template <class Format, Mode mode>
LeakyRelu<Format, mode> MakeLeakyRelu(const KernelCall& call) {
  return {call.mask, static_cast<typename Format::Math>(call.slope)};
}

template <class Format, typename Index>
Fused<Format, Index> MakeFused(const KernelCall& call, const BiasRuns& runs) {
  using Math = typename Format::Math;
  Fused<Format, Index> operation = {};
  operation.is_forward = call.mode != Mode::kBackward;
  operation.mask = call.mask;
  operation.within = call.fused->within;
  if (call.fused->bias != nullptr) {
    operation.biases.first = static_cast<const typename Format::Storage*>(call.fused->bias) + runs.start;
    operation.biases.stride = static_cast<std::make_signed_t<Index>>(runs.stride);
    operation.biases.extent = Divider<Index>(static_cast<Index>(runs.extent));
    operation.biases.run = Divider<Index>(static_cast<Index>(runs.run));
  }
  operation.slope = static_cast<Math>(call.slope);
  operation.scale = static_cast<Math>(call.fused->scale);
  operation.limit = static_cast<Math>(call.fused->clamp);
  return operation;
}

// ---- The kernel that applies it

template <class Operation, typename Index>
Contiguous<Operation, Index> MakeContiguous(const KernelCall& call, const Plan& plan, const Operation& operation) {
  using T = typename Operation::Format::Storage;
  Contiguous<Operation, Index> kernel = {};
  kernel.in = static_cast<const T*>(call.in) + plan.in_start;
  kernel.elements = static_cast<Index>(plan.elements);
  kernel.operation = operation;
  kernel.out_vectors = true;
  if constexpr (Operation::kWritesOut) {
    kernel.out = static_cast<T*>(call.out) + plan.out_start;
    const uint32_t beyond = static_cast<uint32_t>(reinterpret_cast<uintptr_t>(kernel.out) % kVectorBytes<T>);
    if (!operation.WritesMasks()) kernel.shift = beyond / sizeof(T);
    kernel.out_vectors = kernel.shift * sizeof(T) == beyond;
  }
  kernel.in_vectors = (reinterpret_cast<uintptr_t>(kernel.in) - kernel.shift * sizeof(T)) % kVectorBytes<T> == 0;
  return kernel;
}

template <class Operation, typename Index>
Strided<Operation, Index> MakeStrided(const KernelCall& call, const Plan& plan, const Operation& operation) {
  using T = typename Operation::Format::Storage;
  using Kernel = Strided<Operation, Index>;
  using Offset = typename Kernel::Offset;
  const auto make_dim = [](const Loop& loop) {
    return typename Kernel::Dim{Divider<Index>(static_cast<Index>(loop.extent)),
                                {static_cast<Offset>(loop.in_stride), static_cast<Offset>(loop.out_stride)}};
  };
  Kernel kernel = {};
  kernel.in = static_cast<const T*>(call.in) + plan.in_start;
  if constexpr (Operation::kWritesOut) kernel.out = static_cast<T*>(call.out) + plan.out_start;
  kernel.elements = static_cast<Index>(plan.elements);
  kernel.operation = operation;
  kernel.run = make_dim(plan.loops[plan.dims - 1]);
  kernel.outer = plan.dims - 1;
  for (int i = 0; i < kernel.outer; ++i) kernel.dims[i] = make_dim(plan.loops[plan.dims - 2 - i]);
  return kernel;
}

// ---- From values to template parameters, one after the other

template <typename Index, class Operation, class Function>
auto WithOperation(const KernelCall& call, const Plan& plan, const Operation& operation, Function launch) {
  if constexpr (Operation::kHasContiguous) {
    if (IsContiguous(plan)) {
      const auto kernel = MakeContiguous<Operation, Index>(call, plan, operation);
      return launch(kernel, BlocksFor(plan.elements + static_cast<int64_t>(kernel.shift), kernel.kBlockElements));
    }
  }
  const auto kernel = MakeStrided<Operation, Index>(call, plan, operation);
  return launch(kernel, BlocksFor(plan.elements, kernel.kBlockElements));
}

template <class Format, typename Index, class Function>
auto WithIndex(const KernelCall& call, const Plan& plan, Function launch) {
  const auto with = [&](const auto& operation) { return WithOperation<Index>(call, plan, operation, launch); };
  if (call.fused != nullptr) return with(MakeFused<Format, Index>(call, plan.bias));
  switch (call.mode) {
    case Mode::kForward:
      return with(MakeLeakyRelu<Format, Mode::kForward>(call));
    case Mode::kForwardWithMask:
      return with(MakeLeakyRelu<Format, Mode::kForwardWithMask>(call));
    case Mode::kMaskOnly:
      return with(MakeLeakyRelu<Format, Mode::kMaskOnly>(call));
    case Mode::kBackward:
      break;
  }
  return with(MakeLeakyRelu<Format, Mode::kBackward>(call));
}

template <class Format, class Function>
auto WithFormat(const KernelCall& call, const Plan& plan, Function launch) {
  return Fits32Bits(plan) ? WithIndex<Format, uint32_t>(call, plan, launch)
                          : WithIndex<Format, uint64_t>(call, plan, launch);
}

// Calls launch(kernel, blocks) with the kernel for the call, on which Thread(block, blocks, thread) is to be called for
// every one of `blocks` blocks of kThreads threads, and returns what that returns. Any smaller number of blocks would
// do as well.
template <class Function>
auto WithKernel(const KernelCall& call, const Plan& plan, Function launch) {
  switch (kDTypes[call.dtype].dtype) {
#define LEAKYRELU_CASE(constant, ...) \
  case constant:                      \
    return WithFormat<Format<(constant)>>(call, plan, launch);
    LEAKYRELU_FOR_EACH_DTYPE(LEAKYRELU_CASE)
#undef LEAKYRELU_CASE
  }
  std::abort();  // not reached: the checks let no other dtype through
}

}  // namespace leakyrelu::cuda

#endif  // LEAKYRELU_SRC_CUDA_LAUNCH_H_
