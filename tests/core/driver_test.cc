// Proves the whole way from the C functions through plan, driver and threads: any shape and strides against the oracle,
// nothing touched outside the elements, the same for any threads.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "leakyrelu/leakyrelu.h"
#include "oracle.h"
#include "random_calls.h"
#include "test_util.h"

namespace {

using oracle::DType;
using test_util::Dims;
using test_util::kThinning;
using test_util::Random;

void TryForward(Random* random, DType dtype, const Dims& shape, const leakyrelu_executor* executor) {
  const auto forward = [executor](const leakyrelu_array* x, const leakyrelu_array* y, double slope, uint8_t* mask,
                                  size_t mask_bytes) {
    return leakyrelu_forward(x, y, slope, mask, mask_bytes, executor);
  };
  test_util::TryForward(random, dtype, shape, 1, forward);
}

void TryBackward(Random* random, DType dtype, const Dims& shape, const leakyrelu_executor* executor) {
  const auto backward = [executor](const leakyrelu_array* dy, const uint8_t* mask, size_t mask_bytes,
                                   const leakyrelu_array* dx, double slope) {
    return leakyrelu_backward(dy, mask, mask_bytes, dx, slope, executor);
  };
  test_util::TryBackward(random, dtype, shape, 1, backward);
}

class DTypeTest : public testing::TestWithParam<DType> {
 protected:
  // Large enough for several tasks in every dtype, in all kinds of nesting.
  static Dims LargeShape(Random* random) {
    Dims shape = random->Pick(std::vector<Dims>{
        {200003}, {443, 451}, {3, 66667}, {66667, 3}, {7, 11, 2605}, {64, 5, 626}, {2, 3, 4, 5, 6, 279}, {2, 100003}});
    if (random->OneIn(2)) random->Shuffle(&shape);
    return shape;
  }
};
class DriverTest : public DTypeTest {};
class DriverOwnThreadsTest : public DTypeTest {
 protected:
  void SetUp() override {
    if (test_util::kThreadSanitizer) GTEST_SKIP() << "ThreadSanitizer does not see how libgomp synchronises";
  }
};

TEST_P(DriverTest, ForwardOfRandomLayouts) {
  for (uint64_t seed = 0; seed < 3000 / kThinning; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    ASSERT_NO_FATAL_FAILURE(TryForward(&random, GetParam(), test_util::RandomShape(&random, 1500), nullptr));
  }
}

TEST_P(DriverTest, BackwardOfRandomLayouts) {
  for (uint64_t seed = 0; seed < 3000 / kThinning; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    ASSERT_NO_FATAL_FAILURE(TryBackward(&random, GetParam(), test_util::RandomShape(&random, 1500), nullptr));
  }
}

TEST_P(DriverTest, SeveralBuffersFull) {
  for (uint64_t seed = 0; seed < 100 / kThinning; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    const Dims shape = test_util::RandomShape(&random, 15000);
    ASSERT_NO_FATAL_FAILURE(TryForward(&random, GetParam(), shape, nullptr));
    ASSERT_NO_FATAL_FAILURE(TryBackward(&random, GetParam(), shape, nullptr));
  }
}

TEST_P(DriverTest, RunsOfOneElementRepeated) {
  const DType dtype = GetParam();
  const int64_t bytes = oracle::FormatOf(dtype).bytes;
  Random random(1);
  const std::vector<uint64_t> special = oracle::SpecialValues(dtype);
  const leakyrelu_executor executor = {nullptr, test_util::RunOnStdThreads, 2};
  for (int64_t length : {64, 100, 256, 1000, 5000, 8200}) {
    for (int64_t row_stride : {0, 1, 2}) {
      for (bool wants_mask : {false, true}) {
        SCOPED_TRACE(testing::Message() << length << " elements, stride " << row_stride << ", mask " << wants_mask);
        constexpr int64_t kRows = 5;
        std::vector<uint64_t> x(2 * kRows);  // as aligned as any dtype asks
        for (int64_t i = 0; i < 2 * kRows; ++i) {
          test_util::Store(reinterpret_cast<std::byte*>(x.data()) + i * bytes, bytes, random.Pick(special));
        }
        std::vector<std::byte> y(static_cast<size_t>(kRows * length * bytes), test_util::kCanary);
        std::vector<uint8_t> mask(leakyrelu_mask_bytes(kRows * length), 0xA5);
        const int64_t shape[] = {kRows, length};
        const int64_t strides[] = {row_stride, 0};
        const leakyrelu_array in = {x.data(), test_util::ApiDType(dtype), 2, shape, strides};
        const leakyrelu_array out = {y.data(), test_util::ApiDType(dtype), 2, shape, nullptr};
        ASSERT_EQ(leakyrelu_forward(&in, &out, -0.2, wants_mask ? mask.data() : nullptr, wants_mask ? mask.size() : 0,
                                    &executor),
                  LEAKYRELU_OK);
        for (int64_t i = 0; i < kRows * length; ++i) {
          const int64_t element = i / length * row_stride;
          const uint64_t value = test_util::Load(reinterpret_cast<std::byte*>(x.data()) + element * bytes, bytes);
          ASSERT_TRUE(oracle::Same(dtype, test_util::Load(&y[static_cast<size_t>(i * bytes)], bytes),
                                   oracle::Forward(dtype, value, -0.2)))
              << "element " << i;
          if (!wants_mask) continue;
          ASSERT_EQ(test_util::MaskBit(mask.data(), i), oracle::IsPositive(dtype, value)) << "bit " << i;
        }
      }
    }
  }
}

// A task that begins within a run needs the element less often in that run than in the next.
TEST_P(DriverTest, RunsOfOneElementThatTasksCut) {
  const DType dtype = GetParam();
  const int64_t bytes = oracle::FormatOf(dtype).bytes;
  constexpr int64_t kRows = 20;
  constexpr int64_t kLength = 5000;
  constexpr int64_t kStride = kLength + 8;
  const leakyrelu_executor executor = {nullptr, test_util::RunOnStdThreads, 3};
  for (uint64_t value : oracle::SpecialValues(dtype)) {
    alignas(8) std::byte x[8];
    test_util::Store(x, bytes, value);
    std::vector<std::byte> y(static_cast<size_t>(kRows * kStride * bytes), test_util::kCanary);
    const int64_t shape[] = {kRows, kLength};
    const int64_t in_strides[] = {0, 0};
    const int64_t out_strides[] = {kStride, 1};
    const leakyrelu_array in = {x, test_util::ApiDType(dtype), 2, shape, in_strides};
    const leakyrelu_array out = {y.data(), test_util::ApiDType(dtype), 2, shape, out_strides};
    ASSERT_EQ(leakyrelu_forward(&in, &out, -0.2, nullptr, 0, &executor), LEAKYRELU_OK);
    const uint64_t expected = oracle::Forward(dtype, value, -0.2);
    for (int64_t i = 0; i < kRows * kLength; ++i) {
      const int64_t element = i / kLength * kStride + i % kLength;
      const uint64_t found = test_util::Load(&y[static_cast<size_t>(element * bytes)], bytes);
      ASSERT_TRUE(oracle::Same(dtype, found, expected)) << "element " << i << " for " << value;
    }
  }
}

TEST_P(DriverTest, TasksInAnyOrder) {
  for (uint64_t seed = 0; seed < 24 / std::min(kThinning, 4); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    const leakyrelu_executor executor = {nullptr, test_util::RunBackwards, static_cast<int32_t>(random.Between(1, 9))};
    ASSERT_NO_FATAL_FAILURE(TryForward(&random, GetParam(), LargeShape(&random), &executor));
    ASSERT_NO_FATAL_FAILURE(TryBackward(&random, GetParam(), LargeShape(&random), &executor));
  }
}

TEST_P(DriverTest, TasksOnStdThreads) {
  for (uint64_t seed = 0; seed < 12 / std::min(kThinning, 2); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    const leakyrelu_executor executor = {nullptr, test_util::RunOnStdThreads,
                                         static_cast<int32_t>(random.Between(2, 7))};
    ASSERT_NO_FATAL_FAILURE(TryForward(&random, GetParam(), LargeShape(&random), &executor));
    ASSERT_NO_FATAL_FAILURE(TryBackward(&random, GetParam(), LargeShape(&random), &executor));
  }
}

TEST_P(DriverOwnThreadsTest, AnyNumber) {
  const int32_t before = leakyrelu_get_num_threads();
  for (uint64_t seed = 0; seed < 12 / std::min(kThinning, 2); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    ASSERT_EQ(leakyrelu_set_num_threads(static_cast<int32_t>(random.Between(1, 7))), LEAKYRELU_OK);
    ASSERT_NO_FATAL_FAILURE(TryForward(&random, GetParam(), LargeShape(&random), nullptr));
    ASSERT_NO_FATAL_FAILURE(TryBackward(&random, GetParam(), LargeShape(&random), nullptr));
  }
  leakyrelu_set_num_threads(before);
}

// Woven into the input's gaps, sharing no element: allowed, and the input stays as it is.
TEST_P(DriverTest, OutputWovenIntoTheInput) {
  const DType dtype = GetParam();
  const int64_t bytes = oracle::FormatOf(dtype).bytes;
  for (int64_t elements : {1, 7, 8, 9, 5000}) {
    const int64_t shape[] = {elements};
    const int64_t strides[] = {2};
    std::vector<std::byte> memory(static_cast<size_t>(2 * elements * bytes));
    Random random(static_cast<uint64_t>(elements));
    for (int64_t i = 0; i < elements; ++i)
      test_util::Store(&memory[static_cast<size_t>(2 * i * bytes)], bytes, random.Bits());
    const std::vector<std::byte> before = memory;
    const leakyrelu_array x = {memory.data(), test_util::ApiDType(dtype), 1, shape, strides};
    const leakyrelu_array y = {memory.data() + bytes, test_util::ApiDType(dtype), 1, shape, strides};
    ASSERT_EQ(leakyrelu_forward(&x, &y, -0.2, nullptr, 0, nullptr), LEAKYRELU_OK);
    for (int64_t i = 0; i < elements; ++i) {
      const uint64_t in = test_util::Load(&before[static_cast<size_t>(2 * i * bytes)], bytes);
      ASSERT_EQ(test_util::Load(&memory[static_cast<size_t>(2 * i * bytes)], bytes), in);
      ASSERT_TRUE(oracle::Same(dtype, test_util::Load(&memory[static_cast<size_t>((2 * i + 1) * bytes)], bytes),
                               oracle::Forward(dtype, in, -0.2)));
    }
  }
}

std::string NameOf(const testing::TestParamInfo<DType>& info) { return oracle::FormatOf(info.param).name; }

INSTANTIATE_TEST_SUITE_P(, DriverTest, testing::ValuesIn(oracle::kDTypes), NameOf);
INSTANTIATE_TEST_SUITE_P(, DriverOwnThreadsTest, testing::ValuesIn(oracle::kDTypes), NameOf);

TEST(DriverSizeTest, ElementsFarApart) {
  constexpr int64_t kApart = int64_t{1} << 33;  // elements: 32 GiB
  const test_util::Space space(int64_t{1} << 37);
  if (!space) GTEST_SKIP() << "cannot map 128 GiB of address space";
  float* x = reinterpret_cast<float*>(space.data()) + 2 * kApart;
  x[0] = -1;
  x[-kApart] = 2;
  x[-2 * kApart] = -3;
  const int64_t shape[] = {3};
  const int64_t strides[] = {-kApart};
  const leakyrelu_array array = {x, LEAKYRELU_FLOAT32, 1, shape, strides};
  uint8_t mask = 0xFF;
  EXPECT_EQ(leakyrelu_forward(&array, &array, 0.5, &mask, 1, nullptr), LEAKYRELU_OK);
  EXPECT_EQ(x[0], -0.5f);
  EXPECT_EQ(x[-kApart], 2.0f);
  EXPECT_EQ(x[-2 * kApart], -1.5f);
  EXPECT_EQ(mask, 0x02);
}

TEST(DriverSizeTest, MoreThan2To31Elements) {
  if (test_util::kSanitized) GTEST_SKIP() << "takes too long under a sanitizer";
  // Three rows, each of one element repeated: a positive one, a negative one, NaN.
  constexpr int64_t kRow = 715827886;
  static_assert(3 * kRow > (int64_t{1} << 31));
  const uint16_t x[] = {0x3C00, 0xBC00, 0x7E00};
  const int64_t shape[] = {3, kRow};
  const int64_t strides[] = {1, 0};
  const leakyrelu_array array = {const_cast<uint16_t*>(x), LEAKYRELU_FLOAT16, 2, shape, strides};
  std::vector<uint8_t> mask(leakyrelu_mask_bytes(3 * kRow), 0xA5);
  const leakyrelu_executor executor = {nullptr, test_util::RunOnStdThreads, 2};
  ASSERT_EQ(leakyrelu_forward(&array, nullptr, 0.01, mask.data(), mask.size(), &executor), LEAKYRELU_OK);

  constexpr ptrdiff_t kWhole = kRow / 8;
  static_assert(kRow % 8 == 6);
  EXPECT_EQ(std::count(mask.begin(), mask.begin() + kWhole, 0xFF), kWhole);
  EXPECT_EQ(mask[kWhole], 0x3F);
  EXPECT_EQ(std::count(mask.begin() + kWhole + 1, mask.end(), 0x00), std::ssize(mask) - kWhole - 1);
}

// An output of 96 MiB, more than most caches hold, against the same in small pieces. Out of place, in place, and at an
// address that is not aligned to a vector.
TEST(DriverSizeTest, MoreThanTheCacheHolds) {
  constexpr int64_t kElements = (int64_t{24} << 20) + 5;
  constexpr int64_t kPiece = 8 * 1024;
  constexpr size_t kCount = static_cast<size_t>(kElements);
  std::vector<float> x(kCount);
  for (size_t i = 0; i < kCount; ++i) x[i] = static_cast<float>(static_cast<int32_t>(i * 2654435761u)) * 1e-9f;
  std::vector<float> expected(kCount);
  std::vector<uint8_t> expected_mask(leakyrelu_mask_bytes(kElements));
  const auto row = [](float* data, const int64_t* elements) {
    return leakyrelu_array{data, LEAKYRELU_FLOAT32, 1, elements, nullptr};
  };
  for (int64_t begin = 0; begin < kElements; begin += kPiece) {
    const int64_t elements = std::min(kPiece, kElements - begin);
    const leakyrelu_array in = row(&x[static_cast<size_t>(begin)], &elements);
    const leakyrelu_array out = row(&expected[static_cast<size_t>(begin)], &elements);
    ASSERT_EQ(leakyrelu_forward(&in, &out, 0.01, &expected_mask[static_cast<size_t>(begin / 8)],
                                leakyrelu_mask_bytes(elements), nullptr),
              LEAKYRELU_OK);
  }

  auto* memory = static_cast<float*>(leakyrelu_alloc((kCount + 1) * sizeof(float)));
  ASSERT_NE(memory, nullptr);
  const leakyrelu_executor executor = {nullptr, test_util::RunOnStdThreads, 2};
  const leakyrelu_array in = row(x.data(), &kElements);
  auto* const misaligned = reinterpret_cast<float*>(reinterpret_cast<std::byte*>(memory) + 1);
  for (float* y : {memory, memory + 1, misaligned, x.data()}) {
    std::vector<uint8_t> mask(expected_mask.size(), 0xA5);
    const leakyrelu_array out = row(y, &kElements);
    ASSERT_EQ(leakyrelu_forward(&in, &out, 0.01, mask.data(), mask.size(), &executor), LEAKYRELU_OK);
    EXPECT_EQ(std::memcmp(y, expected.data(), kCount * sizeof(float)), 0);
    EXPECT_EQ(mask, expected_mask);
  }
  leakyrelu_free(memory);
}

// ---- How the work is split

// Runs the tasks one at a time and notes which one wrote each byte of the mask.
struct Recorder {
  const uint8_t* mask;
  std::vector<int64_t> writers;  // by byte; -1: none yet
  int64_t tasks = 0;
  bool written_by_two = false;

  static void Run(void* context, int64_t tasks, leakyrelu_task task, void* work) {
    Recorder* self = static_cast<Recorder*>(context);
    self->tasks = tasks;
    for (int64_t i = 0; i < tasks; ++i) {
      const std::vector<uint8_t> before(self->mask, self->mask + self->writers.size());
      task(work, i);
      for (size_t byte = 0; byte < before.size(); ++byte) {
        if (self->mask[byte] == before[byte]) continue;
        self->written_by_two |= self->writers[byte] != -1 && self->writers[byte] != i;
        self->writers[byte] = i;
      }
    }
  }
};

class TaskBorderTest : public testing::TestWithParam<int> {};

TEST_P(TaskBorderTest, NoTwoTasksWriteToOneCacheLineOfTheMask) {
  const size_t offset = static_cast<size_t>(GetParam());  // of the mask from a cache line
  for (DType dtype : {DType::kFloat16, DType::kFloat64}) {
    for (int32_t num_threads : {2, 3, 5, 64}) {
      for (int64_t elements : {150000, 262144, 300001}) {
        SCOPED_TRACE(std::string(oracle::FormatOf(dtype).name) + ", " + std::to_string(num_threads) + " threads, " +
                     std::to_string(elements) + " elements");
        const int64_t shape[] = {elements};
        Random random(1);
        std::vector<std::byte> x(static_cast<size_t>(elements * oracle::FormatOf(dtype).bytes));
        for (std::byte& byte : x) byte = static_cast<std::byte>(random.Bits());
        const leakyrelu_array array = {x.data(), test_util::ApiDType(dtype), 1, shape, nullptr};
        const size_t bytes = leakyrelu_mask_bytes(elements);
        test_util::GuardedBuffer memory(bytes + 64);
        uint8_t* mask = reinterpret_cast<uint8_t*>(memory.begin()) + offset;

        Recorder recorder = {mask, std::vector<int64_t>(bytes, -1)};
        const leakyrelu_executor executor = {&recorder, Recorder::Run, num_threads};
        for (int filling : {0x00, 0xFF}) {  // a byte written changes at least one of the two
          std::memset(mask, filling, bytes);
          ASSERT_EQ(leakyrelu_forward(&array, nullptr, 0.01, mask, bytes, &executor), LEAKYRELU_OK);
        }
        ASSERT_GE(recorder.tasks, 2);
        ASSERT_FALSE(recorder.written_by_two);
        ASSERT_EQ(std::count(recorder.writers.begin(), recorder.writers.end(), -1), 0) << "bytes not written";
        for (size_t byte = 1; byte < bytes; ++byte) {
          if ((offset + byte) % 64 == 0) continue;  // a new line
          ASSERT_EQ(recorder.writers[byte], recorder.writers[byte - 1]) << "mask byte " << byte;
        }
        ASSERT_EQ(std::set<int64_t>(recorder.writers.begin(), recorder.writers.end()).size(),
                  static_cast<size_t>(recorder.tasks))
            << "a task without work";
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(, TaskBorderTest, testing::Values(0, 1, 7, 8, 31, 32, 63),
                         [](const testing::TestParamInfo<int>& info) { return "MaskAt" + std::to_string(info.param); });

struct Counter {
  int64_t calls = 0;
  int64_t tasks = 0;

  static void Run(void* context, int64_t tasks, leakyrelu_task task, void* work) {
    Counter* counter = static_cast<Counter*>(context);
    ++counter->calls;
    counter->tasks = tasks;
    for (int64_t i = 0; i < tasks; ++i) task(work, i);
  }
};

Counter CountTasks(int64_t elements, int32_t num_threads) {
  std::vector<float> x(static_cast<size_t>(elements), -1.0f);
  const leakyrelu_array array = {x.data(), LEAKYRELU_FLOAT32, 1, &elements, nullptr};
  Counter counter;
  const leakyrelu_executor executor = {&counter, Counter::Run, num_threads};
  EXPECT_EQ(leakyrelu_forward(&array, &array, 0.5, nullptr, 0, &executor), LEAKYRELU_OK);
  EXPECT_EQ(x, std::vector<float>(static_cast<size_t>(elements), -0.5f));
  return counter;
}

TEST(ExecutorTest, GetsNoMoreTasksThanItHasThreads) {
  for (int32_t num_threads : {2, 3, 7}) EXPECT_EQ(CountTasks(1 << 20, num_threads).tasks, num_threads);
}

TEST(ExecutorTest, IsCalledOnceForACall) { EXPECT_EQ(CountTasks(1 << 20, 4).calls, 1); }

TEST(ExecutorTest, IsNotCalledForOneThread) { EXPECT_EQ(CountTasks(1 << 20, 1).calls, 0); }

TEST(ExecutorTest, IsNotCalledForASmallArray) { EXPECT_EQ(CountTasks(1000, 8).calls, 0); }

TEST(ExecutorTest, WorksWithMoreThreadsThanElements) {
  EXPECT_EQ(CountTasks(100000, std::numeric_limits<int32_t>::max()).calls, 1);
}

}  // namespace
