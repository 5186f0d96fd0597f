// What a kernel reads and writes besides its input, on the CPU and on a CUDA device.
#ifndef LEAKYRELU_SRC_MODE_H_
#define LEAKYRELU_SRC_MODE_H_

namespace leakyrelu {

enum class Mode { kForward, kForwardWithMask, kMaskOnly, kBackward };

// Not functions, which code for a device could not call.
template <Mode mode>
inline constexpr bool kReadsMask = mode == Mode::kBackward;
template <Mode mode>
inline constexpr bool kWritesMask = mode == Mode::kForwardWithMask || mode == Mode::kMaskOnly;
template <Mode mode>
inline constexpr bool kWritesOut = mode != Mode::kMaskOnly;

}  // namespace leakyrelu

#endif  // LEAKYRELU_SRC_MODE_H_
