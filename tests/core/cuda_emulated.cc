// The emulated device: what stands in for CUDA's conversions and for its threads.

#include "cuda_emulated.h"

#include <algorithm>
#include <array>
#include <bit>
#include <mutex>
#include <numeric>
#include <vector>

#include "oracle.h"
#include "test_util.h"

namespace leakyrelu::cuda {
namespace {

// What the device's conversion instructions do, asked of the oracle.
template <oracle::DType dtype, typename Storage>
float WidenAsOracle(Storage bits) {
  static const auto kAll = [] {
    std::array<float, size_t{1} << (8 * sizeof(Storage))> values;
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(oracle::Decode(dtype, i));
    return values;
  }();
  return kAll[bits];
}

// Remembers answers, because the oracle searches for each.
template <oracle::DType dtype, typename Storage>
Storage NarrowAsOracle(float v) {
  struct Answer {
    uint32_t bits = 0;  // of +0, whose answer is 0
    Storage narrowed = 0;
  };
  static std::array<Answer, 0x10000> known;
  const uint32_t bits = std::bit_cast<uint32_t>(v);
  Answer& answer = known[(bits ^ bits >> 16) % known.size()];
  if (answer.bits != bits) answer = {bits, static_cast<Storage>(oracle::EncodeNarrow(dtype, v))};
  return answer.narrowed;
}

}  // namespace

float Format<LEAKYRELU_FLOAT16>::Widen(uint16_t bits) { return WidenAsOracle<oracle::DType::kFloat16>(bits); }
float Format<LEAKYRELU_BFLOAT16>::Widen(uint16_t bits) { return WidenAsOracle<oracle::DType::kBFloat16>(bits); }
uint16_t Format<LEAKYRELU_FLOAT16>::Narrow(float v) { return NarrowAsOracle<oracle::DType::kFloat16, uint16_t>(v); }
uint16_t Format<LEAKYRELU_BFLOAT16>::Narrow(float v) { return NarrowAsOracle<oracle::DType::kBFloat16, uint16_t>(v); }

}  // namespace leakyrelu::cuda

namespace cuda_emulated {

Kernel MakeKernel(const leakyrelu::cuda::KernelCall& call, const leakyrelu::Plan& plan) {
  return leakyrelu::cuda::WithKernel(call, plan, [](const auto& kernel, uint32_t blocks) -> Kernel {
    return {[kernel](uint32_t block, uint32_t of, uint32_t thread) { kernel.Thread(block, of, thread); }, blocks,
            kernel.kBlockElements};
  });
}

void Run(const Kernel& kernel) {
  static std::mutex mutex;  // of what is static here, and of the remembered answers
  static test_util::Random random(1);
  const std::lock_guard<std::mutex> lock(mutex);
  // With fewer blocks than asked for some have more to do.
  const uint32_t blocks = random.OneIn(2) ? kernel.blocks : static_cast<uint32_t>(random.Between(1, kernel.blocks));
  std::vector<uint32_t> threads(size_t{blocks} * leakyrelu::cuda::kThreads);
  std::iota(threads.begin(), threads.end(), 0u);
  random.Shuffle(&threads);
  for (uint32_t i : threads) kernel.thread(i / leakyrelu::cuda::kThreads, blocks, i % leakyrelu::cuda::kThreads);
}

}  // namespace cuda_emulated
