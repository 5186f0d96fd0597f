// The CUDA functions on a card, for tests that have their arrays on the host: copies there, waits, copies back. Without
// a card the program says so and ends with 77, which CTest knows as skipped.

#include "cuda_on_device.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <optional>
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

// Calls function(in, out, mask, stream) with copies on the device.
template <class Function>
leakyrelu_status Run(const leakyrelu_array& in, const leakyrelu_array* out, uint8_t* mask, size_t mask_bytes,
                     Function function) {
  constexpr size_t kPlace = size_t{1} << 26;
  static DeviceBuffer places[] = {DeviceBuffer(kPlace), DeviceBuffer(kPlace), DeviceBuffer(kPlace)};
  static const Stream stream;

  Copy in_copy = CopyOf(in, &places[0]);
  leakyrelu_array device_in = in;
  device_in.data = in_copy.At(in.data);
  leakyrelu_array device_out = device_in;
  std::optional<Copy> out_copy;
  if (out != nullptr && out->data != in.data) {
    out_copy = CopyOf(*out, &places[1]);
    device_out = *out;
    device_out.data = out_copy->At(out->data);
  }
  std::optional<Copy> mask_copy;
  uint8_t* device_mask = nullptr;
  if (mask != nullptr) {
    mask_copy.emplace(mask, mask_bytes, &places[2]);
    device_mask = reinterpret_cast<uint8_t*>(mask_copy->At(mask));
  }

  const leakyrelu_status status =
      function(&device_in, out != nullptr ? &device_out : nullptr, device_mask, stream.get());
  CHECK_CUDA(cudaStreamSynchronize(stream.get()));
  in_copy.Return();
  if (out_copy) out_copy->Return();
  if (mask_copy) mask_copy->Return();
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
  return Run(*x, y, mask, mask_bytes,
             [=](const leakyrelu_array* in, const leakyrelu_array* out, uint8_t* bits, cudaStream_t stream) {
               return leakyrelu_cuda_forward(in, out, slope, bits, mask_bytes, stream);
             });
}

leakyrelu_status Backward(const leakyrelu_array* dy, const uint8_t* mask, size_t mask_bytes, const leakyrelu_array* dx,
                          double slope) {
  return Run(*dy, dx, const_cast<uint8_t*>(mask),
             mask_bytes,  // written only if the kernel did, which the test then sees
             [=](const leakyrelu_array* in, const leakyrelu_array* out, uint8_t* bits, cudaStream_t stream) {
               return leakyrelu_cuda_backward(in, bits, mask_bytes, out, slope, stream);
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
