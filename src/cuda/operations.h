// What the kernels do with a unit: LeakyReLU, forward and backward, and the fused operation likewise.
//
// Each operation has: Format, kWritesOut, kWritesMasks (false: never), WritesMasks(), kHasContiguous (whether there is
// a contiguous kernel of it; the strided one does those arrays too), and
//   Bits(k)                          the k-th byte of each mask that it reads; 0 if it reads none
//   Write(k, bits)                   writes the k-th byte of each mask
//   Apply(unit, bits, first, count)  changes the unit, which has the `count` elements from `first` on; returns the bits
//                                    to be written
//
// Bits are those of the mask and, from kSecondMask on, those of the second one: shifted by up to 7 either way, neither
// loses one of its 8, and none gets where the other's are.
#ifndef LEAKYRELU_SRC_CUDA_OPERATIONS_H_
#define LEAKYRELU_SRC_CUDA_OPERATIONS_H_

#include <cstdint>

#include "cuda/biases.h"
#include "cuda/formats.h"
#include "cuda/unit.h"
#include "mode.h"

namespace leakyrelu::cuda {

inline constexpr uint32_t kSecondMask = 16;

template <class FormatOf, Mode mode>
struct LeakyRelu {
  using Format = FormatOf;
  using Math = typename Format::Math;
  static constexpr bool kWritesOut = leakyrelu::kWritesOut<mode>;
  static constexpr bool kWritesMasks = leakyrelu::kWritesMask<mode>;
  static constexpr bool kHasContiguous = true;

  uint8_t* mask;
  Math slope;

  LEAKYRELU_INLINE bool WritesMasks() const { return kWritesMasks; }
  template <typename Index>
  LEAKYRELU_INLINE uint32_t Bits(Index k) const {
    if constexpr (kReadsMask<mode>) return mask[k];
    return 0;
  }
  template <typename Index>
  LEAKYRELU_INLINE void Write(Index k, uint32_t bits) const {
    mask[k] = static_cast<uint8_t>(bits);
  }

  // Numbers that stay as they are get narrowed too, which gives them back; so the device can narrow two at a time.
  template <typename Index>
  LEAKYRELU_INLINE uint32_t Apply(Unit<typename Format::Storage>* unit, uint32_t bits, Index /*first*/,
                                  uint32_t /*count*/) const {
    uint32_t positive_bits = 0;
    LEAKYRELU_UNROLL
    for (uint32_t i = 0; i < kUnit; ++i) {
      const auto v = Format::Widen(unit->v[i]);
      const bool positive = mode == Mode::kBackward ? (bits >> i & 1) != 0 : v > 0;
      positive_bits |= static_cast<uint32_t>(positive) << i;
      if constexpr (kWritesOut) unit->v[i] = Format::Narrow(LeakyReluFormula(Lane<Math>(), v, positive, slope));
    }
    return positive_bits;
  }
};

// Both directions, told apart at run time: a kernel for each would double what the package has of them, and by far the
// most of either is the walk over memory.
template <class FormatOf, typename Index>
struct Fused {
  using Format = FormatOf;
  using Math = typename Format::Math;
  using Storage = typename Format::Storage;
  static constexpr bool kWritesOut = true;
  static constexpr bool kWritesMasks = true;
  static constexpr bool kHasContiguous = sizeof(Index) == 4;  // with 64 bits it runs out of registers

  bool is_forward;
  uint8_t* mask;                  // null, if forward: not wanted
  uint8_t* within;                // null: likewise, or no clamp
  Biases<Storage, Index> biases;  // first is null: none
  Math slope;
  Math scale;
  Math limit;

  LEAKYRELU_INLINE bool WritesMasks() const { return is_forward; }
  LEAKYRELU_INLINE uint32_t Bits(Index k) const {
    if (is_forward) return 0;
    const uint32_t within_bits = within != nullptr ? within[k] : 0xFF;
    return mask[k] | within_bits << kSecondMask;
  }
  LEAKYRELU_INLINE void Write(Index k, uint32_t bits) const {
    if (!is_forward) return;
    if (mask != nullptr) mask[k] = static_cast<uint8_t>(bits);
    if (within != nullptr) within[k] = static_cast<uint8_t>(bits >> kSecondMask);
  }

  LEAKYRELU_INLINE uint32_t Apply(Unit<Storage>* unit, uint32_t bits, Index first, uint32_t count) const {
    return is_forward ? Forward(unit, first, count) : Backward(unit, bits);
  }

 private:
  LEAKYRELU_INLINE uint32_t Forward(Unit<Storage>* unit, Index first, uint32_t count) const {
    constexpr Lane<Math> kLane;
    Unit<Storage> bias;
    if (biases.first == nullptr) {
      const Storage none = Format::Narrow(Math(-0.0));  // changes no number
      LEAKYRELU_UNROLL
      for (uint32_t i = 0; i < kUnit; ++i) bias.v[i] = none;
    } else if (count > 0) {
      biases.Load(first, count, &bias);
    }
    uint32_t bits = 0;
    LEAKYRELU_UNROLL
    for (uint32_t i = 0; i < kUnit; ++i) {
      bool positive = false;
      const Math x = Format::Widen(unit->v[i]);
      const Math v = FusedFormula(kLane, x, Math(Format::Widen(bias.v[i])), slope, scale, &positive);
      if (i < count) {  // no bits for what is not there
        bits |= static_cast<uint32_t>(positive) << i;
        bits |= static_cast<uint32_t>(kLane.IsWithin(v, limit)) << (kSecondMask + i);
      }
      unit->v[i] = Format::Narrow(kLane.Clamp(v, limit));
    }
    return bits;
  }

  LEAKYRELU_INLINE uint32_t Backward(Unit<Storage>* unit, uint32_t bits) const {
    LEAKYRELU_UNROLL
    for (uint32_t i = 0; i < kUnit; ++i) {
      const bool positive = (bits >> i & 1) != 0;
      const bool is_within = (bits >> (kSecondMask + i) & 1) != 0;
      const Math v = is_within ? Format::Widen(unit->v[i]) : Math(0);
      unit->v[i] = Format::Narrow(FusedGradient(Lane<Math>(), v, positive, slope, scale));
    }
    return bits;
  }
};

}  // namespace leakyrelu::cuda

#endif  // LEAKYRELU_SRC_CUDA_OPERATIONS_H_
