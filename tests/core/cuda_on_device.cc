// The CUDA functions on a card, for tests that have their arrays on the host: copies there, waits, copies back. Without
// a card the program says so and ends with 77, which CTest knows as skipped.

#include "cuda_on_device.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <vector>

#include "cuda_under_test.h"
#include "dtypes.h"
#include "leakyrelu/cuda.h"
#include "plan.h"

namespace {

// Bytes of the host on the device, at the same address modulo 256, between canaries.
class Copy {
 public:
  Copy(const void* first, size_t bytes, DeviceBuffer* place)
      : host_(static_cast<std::byte*>(const_cast<void*>(first))),
        bytes_(bytes),
        place_(place),
        offset_(kMargin + reinterpret_cast<uintptr_t>(first) % 256),
        staged_(offset_ + bytes + kMargin, kCanary) {
    if (bytes > 0) std::memcpy(&staged_[offset_], host_, bytes);
    if (staged_.size() > place->bytes()) std::abort();
    CHECK_CUDA(cudaMemcpy(place->data(), staged_.data(), staged_.size(), cudaMemcpyHostToDevice));
  }

  // Where the host's address went.
  std::byte* At(const void* address) const {
    return place_->data() + offset_ + (static_cast<const std::byte*>(address) - host_);
  }

  void Return() {
    CHECK_CUDA(cudaMemcpy(staged_.data(), place_->data(), staged_.size(), cudaMemcpyDeviceToHost));
    const auto begin = staged_.begin() + static_cast<ptrdiff_t>(offset_);
    const auto end = begin + static_cast<ptrdiff_t>(bytes_);
    const auto is_canary = [](std::byte byte) { return byte == kCanary; };
    EXPECT_TRUE(std::all_of(staged_.begin(), begin, is_canary)) << "wrote before an array";
    EXPECT_TRUE(std::all_of(end, staged_.end(), is_canary)) << "wrote behind an array";
    std::copy(begin, end, host_);
  }

 private:
  static constexpr size_t kMargin = 256;
  static constexpr std::byte kCanary{0x5A};

  std::byte* host_;
  size_t bytes_;
  DeviceBuffer* place_;
  size_t offset_;
  std::vector<std::byte> staged_;
};

leakyrelu::Layout LayoutOf(const leakyrelu_array& array) {
  const size_t itemsize = leakyrelu::kDTypes[leakyrelu::DTypeIndex(array.dtype)].bytes;
  leakyrelu::Layout layout;
  EXPECT_EQ(leakyrelu::ReadLayout(array, static_cast<int64_t>(itemsize), &layout), LEAKYRELU_OK);
  return layout;
}

// From the first to the last of an array's bytes, with what lies between its elements.
Copy CopyOf(const leakyrelu_array& array, DeviceBuffer* place) {
  const leakyrelu::Layout layout = LayoutOf(array);
  const void* first = layout.elements > 0 ? reinterpret_cast<void*>(layout.first_byte) : array.data;
  return {first, static_cast<size_t>(layout.last_byte - layout.first_byte + 1), place};
}

// The arrays of a call, on the host or the device.
struct Arrays {
  const leakyrelu_array* in;
  const leakyrelu_array* out;
  const leakyrelu_array* bias;
  uint8_t* mask;
  uint8_t* within;
};

// Calls function(arrays, stream) with copies on the device.
template <class Function>
leakyrelu_status Run(const Arrays& host, size_t mask_bytes, Function function) {
  constexpr size_t kPlace = size_t{1} << 26;
  static DeviceBuffer places[] = {DeviceBuffer(kPlace), DeviceBuffer(kPlace), DeviceBuffer(kPlace),
                                  DeviceBuffer(kPlace), DeviceBuffer(kPlace)};
  static const Stream stream;

  std::vector<Copy> copies;
  copies.reserve(std::size(places));
  const auto copy_array = [&](const leakyrelu_array& array) {
    const Copy& copy = copies.emplace_back(CopyOf(array, &places[copies.size()]));
    leakyrelu_array on_device = array;
    on_device.data = copy.At(array.data);
    return on_device;
  };
  const auto copy_mask = [&](uint8_t* mask) -> uint8_t* {
    if (mask == nullptr) return nullptr;
    const Copy& copy = copies.emplace_back(mask, mask_bytes, &places[copies.size()]);
    return reinterpret_cast<uint8_t*>(copy.At(mask));
  };
  const leakyrelu_array in = copy_array(*host.in);
  leakyrelu_array out = in;
  if (host.out != nullptr && host.out->data != host.in->data) out = copy_array(*host.out);
  leakyrelu_array bias{};
  if (host.bias != nullptr) bias = copy_array(*host.bias);
  const Arrays device = {&in, host.out != nullptr ? &out : nullptr, host.bias != nullptr ? &bias : nullptr,
                         copy_mask(host.mask), copy_mask(host.within)};

  const leakyrelu_status status = function(device, stream.get());
  CHECK_CUDA(cudaStreamSynchronize(stream.get()));
  for (Copy& copy : copies) copy.Return();
  return status;
}

// Even so there is something to see: that the functions say it too, and touch nothing.
bool IsRefusedWithoutDevice() {
  float x = -1.0f;
  const leakyrelu_array array = {&x, LEAKYRELU_FLOAT32, 0, nullptr, nullptr};
  const leakyrelu_status status = leakyrelu_cuda_forward(&array, &array, 0.5, nullptr, 0, nullptr);
  std::printf("a call: %s (%s)\n", leakyrelu_status_message(status), leakyrelu_cuda_error_message());
  return status == LEAKYRELU_ERROR_CUDA && x == -1.0f;
}

}  // namespace

namespace cuda_under_test {

leakyrelu_status Forward(const leakyrelu_array* x, const leakyrelu_array* y, double slope, uint8_t* mask,
                         size_t mask_bytes) {
  return Run({x, y, nullptr, mask, nullptr}, mask_bytes, [=](const Arrays& on, cudaStream_t stream) {
    return leakyrelu_cuda_forward(on.in, on.out, slope, on.mask, mask_bytes, stream);
  });
}

leakyrelu_status Backward(const leakyrelu_array* dy, const uint8_t* mask, size_t mask_bytes, const leakyrelu_array* dx,
                          double slope) {
  // Written only if the kernel did, which the test then sees; so below.
  uint8_t* bits = const_cast<uint8_t*>(mask);
  return Run({dy, dx, nullptr, bits, nullptr}, mask_bytes, [=](const Arrays& on, cudaStream_t stream) {
    return leakyrelu_cuda_backward(on.in, on.mask, mask_bytes, on.out, slope, stream);
  });
}

leakyrelu_status FusedForward(const leakyrelu_array* x, const leakyrelu_array* y, const leakyrelu_fused* fused,
                              double slope, uint8_t* mask, uint8_t* within, size_t mask_bytes) {
  return Run({x, y, fused->bias, mask, within}, mask_bytes, [=](const Arrays& on, cudaStream_t stream) {
    leakyrelu_fused there = *fused;
    there.bias = on.bias;
    return leakyrelu_cuda_fused_forward(on.in, on.out, &there, slope, on.mask, on.within, mask_bytes, stream);
  });
}

leakyrelu_status FusedBackward(const leakyrelu_array* dy, const uint8_t* mask, const uint8_t* within, size_t mask_bytes,
                               const leakyrelu_array* dx, const leakyrelu_fused* fused, double slope) {
  uint8_t* bits = const_cast<uint8_t*>(mask);
  uint8_t* bits_within = const_cast<uint8_t*>(within);
  return Run({dy, dx, nullptr, bits, bits_within}, mask_bytes, [=](const Arrays& on, cudaStream_t stream) {
    return leakyrelu_cuda_fused_backward(on.in, on.mask, on.within, mask_bytes, on.out, fused, slope, stream);
  });
}

}  // namespace cuda_under_test

int main(int argc, char** argv) {
  int devices = 0;
  const cudaError_t error = cudaGetDeviceCount(&devices);
  if (error != cudaSuccess || devices == 0) {
    std::printf("skipped, no CUDA device here: %s\n", cudaGetErrorString(error));
    return IsRefusedWithoutDevice() ? 77 : 1;
  }
  cudaDeviceProp properties;
  CHECK_CUDA(cudaGetDeviceProperties(&properties, 0));
  std::printf("on %s, compute capability %d.%d\n", properties.name, properties.major, properties.minor);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
