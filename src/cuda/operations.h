// What the kernels do with a unit: LeakyReLU, forward and backward, and the fused operation likewise.
//
// Each operation has: Format, kWritesOut, kWritesMasks and
//   Bits(k)                     the k-th byte of what it reads of masks; 0 if it reads none
//   Write(k, bits)              writes the k-th byte of the masks, if kWritesMasks
//   Others, Read(first, count)  what else it needs for the `count` elements of a unit, 0 to 8, from `first` on
//   Apply(unit, bits, others)   changes the unit; returns the bits to be written
//
// Bits are those of the mask, and from bit 16 on those of the second one: shifted by up to 7 either way, neither loses
// one of its 8, and none gets where the other's are.
#ifndef LEAKYRELU_SRC_CUDA_OPERATIONS_H_
#define LEAKYRELU_SRC_CUDA_OPERATIONS_H_

#include <cstdint>

#include "cuda/biases.h"
#include "cuda/formats.h"
#include "cuda/unit.h"
#include "mode.h"

namespace leakyrelu::cuda {

// What an operation has that needs nothing else.
struct None {};

template <class FormatOf, Mode mode>
struct LeakyRelu {
  using Format = FormatOf;
  using Math = typename Format::Math;
  static constexpr bool kWritesOut = leakyrelu::kWritesOut<mode>;
  static constexpr bool kWritesMasks = leakyrelu::kWritesMask<mode>;

  uint8_t* mask;
  Math slope;

  template <typename Index>
  LEAKYRELU_INLINE uint32_t Bits(Index k) const {
    if constexpr (kReadsMask<mode>) return mask[k];
    return 0;
  }
  template <typename Index>
  LEAKYRELU_INLINE void Write(Index k, uint32_t bits) const {
    mask[k] = static_cast<uint8_t>(bits);
  }

  using Others = None;
  template <typename Index>
  LEAKYRELU_INLINE Others Read(Index /*first*/, uint32_t /*count*/) const {
    return {};
  }

  // Numbers that stay as they are get narrowed too, which gives them back; so the device can narrow two at a time.
  LEAKYRELU_INLINE uint32_t Apply(Unit<typename Format::Storage>* unit, uint32_t bits, Others /*none*/) const {
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

inline constexpr uint32_t kSecondMask = 16;

// The masks of a fused call.
struct FusedMasks {
  uint8_t* positive;
  uint8_t* within;
};

template <class FormatOf, typename Index>
struct FusedForward {
  using Format = FormatOf;
  using Math = typename Format::Math;
  using Storage = typename Format::Storage;
  static constexpr bool kWritesOut = true;
  static constexpr bool kWritesMasks = true;

  FusedMasks masks;               // null: not wanted
  Biases<Storage, Index> biases;  // first is null: none
  Math slope;
  Math scale;
  Math limit;

  LEAKYRELU_INLINE uint32_t Bits(Index /*k*/) const { return 0; }
  LEAKYRELU_INLINE void Write(Index k, uint32_t bits) const {
    if (masks.positive != nullptr) masks.positive[k] = static_cast<uint8_t>(bits);
    if (masks.within != nullptr) masks.within[k] = static_cast<uint8_t>(bits >> kSecondMask);
  }

  struct Others {
    Unit<Storage> bias;
    uint32_t count;
  };
  LEAKYRELU_INLINE Others Read(Index first, uint32_t count) const {
    Others others = {{}, count};
    if (biases.first == nullptr) {
      LEAKYRELU_UNROLL
      for (uint32_t i = 0; i < kUnit; ++i) others.bias.v[i] = Format::Narrow(Math(-0.0));  // which changes no number
    } else if (count > 0) {
      biases.Load(first, count, &others.bias);
    }
    return others;
  }

  LEAKYRELU_INLINE uint32_t Apply(Unit<Storage>* unit, uint32_t /*bits*/, const Others& others) const {
    constexpr Lane<Math> kLane;
    uint32_t bits = 0;
    LEAKYRELU_UNROLL
    for (uint32_t i = 0; i < kUnit; ++i) {
      const Math bias = Format::Widen(others.bias.v[i]);
      bool positive = false;
      const Math v = FusedFormula(kLane, Format::Widen(unit->v[i]), bias, slope, scale, &positive);
      if (i < others.count) {
        bits |= static_cast<uint32_t>(positive) << i;
        bits |= static_cast<uint32_t>(kLane.IsWithin(v, limit)) << (kSecondMask + i);
      }
      unit->v[i] = Format::Narrow(kLane.Clamp(v, limit));
    }
    return bits;
  }
};

template <class FormatOf>
struct FusedBackward {
  using Format = FormatOf;
  using Math = typename Format::Math;
  static constexpr bool kWritesOut = true;
  static constexpr bool kWritesMasks = false;

  FusedMasks masks;  // within is null: there is no clamp
  Math slope;
  Math scale;

  template <typename Index>
  LEAKYRELU_INLINE uint32_t Bits(Index k) const {
    const uint32_t within = masks.within != nullptr ? masks.within[k] : 0xFF;
    return masks.positive[k] | within << kSecondMask;
  }

  using Others = None;
  template <typename Index>
  LEAKYRELU_INLINE Others Read(Index /*first*/, uint32_t /*count*/) const {
    return {};
  }

  LEAKYRELU_INLINE uint32_t Apply(Unit<typename Format::Storage>* unit, uint32_t bits, Others /*none*/) const {
    LEAKYRELU_UNROLL
    for (uint32_t i = 0; i < kUnit; ++i) {
      const bool positive = (bits >> i & 1) != 0;
      const bool within = (bits >> (kSecondMask + i) & 1) != 0;
      const Math v = within ? Format::Widen(unit->v[i]) : Math(0);
      unit->v[i] = Format::Narrow(FusedGradient(Lane<Math>(), v, positive, slope, scale));
    }
    return bits;
  }
};

}  // namespace leakyrelu::cuda

#endif  // LEAKYRELU_SRC_CUDA_OPERATIONS_H_
