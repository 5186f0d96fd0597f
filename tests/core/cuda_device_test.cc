// Proves what only a card can show: graphs, streams, refused launches, more elements than 32 bits can count. What
// kernels compute is for the tests that the emulated device passes too; this program runs them on the card.

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "cuda_on_device.h"
#include "leakyrelu/cuda.h"

namespace {

constexpr int64_t kElements = 100003;
constexpr size_t kBytes = kElements * sizeof(float);

leakyrelu_array Row(const DeviceBuffer& buffer) { return {buffer.data(), LEAKYRELU_FLOAT32, 1, &kElements, nullptr}; }

std::vector<float> Numbers(float scale) {
  std::vector<float> numbers(kElements);
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = scale * static_cast<float>(static_cast<int>(i % 7) - 3);
  return numbers;
}

void ExpectLeaky(const DeviceBuffer& buffer, const std::vector<float>& x, float slope) {
  std::vector<float> y(x.size());
  CHECK_CUDA(cudaMemcpy(y.data(), buffer.data(), kBytes, cudaMemcpyDeviceToHost));
  for (size_t i = 0; i < x.size(); ++i) ASSERT_EQ(y[i], x[i] > 0 ? x[i] : x[i] * slope) << "element " << i;
}

// Captured once, replayed on other numbers.
TEST(CudaGraphTest, ForwardAndBackward) {
  const Stream stream;
  const DeviceBuffer x(kBytes);
  const DeviceBuffer y(kBytes);
  const DeviceBuffer dx(kBytes);
  const size_t mask_bytes = leakyrelu_mask_bytes(kElements);
  const DeviceBuffer mask(mask_bytes);
  const leakyrelu_array x_array = Row(x);
  const leakyrelu_array y_array = Row(y);
  const leakyrelu_array dx_array = Row(dx);
  uint8_t* bits = reinterpret_cast<uint8_t*>(mask.data());

  cudaGraph_t graph = nullptr;
  cudaGraphExec_t replay = nullptr;
  CHECK_CUDA(cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeGlobal));
  EXPECT_EQ(leakyrelu_cuda_forward(&x_array, &y_array, 0.25, bits, mask_bytes, stream.get()), LEAKYRELU_OK);
  EXPECT_EQ(leakyrelu_cuda_backward(&y_array, bits, mask_bytes, &dx_array, 0.25, stream.get()), LEAKYRELU_OK);
  CHECK_CUDA(cudaStreamEndCapture(stream.get(), &graph));
  CHECK_CUDA(cudaGraphInstantiate(&replay, graph, 0));
  for (float scale : {1.0f, -2.0f}) {
    const std::vector<float> numbers = Numbers(scale);
    CHECK_CUDA(cudaMemcpy(x.data(), numbers.data(), kBytes, cudaMemcpyHostToDevice));
    CHECK_CUDA(cudaGraphLaunch(replay, stream.get()));
    CHECK_CUDA(cudaStreamSynchronize(stream.get()));
    ExpectLeaky(y, numbers, 0.25f);
    ExpectLeaky(dx, numbers, 0.0625f);
  }
  CHECK_CUDA(cudaGraphExecDestroy(replay));
  CHECK_CUDA(cudaGraphDestroy(graph));
}

TEST(CudaStreamsTest, SeveralAtOnce) {
  struct Work {
    Stream stream;
    DeviceBuffer buffer{kBytes};
  };
  const std::unique_ptr<Work[]> works(new Work[4]);
  const std::vector<float> numbers = Numbers(1);
  for (int i = 0; i < 4; ++i) {
    CHECK_CUDA(cudaMemcpy(works[i].buffer.data(), numbers.data(), kBytes, cudaMemcpyHostToDevice));
  }
  CHECK_CUDA(cudaDeviceSynchronize());
  constexpr int kRounds = 10;
  for (int round = 0; round < kRounds; ++round) {
    for (int i = 0; i < 4; ++i) {
      const leakyrelu_array array = Row(works[i].buffer);
      ASSERT_EQ(leakyrelu_cuda_forward(&array, &array, 0.5, nullptr, 0, works[i].stream.get()), LEAKYRELU_OK);
    }
  }
  CHECK_CUDA(cudaDeviceSynchronize());
  for (int i = 0; i < 4; ++i) ExpectLeaky(works[i].buffer, numbers, 1.0f / (1 << kRounds));
}

TEST(CudaStreamsTest, NullIsTheDefaultOne) {
  const DeviceBuffer x(kBytes);
  const std::vector<float> numbers = Numbers(1);
  CHECK_CUDA(cudaMemcpy(x.data(), numbers.data(), kBytes, cudaMemcpyHostToDevice));
  const leakyrelu_array array = Row(x);
  EXPECT_EQ(leakyrelu_cuda_forward(&array, &array, 0.5, nullptr, 0, nullptr), LEAKYRELU_OK);
  ExpectLeaky(x, numbers, 0.5f);
}

// The default stream must not be used while one that waits for it is captured.
TEST(CudaErrorTest, RefusedLaunch) {
  const DeviceBuffer x(kBytes);
  const leakyrelu_array array = Row(x);
  cudaStream_t captured = nullptr;
  cudaGraph_t graph = nullptr;
  CHECK_CUDA(cudaStreamCreate(&captured));
  CHECK_CUDA(cudaStreamBeginCapture(captured, cudaStreamCaptureModeGlobal));
  EXPECT_EQ(leakyrelu_cuda_forward(&array, &array, 0.5, nullptr, 0, nullptr), LEAKYRELU_ERROR_CUDA);
  EXPECT_STREQ(leakyrelu_cuda_error_message(), cudaGetErrorString(cudaErrorStreamCaptureImplicit));
  EXPECT_NE(cudaStreamEndCapture(captured, &graph), cudaSuccess);
  CHECK_CUDA(cudaStreamDestroy(captured));
  cudaGetLastError();  // forgets it
}

TEST(CudaSizeTest, MoreThan2To32Elements) {
  constexpr int64_t kMany = (int64_t{1} << 32) + 1003;
  constexpr size_t kManyBytes = kMany * sizeof(uint16_t);
  constexpr size_t kMaskBytes = kMany / 8 + 1;
  size_t free_bytes = 0;
  size_t all_bytes = 0;
  CHECK_CUDA(cudaMemGetInfo(&free_bytes, &all_bytes));
  if (free_bytes < kManyBytes + kMaskBytes + (size_t{1} << 28)) GTEST_SKIP() << "needs 10 GB of the card's memory";
  const DeviceBuffer x(kManyBytes);
  const DeviceBuffer mask(kMaskBytes);
  const leakyrelu_array array = {x.data(), LEAKYRELU_BFLOAT16, 1, &kMany, nullptr};
  CHECK_CUDA(cudaMemset(x.data(), 0xBF, kManyBytes));  // a negative number everywhere
  CHECK_CUDA(cudaMemset(mask.data(), 0xA5, kMaskBytes));

  // The first call makes it positive, and the second one leaves it so.
  std::vector<uint16_t> numbers(size_t{1} << 24);
  std::vector<uint8_t> bits(kMaskBytes);
  for (int expected : {0x00, 0xFF}) {
    ASSERT_EQ(
        leakyrelu_cuda_forward(&array, &array, -1.0, reinterpret_cast<uint8_t*>(mask.data()), kMaskBytes, nullptr),
        LEAKYRELU_OK);
    for (int64_t i = 0; i < kMany; i += std::ssize(numbers)) {
      const int64_t count = std::min<int64_t>(kMany - i, std::ssize(numbers));
      const size_t bytes = static_cast<size_t>(count) * sizeof(uint16_t);
      CHECK_CUDA(cudaMemcpy(numbers.data(), x.data() + i * 2, bytes, cudaMemcpyDeviceToHost));
      ASSERT_EQ(std::count(numbers.begin(), numbers.begin() + count, 0x3FBF), count) << "from element " << i;
    }
    CHECK_CUDA(cudaMemcpy(bits.data(), mask.data(), kMaskBytes, cudaMemcpyDeviceToHost));
    EXPECT_EQ(std::count(bits.begin(), bits.end() - 1, expected), std::ssize(bits) - 1);
    EXPECT_EQ(bits.back(), expected & ((1 << kMany % 8) - 1));
  }
}

}  // namespace
