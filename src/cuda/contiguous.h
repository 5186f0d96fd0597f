// What one thread does where input and output are contiguous.
#ifndef LEAKYRELU_SRC_CUDA_CONTIGUOUS_H_
#define LEAKYRELU_SRC_CUDA_CONTIGUOUS_H_

#include <cstdint>

#include "cuda/unit.h"

namespace leakyrelu::cuda {

// Units may begin `shift` elements before element 0, so that those behind the first can be aligned although the array
// is not: unit k has the elements from 8 * k - shift on. Masks that are written allow no shift, since then two threads
// would share each of their bytes.
//
// A block does one tile of units after another, `blocks` tiles apart. Neighbouring threads have neighbouring units.
template <class Operation, typename Index>
struct Contiguous {
  using T = typename Operation::Format::Storage;

  // A thread has 64 bytes on their way from memory before it waits for the first. With half of the threads that fit on
  // a multiprocessor that is 64 KiB for each of these: more than bandwidth times latency asks of any card so far.
  static constexpr uint32_t kUnitsEach = 64 / (kUnit * sizeof(T));
  static constexpr uint32_t kTileUnits = kThreads * kUnitsEach;
  static constexpr uint32_t kBlockElements = kTileUnits * kUnit;

  const T* in;
  T* out;
  Index elements;
  Index shift;
  bool in_vectors;  // whole units may be loaded as vectors
  bool out_vectors;
  Operation operation;

  LEAKYRELU_INLINE void Thread(uint32_t block, uint32_t blocks, uint32_t thread) const {
    const Index tiles = (elements + shift + (kBlockElements - 1)) / kBlockElements;
    for (Index tile = block; tile < tiles; tile += blocks) {
      const Index first = tile * kTileUnits;
      const bool whole = (shift == 0 || tile > 0) && (first + kTileUnits) * kUnit <= elements + shift;
      if (whole && in_vectors && out_vectors) {
        Tile<true>(first + thread);
      } else {
        Tile<false>(first + thread);
      }
    }
  }

 private:
  // The elements of a unit that there are: those from `begin` to before `end`, of 0 to 8.
  struct Part {
    uint32_t begin;
    uint32_t end;
  };

  template <bool kWhole>
  LEAKYRELU_INLINE Part PartOf(Index unit) const {
    if constexpr (kWhole) return {0, kUnit};
    const Index end = elements + shift;
    const Index left = unit * kUnit < end ? end - unit * kUnit : 0;
    return {unit == 0 ? static_cast<uint32_t>(shift) : 0, left < kUnit ? static_cast<uint32_t>(left) : kUnit};
  }

  // kWhole: all units of the tile are, and vectors will do.
  template <bool kWhole>
  LEAKYRELU_INLINE void Tile(Index first) const {
    Unit<T> units[kUnitsEach];
    uint32_t bits[kUnitsEach];
    LEAKYRELU_UNROLL
    for (uint32_t i = 0; i < kUnitsEach; ++i) {
      const Index unit = first + i * kThreads;
      Load<kWhole>(unit, &units[i]);
    }
    LEAKYRELU_UNROLL
    for (uint32_t i = 0; i < kUnitsEach; ++i) {
      const Index unit = first + i * kThreads;
      bits[i] = MaskBits(unit);
    }
    LEAKYRELU_UNROLL
    for (uint32_t i = 0; i < kUnitsEach; ++i) {
      const Index unit = first + i * kThreads;
      bits[i] = operation.Apply(&units[i], bits[i], unit * kUnit - shift, PartOf<kWhole>(unit).end);
      if constexpr (Operation::kWritesOut) Store<kWhole>(unit, units[i]);
      if constexpr (Operation::kWritesMasks) {
        if (kWhole || unit * kUnit < elements) operation.Write(unit, bits[i]);
      }
    }
  }

  template <bool kWhole>
  LEAKYRELU_INLINE void Load(Index unit, Unit<T>* to) const {
    const Part part = PartOf<kWhole>(unit);
    if (kWhole || (in_vectors && part.begin == 0 && part.end == kUnit)) {
      to->LoadVectors(in + unit * kUnit - shift);
    } else {
      LEAKYRELU_UNROLL
      for (uint32_t i = 0; i < kUnit; ++i) {
        if (i >= part.begin && i < part.end) to->v[i] = in[unit * kUnit + i - shift];
      }
    }
  }

  template <bool kWhole>
  LEAKYRELU_INLINE void Store(Index unit, const Unit<T>& from) const {
    const Part part = PartOf<kWhole>(unit);
    if (kWhole || (out_vectors && part.begin == 0 && part.end == kUnit)) {
      from.StoreVectors(out + unit * kUnit - shift);
    } else {
      LEAKYRELU_UNROLL
      for (uint32_t i = 0; i < kUnit; ++i) {
        if (i >= part.begin && i < part.end) out[unit * kUnit + i - shift] = from.v[i];
      }
    }
  }

  // A unit's bits of the masks: with a shift they are the last ones of one byte and the first ones of the next.
  LEAKYRELU_INLINE uint32_t MaskBits(Index unit) const {
    uint32_t bits = unit * kUnit < elements ? operation.Bits(unit) << shift : 0;
    if (shift > 0 && unit > 0 && (unit - 1) * kUnit < elements) bits |= operation.Bits(unit - 1) >> (kUnit - shift);
    return bits;
  }
};

}  // namespace leakyrelu::cuda

#endif  // LEAKYRELU_SRC_CUDA_CONTIGUOUS_H_
