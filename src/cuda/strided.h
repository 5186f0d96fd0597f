// What one thread does where input or output is strided.
#ifndef LEAKYRELU_SRC_CUDA_STRIDED_H_
#define LEAKYRELU_SRC_CUDA_STRIDED_H_

#include <cstdint>
#include <type_traits>

#include "cuda/divider.h"
#include "cuda/unit.h"
#include "plan.h"

namespace leakyrelu::cuda {

// Units are cut from the order of a plan. A unit that lies within one run of the innermost loop is loaded or stored as
// vectors wherever it happens to be contiguous and aligned.
template <class Operation, typename Index>
struct Strided {
  using T = typename Operation::Format::Storage;
  using Offset = std::make_signed_t<Index>;  // in elements

  static constexpr uint32_t kBlockElements = kThreads * kUnit;

  struct Offsets {
    Offset in;
    Offset out;
  };
  struct Dim {
    Divider<Index> extent;
    Offsets stride;
  };

  const T* in;
  T* out;
  Index elements;
  Operation operation;
  Dim run;                 // the innermost loop
  int outer;               // number of the others
  Dim dims[kMaxDims - 1];  // the others, from the inside out

  LEAKYRELU_INLINE void Thread(uint32_t block, uint32_t blocks, uint32_t thread) const {
    const Index units = elements / kUnit + (elements % kUnit != 0);
    const Index step = Index{blocks} * kThreads;
    for (Index unit = Index{block} * kThreads + thread; unit < units; unit += step) DoUnit(unit);
  }

 private:
  // Where a run begins; runs are counted in the order of the plan.
  LEAKYRELU_INLINE Offsets RunAt(Index index) const {
    Offsets at = {0, 0};
    for (int i = 0; i < outer; ++i) {
      const Index quotient = dims[i].extent.Quotient(index);
      const Offset rest = static_cast<Offset>(index - quotient * dims[i].extent.divisor());
      at.in += rest * dims[i].stride.in;
      at.out += rest * dims[i].stride.out;
      index = quotient;
    }
    return at;
  }

  LEAKYRELU_INLINE void DoUnit(Index index) const {
    const Index first = index * kUnit;
    const uint32_t count = elements - first < kUnit ? static_cast<uint32_t>(elements - first) : kUnit;
    const Index length = run.extent.divisor();
    Index row = run.extent.Quotient(first);
    Index column = first - row * length;
    const bool one_run = count == kUnit && length - column >= kUnit;

    Offsets at[kUnit];
    Offsets start = RunAt(row);
    LEAKYRELU_UNROLL
    for (uint32_t i = 0; i < kUnit; ++i) {
      at[i].in = start.in + static_cast<Offset>(column) * run.stride.in;
      at[i].out = start.out + static_cast<Offset>(column) * run.stride.out;
      if (++column == length) {
        column = 0;
        start = RunAt(++row);  // behind the last run the first one, which nobody uses
      }
    }

    Unit<T> unit;
    uint32_t bits = operation.Bits(index);
    if (one_run && run.stride.in == 1 && IsAligned(in + at[0].in)) {
      unit.LoadVectors(in + at[0].in);
    } else {
      LEAKYRELU_UNROLL
      for (uint32_t i = 0; i < kUnit; ++i) {
        if (i < count) unit.v[i] = in[at[i].in];
      }
    }
    bits = operation.Apply(&unit, bits, first, count);
    if constexpr (Operation::kWritesMasks) operation.Write(index, bits);
    if constexpr (Operation::kWritesOut) {
      if (one_run && run.stride.out == 1 && IsAligned(out + at[0].out)) return unit.StoreVectors(out + at[0].out);
      LEAKYRELU_UNROLL
      for (uint32_t i = 0; i < kUnit; ++i) {
        if (i < count) out[at[i].out] = unit.v[i];
      }
    }
  }
};

}  // namespace leakyrelu::cuda

#endif  // LEAKYRELU_SRC_CUDA_STRIDED_H_
