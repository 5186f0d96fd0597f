// Proves how work is laid out on a grid: every element once, whatever the number of blocks, and no index overflows, up
// to 2^40 elements.

#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "cuda/divider.h"
#include "cuda/launch.h"
#include "cuda_emulated.h"
#include "oracle.h"
#include "test_util.h"

namespace {

using cuda_emulated::Kernel;
using cuda_emulated::MakeKernel;
using leakyrelu::DTypeIndex;
using leakyrelu::Mode;
using leakyrelu::Plan;
using leakyrelu::cuda::Divider;
using leakyrelu::cuda::KernelCall;
using leakyrelu::cuda::kMaxBlocks;
using leakyrelu::cuda::kThreads;
using leakyrelu::cuda::kUnit;
using test_util::Random;

// ---- Division

template <typename Index>
class DividerTest : public testing::Test {};
using Indices = testing::Types<uint32_t, uint64_t>;
TYPED_TEST_SUITE(DividerTest, Indices);

TYPED_TEST(DividerTest, AgreesWithTheProcessor) {
  constexpr TypeParam kMax = (TypeParam{1} << (8 * sizeof(TypeParam) - 1)) - 1;
  Random random(1);
  std::vector<TypeParam> numbers = {0, 1, 2, 3, kMax, kMax - 1, kMax / 2, kMax / 2 + 1, kMax / 3};
  for (int bit = 2; bit < static_cast<int>(8 * sizeof(TypeParam)) - 1; ++bit) {
    const TypeParam power = TypeParam{1} << bit;
    for (TypeParam number : {power - 1, power, power + 1}) numbers.push_back(number);
    for (int i = 0; i < 5; ++i) numbers.push_back(static_cast<TypeParam>(random.Bits()) % power);
  }
  for (TypeParam divisor : numbers) {
    if (divisor == 0) continue;
    const Divider<TypeParam> divider(divisor);
    ASSERT_EQ(divider.divisor(), divisor);
    for (TypeParam n : numbers) {
      ASSERT_EQ(divider.Quotient(n), n / divisor) << n << " / " << divisor;
      const TypeParam multiple = n / divisor * divisor;
      ASSERT_EQ(divider.Quotient(multiple), n / divisor) << multiple << " / " << divisor;
      if (multiple > 0) {
        ASSERT_EQ(divider.Quotient(multiple - 1), n / divisor - 1) << multiple << " - 1 / " << divisor;
      }
    }
  }
}

// ---- Grids

TEST(BlocksForTest, EnoughAndNoneIdle) {
  for (int64_t block_elements : {int64_t{2048}, int64_t{8192}}) {
    for (int64_t elements : {int64_t{1}, block_elements, block_elements + 1, block_elements * kMaxBlocks,
                             block_elements * kMaxBlocks + 1, int64_t{1} << 40, (int64_t{1} << 62)}) {
      const int64_t blocks = leakyrelu::cuda::BlocksFor(elements, block_elements);
      EXPECT_TRUE(blocks == kMaxBlocks || blocks * block_elements >= elements);
      EXPECT_LT((blocks - 1) * block_elements, elements);
      EXPECT_LE(blocks, kMaxBlocks);
    }
  }
}

Plan PlanOf(std::vector<leakyrelu::Loop> loops) {
  Plan plan = {};
  plan.elements = 1;
  for (const leakyrelu::Loop& loop : loops) {
    plan.elements *= loop.extent;
    plan.loops[plan.dims++] = loop;
  }
  return plan;
}

TEST(Fits32BitsTest, ElementsAndReach) {
  constexpr int64_t kLargest = (int64_t{1} << 31) - 1;
  const auto fits = [](const std::vector<leakyrelu::Loop>& loops) {
    return leakyrelu::cuda::Fits32Bits(PlanOf(loops));
  };
  EXPECT_TRUE(fits({{kLargest, 1, 1}}));
  EXPECT_FALSE(fits({{kLargest + 1, 1, 1}}));
  EXPECT_FALSE(fits({{kLargest + 1, 0, 0}}));
  EXPECT_TRUE(fits({{2, -kLargest, kLargest}}));
  EXPECT_FALSE(fits({{2, kLargest + 1, 1}}));
  EXPECT_FALSE(fits({{2, 1, -kLargest - 1}}));
  EXPECT_TRUE(fits({{2, kLargest - 3, 4}, {4, 1, 1}}));
  EXPECT_FALSE(fits({{2, kLargest - 2, 4}, {4, 1, 1}}));
  for (int64_t sign : {1, -1}) {
    Plan plan = PlanOf({{6, 1, 1}});
    plan.bias = {0, sign * (kLargest / 2), 3, 2};
    EXPECT_TRUE(leakyrelu::cuda::Fits32Bits(plan));
    plan.bias.stride = sign * (kLargest / 2 + 1);
    EXPECT_FALSE(leakyrelu::cuda::Fits32Bits(plan));
  }
}

class GridTest : public testing::TestWithParam<leakyrelu::DTypeInfo> {};

// Each element that is 1 becomes 2 if it is done once, in place with a mask of zeros.
TEST_P(GridTest, EveryElementOnceWhateverTheBlocks) {
  const size_t dtype = DTypeIndex(GetParam().dtype);
  const int64_t bytes = static_cast<int64_t>(leakyrelu::kDTypes[dtype].bytes);
  const uint64_t one = oracle::BitsOf(static_cast<oracle::DType>(dtype), 1.0);
  const uint64_t two = oracle::BitsOf(static_cast<oracle::DType>(dtype), 2.0);
  for (int64_t elements : {1, 8, 2047, 2048, 2049, 4095, 4097, 8191, 8192, 8193, 16385, 50001}) {
    for (int64_t away : {0, 1, 3}) {
      for (int64_t stride : {1, 2}) {
        for (uint32_t fewer : {1u, 2u, 3u, 100u}) {
          std::vector<std::byte> memory(static_cast<size_t>((elements + 8) * stride * bytes + 16));
          std::byte* data = memory.data();
          data += -reinterpret_cast<uintptr_t>(data) % 16;
          data += away * bytes;
          for (int64_t i = 0; i < elements; ++i) test_util::Store(data + i * stride * bytes, bytes, one);
          std::vector<uint8_t> mask(leakyrelu_mask_bytes(elements));
          const KernelCall call = {Mode::kBackward, dtype, data, data, mask.data(), 2.0};
          const Kernel kernel = MakeKernel(call, PlanOf({{elements, stride, stride}}));
          const uint32_t blocks = std::min(kernel.blocks, fewer);
          for (uint32_t block = 0; block < blocks; ++block) {
            for (uint32_t thread = 0; thread < kThreads; ++thread) kernel.thread(block, blocks, thread);
          }
          for (int64_t i = 0; i < elements; ++i) {
            ASSERT_EQ(test_util::Load(data + i * stride * bytes, bytes), two)
                << "element " << i << " of " << elements << ", " << away << " away, stride " << stride;
          }
        }
      }
    }
  }
}

// Too many elements to do them all: the blocks at the ends of 31-bit, 32-bit and all indices, with a grid of one block
// for each tile. Zeros with a negative slope become -0, so it shows what was done and how often.
class HugeGrid {
 public:
  HugeGrid(leakyrelu_dtype dtype, int64_t elements, int64_t stride)
      : dtype_(DTypeIndex(dtype)),
        bytes_(static_cast<int64_t>(leakyrelu::kDTypes[dtype_].bytes)),
        elements_(elements),
        stride_(stride),
        space_(elements * stride * bytes_),
        mask_(static_cast<int64_t>(leakyrelu_mask_bytes(elements))) {}

  explicit operator bool() const { return static_cast<bool>(space_) && static_cast<bool>(mask_); }

  void Test() {
    const KernelCall call = {Mode::kForwardWithMask, dtype_, space_.data(), space_.data(), Mask(), -1.0};
    const Kernel kernel = MakeKernel(call, PlanOf({{elements_, stride_, stride_}}));
    const int64_t block_elements = kernel.block_elements;
    const int64_t blocks = (elements_ + block_elements - 1) / block_elements;
    std::set<int64_t> tried;
    for (int64_t border : {int64_t{0}, int64_t{1} << 31, int64_t{1} << 32, elements_}) {
      for (int64_t block : {border / block_elements - 1, border / block_elements}) {
        if (block >= 0 && block < blocks) tried.insert(block);
      }
    }
    for (int64_t block : tried) {
      const int64_t begin = block * block_elements;
      const int64_t end = std::min(begin + block_elements, elements_);
      std::memset(Mask() + begin / 8, 0xA5, static_cast<size_t>((end - begin + 7) / 8));
      for (uint32_t thread = 0; thread < kThreads; ++thread) {
        kernel.thread(static_cast<uint32_t>(block), static_cast<uint32_t>(blocks), thread);
      }
    }
    const uint64_t minus_zero = oracle::SignBit(static_cast<oracle::DType>(dtype_));
    for (int64_t block : tried) {
      const int64_t begin = block * block_elements;
      const int64_t end = std::min(begin + block_elements, elements_);
      for (int64_t i = begin; i < end; ++i) {
        ASSERT_EQ(test_util::Load(space_.data() + i * stride_ * bytes_, bytes_), minus_zero) << "element " << i;
      }
      for (int64_t i = begin / 8; i < (end + 7) / 8; ++i) ASSERT_EQ(Mask()[i], 0) << "mask byte " << i;
    }
  }

 private:
  uint8_t* Mask() { return reinterpret_cast<uint8_t*>(mask_.data()); }

  size_t dtype_;
  int64_t bytes_;
  int64_t elements_;
  int64_t stride_;
  test_util::Space space_;
  test_util::Space mask_;
};

TEST_P(GridTest, TheMostElementsFor32Bits) {
  HugeGrid contiguous(GetParam().dtype, (int64_t{1} << 31) - 1, 1);
  HugeGrid strided(GetParam().dtype, int64_t{1} << 30, 2);
  if (!contiguous || !strided) GTEST_SKIP() << "cannot map so much address space";
  ASSERT_NO_FATAL_FAILURE(contiguous.Test());
  ASSERT_NO_FATAL_FAILURE(strided.Test());
}

TEST_P(GridTest, MoreElementsThan32Bits) {
  if (test_util::kQemu) GTEST_SKIP() << "qemu keeps a record of every page of the address space that is mapped";
  for (int64_t elements : {int64_t{1} << 31, (int64_t{1} << 32) + 5, (int64_t{1} << 40) + 3}) {
    for (int64_t stride : {1, 2}) {
      HugeGrid grid(GetParam().dtype, elements, stride);
      if (!grid) GTEST_SKIP() << "cannot map so much address space";
      ASSERT_NO_FATAL_FAILURE(grid.Test()) << elements << " elements, stride " << stride;
    }
  }
}

// The fused operation likewise: of the first elements of a run, of the last, and of those at the ends of 31-bit and
// 32-bit indices. x is 0 everywhere, so that y is the bias.
class HugeFused {
 public:
  HugeFused(leakyrelu_dtype dtype, int64_t elements, int64_t stride, leakyrelu::BiasRuns runs)
      : dtype_(DTypeIndex(dtype)),
        bytes_(static_cast<int64_t>(leakyrelu::kDTypes[dtype_].bytes)),
        elements_(elements),
        stride_(stride),
        runs_(runs),
        x_(elements * stride * bytes_),
        y_(elements * stride * bytes_),
        mask_(static_cast<int64_t>(leakyrelu_mask_bytes(elements))),
        bias_(((runs.extent - 1) * runs.stride + 1) * bytes_) {}

  explicit operator bool() const { return x_ && y_ && mask_ && bias_; }

  void Test() {
    const leakyrelu::cuda::FusedCall fused = {bias_.data(), nullptr, 1.0, std::numeric_limits<double>::infinity()};
    const KernelCall call = {Mode::kForward, dtype_, x_.data(), y_.data(), Mask(), 1.0, &fused};
    Plan plan = PlanOf({{elements_, stride_, stride_}});
    plan.bias = runs_;
    const Kernel kernel = MakeKernel(call, plan);
    const int64_t blocks = (elements_ + kernel.block_elements - 1) / kernel.block_elements;
    const int64_t all_runs = runs_.run * runs_.extent;
    for (int64_t border : {int64_t{0}, runs_.run, all_runs, all_runs + 3 * runs_.run, int64_t{1} << 31,
                           int64_t{1} << 32, elements_ / runs_.run * runs_.run, elements_}) {
      for (int64_t block : {border / kernel.block_elements - 1, border / kernel.block_elements}) {
        if (block < 0 || block >= blocks) continue;
        const int64_t begin = block * kernel.block_elements;
        const int64_t end = std::min(begin + kernel.block_elements, elements_);
        for (int64_t i = begin; i < end; ++i) SetBias(i);
        for (uint32_t thread = 0; thread < kThreads; ++thread) {
          kernel.thread(static_cast<uint32_t>(block), static_cast<uint32_t>(blocks), thread);
        }
        for (int64_t i = begin; i < end; ++i) {
          ASSERT_EQ(test_util::Load(y_.data() + i * stride_ * bytes_, bytes_), BiasOf(i)) << "element " << i;
          ASSERT_EQ(test_util::MaskBit(Mask(), i), Index(i) % 2 == 1) << "bit " << i;
        }
      }
    }
  }

 private:
  uint8_t* Mask() { return reinterpret_cast<uint8_t*>(mask_.data()); }
  // As plan.h says it.
  int64_t Index(int64_t element) const { return element / runs_.run % runs_.extent; }
  // 1, 3, 5, 7, ..., and every second one negative.
  uint64_t BiasOf(int64_t element) const {
    const int64_t index = Index(element);
    const double magnitude = static_cast<double>(index % 100 * 2 + 1);
    return oracle::BitsOf(static_cast<oracle::DType>(dtype_), index % 2 == 1 ? magnitude : -magnitude);
  }
  void SetBias(int64_t element) {
    test_util::Store(bias_.data() + Index(element) * runs_.stride * bytes_, bytes_, BiasOf(element));
  }

  size_t dtype_;
  int64_t bytes_;
  int64_t elements_;
  int64_t stride_;
  leakyrelu::BiasRuns runs_;
  test_util::Space x_;
  test_util::Space y_;
  test_util::Space mask_;
  test_util::Space bias_;
};

TEST_P(GridTest, TheBiasesOfHugeArrays) {
  if (test_util::kQemu) GTEST_SKIP() << "qemu keeps a record of every page of the address space that is mapped";
  struct Case {
    int64_t elements;
    leakyrelu::BiasRuns runs;
  };
  constexpr int64_t k31 = int64_t{1} << 31;
  const Case cases[] = {
      {k31 - 1, {0, 1, 1, k31 - 1}},                        // one for all
      {k31 - 1, {0, 1, k31 - 1, 1}},                        // one for each
      {(k31 / 21) * 21, {0, 1, 7, k31 / 21}},               // three times seven runs
      {(int64_t{1} << 36) + 5, {0, 1, (k31 << 5) + 5, 1}},  // more biases than 32 bits can count
      {3 * ((k31 << 3) + 3), {0, 1, 3, (k31 << 3) + 3}},    // longer runs
      {5 * 7 * ((k31 << 2) + 1), {0, 2, 7, (k31 << 2) + 1}},
      {int64_t{3} << 20, {0, (k31 >> 1) + 1, 3, 1}},  // all fits but the bias's reach
  };
  for (const Case& c : cases) {
    for (int64_t stride : {1, 2}) {
      HugeFused huge(GetParam().dtype, c.elements, stride, c.runs);
      if (!huge) GTEST_SKIP() << "cannot map so much address space";
      ASSERT_NO_FATAL_FAILURE(huge.Test()) << c.elements << " elements, stride " << stride << ", " << c.runs.extent
                                           << " biases of " << c.runs.run << " elements";
    }
  }
}

// With the grid that is really launched, where blocks go on to more tiles: those of one thread.
TEST_P(GridTest, AThreadOf2To40Elements) {
  if (test_util::kQemu) GTEST_SKIP() << "qemu keeps a record of every page of the address space that is mapped";
  constexpr int64_t kElements = int64_t{1} << 40;
  const size_t dtype = DTypeIndex(GetParam().dtype);
  const int64_t bytes = static_cast<int64_t>(leakyrelu::kDTypes[dtype].bytes);
  test_util::Space space(kElements * bytes);
  if (!space) GTEST_SKIP() << "cannot map so much address space";
  const KernelCall call = {Mode::kForward, dtype, space.data(), space.data(), nullptr, -1.0};
  const Kernel kernel = MakeKernel(call, PlanOf({{kElements, 1, 1}}));
  constexpr int64_t kThread = 77;
  const int64_t block = kernel.blocks - 1;
  kernel.thread(static_cast<uint32_t>(block), kernel.blocks, kThread);
  const uint64_t minus_zero = oracle::SignBit(static_cast<oracle::DType>(dtype));
  const int64_t step = kernel.blocks * kernel.block_elements;
  for (int64_t tile = block * kernel.block_elements; tile < kElements; tile += step) {
    for (int64_t unit = tile + kThread * kUnit; unit < tile + kernel.block_elements; unit += kThreads * kUnit) {
      for (int64_t i = unit; i < unit + kUnit; ++i) {
        ASSERT_EQ(test_util::Load(space.data() + i * bytes, bytes), minus_zero) << "element " << i;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(, GridTest, testing::ValuesIn(leakyrelu::kDTypes),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
