// Proves what comes of a call one of whose requests for memory is refused, whichever that is: the right result or
// std::bad_alloc, with the output complete or untouched, nothing left behind, and the next call as ever. And that the C
// functions make no request, but for leakyrelu_alloc.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <new>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#if defined(__linux__)
#include <sys/wait.h>
#include <unistd.h>
#endif

#include "leakyrelu/leakyrelu.hpp"
#include "oracle.h"
#include "test_util.h"

// Last, for other headers may declare what it defines.
#include "allocations.h"

namespace {

constexpr float kSlope = 0.2f;
constexpr float kScale = 1.25f;
constexpr float kUntouched = 77.0f;
constexpr int64_t kMany = (int64_t{1} << 20) + 24;  // enough for several threads
constexpr size_t kLargeBuffer = size_t{33} << 20;   // bytes
constexpr oracle::DType kDType = oracle::DType::kFloat32;

uint64_t BitsOf(float number) {
  uint32_t bits = 0;
  std::memcpy(&bits, &number, sizeof(bits));
  return bits;
}

// Of every kind.
std::vector<float> Numbers(int64_t count) {
  const std::vector<uint64_t> special = oracle::SpecialValues(kDType);
  test_util::Random random(static_cast<uint64_t>(count));
  std::vector<float> numbers(static_cast<size_t>(count));
  for (float& number : numbers) {
    const auto bits = static_cast<uint32_t>(test_util::RandomValue(&random, kDType, special));
    std::memcpy(&number, &bits, sizeof(bits));
  }
  return numbers;
}

// Rows of an input in C order, what calls on it write to, and what that must be.
class Data {
 public:
  // The output's rows lie `stride` apart.
  Data(int64_t rows, int64_t columns, int64_t stride)
      : x_(Numbers(rows * columns)),
        bias_(Numbers(columns)),
        y_(static_cast<size_t>(rows * stride)),
        mask_(leakyrelu_mask_bytes(rows * columns)),
        within_(mask_.size()),
        ndim_(rows == 1 ? 1 : 2),
        shape_{rows, columns},
        strides_{stride, 1} {
    for (size_t i = 0; i < x_.size(); ++i) {
      const uint64_t bits = BitsOf(x_[i]);
      leaky_.push_back(oracle::Forward(kDType, bits, kSlope));
      const oracle::FusedResult fused =
          oracle::FusedForward(kDType, bits, BitsOf(bias_[i % bias_.size()]), kSlope, kScale, kClamp);
      fused_.push_back(fused.y);
      const bool is_inside = oracle::IsPositive(kDType, bits);
      fused_backward_.push_back(oracle::FusedBackward(kDType, bits, is_inside, is_inside, kSlope, kScale));
    }
    positive_.resize(mask_.size());
    for (size_t i = 0; i < x_.size(); ++i) {
      if (oracle::IsPositive(kDType, BitsOf(x_[i]))) test_util::SetMaskBit(&positive_, static_cast<int64_t>(i));
    }
    Reset();
  }

  static constexpr float kClamp = 3.0f;

  int32_t ndim() const { return ndim_; }
  leakyrelu_array x() { return {x_.data(), LEAKYRELU_FLOAT32, ndim_, shape_ + 2 - ndim_, nullptr}; }
  leakyrelu_array y() {
    const bool is_dense = strides_[0] == shape_[1];
    return {y_.data(), LEAKYRELU_FLOAT32, ndim_, shape_ + 2 - ndim_, is_dense ? nullptr : strides_ + 2 - ndim_};
  }
  leakyrelu_array bias() { return {bias_.data(), LEAKYRELU_FLOAT32, 1, shape_ + 1, nullptr}; }
  uint8_t* mask() { return mask_.data(); }
  uint8_t* within() { return within_.data(); }
  const uint8_t* positive() const { return positive_.data(); }
  size_t mask_bytes() const { return mask_.size(); }

  void Reset() {
    std::fill(y_.begin(), y_.end(), kUntouched);
    std::fill(mask_.begin(), mask_.end(), uint8_t{0xFF});
  }
  bool IsLeaky() const { return Holds(leaky_); }
  bool IsFused() const { return Holds(fused_); }
  bool IsFusedBackward() const { return Holds(fused_backward_); }
  bool HasMask() const { return mask_ == positive_; }

 private:
  bool Holds(const std::vector<uint64_t>& expected) const {
    for (size_t i = 0; i < y_.size(); ++i) {
      const size_t row = i / static_cast<size_t>(strides_[0]);
      const size_t column = i % static_cast<size_t>(strides_[0]);
      const bool is_gap = column >= static_cast<size_t>(shape_[1]);
      const uint64_t right = is_gap ? BitsOf(kUntouched) : expected[row * static_cast<size_t>(shape_[1]) + column];
      if (!oracle::Same(kDType, BitsOf(y_[i]), right)) return false;
    }
    return true;
  }

  std::vector<float> x_;
  std::vector<float> bias_;
  std::vector<float> y_;
  std::vector<uint8_t> mask_;
  std::vector<uint8_t> within_;
  std::vector<uint8_t> positive_;
  std::vector<uint64_t> leaky_;
  std::vector<uint64_t> fused_;
  std::vector<uint64_t> fused_backward_;
  int32_t ndim_;
  int64_t shape_[2];
  int64_t strides_[2];
};

void RunOneByOne(void* /*context*/, int64_t tasks, leakyrelu_task task, void* work) {
  for (int64_t i = 0; i < tasks; ++i) task(work, i);
}

// All C functions that compute; whether each has done so, rightly.
bool Compute(Data* data, const leakyrelu_executor* executor) {
  const leakyrelu_array x = data->x();
  const leakyrelu_array y = data->y();
  const leakyrelu_array bias = data->bias();
  const size_t bytes = data->mask_bytes();
  const leakyrelu_fused fused = {&bias, data->ndim() - 1, kScale, Data::kClamp};
  bool is_right = leakyrelu_forward(&x, &y, kSlope, nullptr, 0, executor) == LEAKYRELU_OK && data->IsLeaky();
  data->Reset();
  is_right &= leakyrelu_forward(&x, &y, kSlope, data->mask(), bytes, executor) == LEAKYRELU_OK && data->IsLeaky() &&
              data->HasMask();
  data->Reset();
  is_right &= leakyrelu_forward(&x, nullptr, kSlope, data->mask(), bytes, executor) == LEAKYRELU_OK && data->HasMask();
  is_right &= leakyrelu_backward(&x, data->positive(), bytes, &y, kSlope, executor) == LEAKYRELU_OK && data->IsLeaky();
  data->Reset();
  is_right &=
      leakyrelu_fused_forward(&x, &y, &fused, kSlope, data->mask(), data->within(), bytes, executor) == LEAKYRELU_OK &&
      data->IsFused();
  is_right &= leakyrelu_fused_backward(&x, data->positive(), data->positive(), bytes, &y, &fused, kSlope, executor) ==
                  LEAKYRELU_OK &&
              data->IsFusedBackward();
  is_right &= leakyrelu_forward(&x, &y, 1e300, nullptr, 0, executor) == LEAKYRELU_ERROR_SLOPE_OVERFLOW &&
              data->IsFusedBackward();
  data->Reset();
  return is_right;
}

// With one thread: what starting others takes, the last test refuses.
TEST(FaultsTest, CFunctionsAskForNoMemory) {
  ASSERT_EQ(leakyrelu_set_num_threads(1), LEAKYRELU_OK);
  const leakyrelu_executor several = {nullptr, RunOneByOne, 4};
  Data all[] = {{1, 24, 24}, {3, 24, 24}, {2, 24, 30}, {1, kMany, kMany}, {kMany / 24, 24, 24}, {kMany / 30, 24, 30}};
  Compute(&all[0], &several);  // with what is set up once in a process, and gone without where there is no memory
  leakyrelu_empty_cache();
  for (Data& data : all) {
    for (const leakyrelu_executor* executor : {&several, static_cast<const leakyrelu_executor*>(nullptr)}) {
      allocations::Refuse(1, /*only_that=*/false);
      const bool is_right = Compute(&data, executor);
      const int64_t asked = allocations::Allow();
      EXPECT_TRUE(is_right);
      EXPECT_EQ(asked, 0);
    }
  }
  allocations::Refuse(1, /*only_that=*/false);
  const bool is_right = leakyrelu_set_num_threads(0) == LEAKYRELU_ERROR_NUM_THREADS &&
                        leakyrelu_set_num_threads(2) == LEAKYRELU_OK && leakyrelu_get_num_threads() == 2 &&
                        leakyrelu_version() != nullptr && leakyrelu_mask_bytes(9) == 2 &&
                        leakyrelu_status_message(LEAKYRELU_ERROR_DIM) != nullptr;
  leakyrelu_free(nullptr);
  leakyrelu_set_cache_limit(-1);
  leakyrelu_empty_cache();
  const int64_t asked = allocations::Allow();
  EXPECT_TRUE(is_right && leakyrelu_get_memory_stats().in_use == 0);
  EXPECT_EQ(asked, 0);
}

// Calls call() with each of its requests refused, alone and with all that follow, until it makes no more. It says
// whether what it found is right, and may throw std::bad_alloc. Returns how often one was refused.
int64_t RefuseEach(const std::function<bool()>& call) {
  EXPECT_TRUE(call());
  int64_t refused = 0;
  for (const bool only_that : {true, false}) {
    for (int64_t n = 1;; ++n) {
      const std::string what = std::string(only_that ? "request " : "requests from ") + std::to_string(n);
      const int64_t live = allocations::live;
      bool is_right = true;
      allocations::Refuse(n, only_that);
      try {
        is_right = call();
      } catch (const std::bad_alloc&) {  // with nothing to show for it
      }
      const int64_t asked = allocations::Allow();
      EXPECT_TRUE(is_right) << what;
      EXPECT_EQ(allocations::live.load(), live) << what << ": some memory is left";
      EXPECT_TRUE(call()) << "after " << what;
      if (asked < n) break;
      ++refused;
    }
  }
  return refused;
}

// Of leakyrelu_alloc, in what RefuseEach counts.
constexpr int64_t kOneRequest = allocations::kCountsMalloc ? 1 : 0;

TEST(FaultsTest, Buffers) {
  const auto buffer = [](size_t bytes) {
    return RefuseEach([bytes] {
      void* const memory = leakyrelu_alloc(bytes);
      if (memory == nullptr) throw std::bad_alloc();
      std::memset(memory, 1, bytes);
      leakyrelu_free(memory);
      return true;
    });
  };
  EXPECT_GE(buffer(100), kOneRequest);
  EXPECT_GE(buffer(size_t{1} << 20), kOneRequest);
  buffer(kLargeBuffer);  // comes from the system
  leakyrelu_set_cache_limit(0);
  EXPECT_GE(buffer(kLargeBuffer), kOneRequest);
  leakyrelu_set_cache_limit(-1);
}

// Like std::mdspan.
using Matrix = leakyrelu::Array<float, 2>;

class HppFaultsTest : public testing::Test {
 protected:
  template <class Range>
  bool IsLeaky(const Range& y) const {
    return y.size() == expected_.size() &&
           std::equal(y.begin(), y.end(), expected_.begin(),
                      [](float number, uint64_t bits) { return oracle::Same(kDType, BitsOf(number), bits); });
  }
  bool IsLeaky(const Matrix& y) const { return IsLeaky(std::span<const float>(y.data_handle(), expected_.size())); }
  bool IsUntouched() const { return std::count(y_.begin(), y_.end(), kUntouched) == 24; }

  // Whether call() throws std::invalid_argument with that message.
  template <class Call>
  static bool Says(const char* message, Call call) {
    try {
      call();
    } catch (const std::invalid_argument& error) {
      return std::strcmp(error.what(), message) == 0;
    }
    return false;
  }

  void SetUp() override {
    for (const float number : x_) expected_.push_back(oracle::Forward(kDType, BitsOf(number), kSlope));
  }

  std::vector<float> x_ = Numbers(24);
  std::vector<float> y_ = std::vector<float>(24, kUntouched);
  std::vector<uint8_t> mask_ = std::vector<uint8_t>(3);
  std::vector<uint8_t> short_mask_ = std::vector<uint8_t>(2);
  std::vector<uint64_t> expected_;
  const leakyrelu::LeakyReLU module_{kSlope};
};

TEST_F(HppFaultsTest, FreshResults) {
  EXPECT_GE(RefuseEach([&] { return IsLeaky(module_(x_)); }), kOneRequest);
  EXPECT_GE(RefuseEach([&] { return IsLeaky(module_(std::span<const float>(x_))); }), kOneRequest);
  EXPECT_GE(RefuseEach([&] { return IsLeaky(static_cast<std::vector<float>>(module_(x_))); }), kOneRequest + 2);
  const Matrix x(x_.data(), {4, 6}, {6, 1});
  EXPECT_GE(RefuseEach([&] { return IsLeaky(module_(x)); }), kOneRequest);
  const Matrix too_large(x_.data(), {int64_t{1} << 40, int64_t{1} << 22}, {0, 0});
  EXPECT_THROW(module_(too_large), std::bad_alloc);
}

TEST_F(HppFaultsTest, IntoTheCallersMemory) {
  EXPECT_EQ(RefuseEach([&] {
              module_(x_, y_);
              leakyrelu::forward(x_, y_, mask_, kSlope);
              leakyrelu::backward(x_, mask_, y_, kSlope);
              leakyrelu::fused_forward(x_, y_, {.dim = 0}, {}, {}, kSlope);
              return IsLeaky(y_);
            }),
            0);
}

TEST_F(HppFaultsTest, Errors) {
  const char* const too_large = leakyrelu_status_message(LEAKYRELU_ERROR_SLOPE_OVERFLOW);
  const char* const no_within = leakyrelu_status_message(LEAKYRELU_ERROR_WITHIN);
  const char* const short_mask = "mask has 2 bytes; 24 elements need 3";
  const auto each = [&](const char* message, const std::function<void()>& call) {
    EXPECT_GE(RefuseEach([&] { return Says(message, call); }), 2) << message;
    EXPECT_TRUE(IsUntouched()) << message;
  };
  each(too_large, [&] { leakyrelu::LeakyReLU(1e300)(x_, y_); });
  each(too_large, [&] { leakyrelu::LeakyReLU(1e300)(x_); });
  each(short_mask, [&] { leakyrelu::forward(x_, y_, short_mask_, kSlope); });
  each(short_mask, [&] { leakyrelu::forward(x_, nullptr, short_mask_); });
  each(short_mask, [&] { leakyrelu::backward(x_, short_mask_, y_, kSlope); });
  each(no_within, [&] { leakyrelu::fused_forward(x_, y_, {.clamp = 1.0}, mask_, {}, kSlope); });
  each("within has 2 bytes; it must have as many as mask, 3",
       [&] { leakyrelu::fused_forward(x_, y_, {.clamp = 1.0}, mask_, short_mask_, kSlope); });
  each("within has 2 bytes; it must have as many as mask, 3",
       [&] { leakyrelu::fused_backward(x_, mask_, short_mask_, y_, {.clamp = 1.0}, kSlope); });
}

#if defined(__linux__)

// A child has no threads of the library's: each begins with one request refused of those that starting them takes.
TEST(FaultsTest, ThreadsThatCannotStart) {
  if (test_util::kSanitized) GTEST_SKIP() << "sanitizers ask for memory of their own with a thread";
  if (test_util::kQemu) GTEST_SKIP() << "qemu fails where the child of a process with threads starts some";
  ASSERT_EQ(leakyrelu_set_num_threads(4), LEAKYRELU_OK);
  Data data(1, kMany, kMany);
  const leakyrelu_array x = data.x();
  const leakyrelu_array y = data.y();
  const auto is_right = [&] {
    return leakyrelu_forward(&x, &y, kSlope, nullptr, 0, nullptr) == LEAKYRELU_OK && data.IsLeaky();
  };
  int64_t asked = 1;
  for (int64_t n = 1; n <= asked; ++n) {
    for (const bool only_that : {true, false}) {
      const pid_t child = fork();
      ASSERT_GE(child, 0);
      if (child == 0) {
        alarm(60);
        allocations::Refuse(n, only_that);
        const bool was_right = is_right();
        const int64_t requests = allocations::Allow();
        data.Reset();
        _exit(was_right && is_right() ? static_cast<int>(std::min<int64_t>(requests, 100)) : 255);
      }
      int status = 0;
      ASSERT_EQ(waitpid(child, &status, 0), child);
      ASSERT_TRUE(WIFEXITED(status)) << "request " << n << ": signal " << WTERMSIG(status);
      ASSERT_LE(WEXITSTATUS(status), 100) << "request " << n << ": a wrong result";
      asked = std::max<int64_t>(asked, WEXITSTATUS(status));
    }
  }
  EXPECT_GE(asked, 2);  // the first child's thread, refused, is asked for no more
}

#endif

}  // namespace
