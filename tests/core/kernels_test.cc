// Proves every kernel (instruction set or device x dtype x mode) bit for bit against the oracle, and that it touches
// nothing outside its elements: guard pages on both sides, canaries, every length of a few vectors, every misalignment.

#include "kernels.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <sstream>
#include <string>
#include <tuple>
#include <vector>

#include "kernels_to_test.h"
#include "oracle.h"
#include "test_util.h"

namespace {

using leakyrelu::Kernels;
using oracle::DType;
using test_util::GuardedBuffer;
using test_util::kThinning;

enum class Mode {
  kForward,
  kForwardWithMask,
  kMaskOnly,
  kBackward,
  kStreamingForward,
  kStreamingForwardWithMask,
  kStreamingBackward
};

constexpr Mode kModes[] = {Mode::kForward,          Mode::kForwardWithMask,  Mode::kMaskOnly,
                           Mode::kBackward,         Mode::kStreamingForward, Mode::kStreamingForwardWithMask,
                           Mode::kStreamingBackward};

bool WritesOut(Mode mode) { return mode != Mode::kMaskOnly; }
bool WritesMask(Mode mode) {
  return mode == Mode::kForwardWithMask || mode == Mode::kMaskOnly || mode == Mode::kStreamingForwardWithMask;
}
bool ReadsMask(Mode mode) { return mode == Mode::kBackward || mode == Mode::kStreamingBackward; }

leakyrelu::Kernel KernelOf(const Kernels& kernels, Mode mode, size_t dtype) {
  switch (mode) {
    case Mode::kForward:
    case Mode::kForwardWithMask:
    case Mode::kMaskOnly:
      return kernels.forward[dtype];
    case Mode::kBackward:
      return kernels.backward[dtype];
    case Mode::kStreamingForward:
    case Mode::kStreamingForwardWithMask:
      return kernels.streaming_forward[dtype];
    case Mode::kStreamingBackward:
      return kernels.streaming_backward[dtype];
  }
  return nullptr;
}

size_t MaskBytes(size_t elements) { return (elements + 7) / 8; }

// Input, a mask for the backward, and what the oracle makes of them. A prefix of it is as good a sample.
struct Sample {
  Sample(DType type, double slope_, const std::vector<uint64_t>& values, test_util::Random* random)
      : dtype(type), slope(slope_), bytes(static_cast<size_t>(oracle::FormatOf(type).bytes)) {
    const size_t size = values.size() * bytes;
    in.resize(size);
    forward.resize(size);
    backward.resize(size);
    positive.resize(MaskBytes(values.size()));
    given_mask.resize(MaskBytes(values.size()));
    for (uint8_t& byte : given_mask) byte = static_cast<uint8_t>(random->Bits());
    for (size_t i = 0; i < values.size(); ++i) {
      const int64_t index = static_cast<int64_t>(i);
      const int64_t width = static_cast<int64_t>(bytes);
      test_util::Store(&in[i * bytes], width, values[i]);
      test_util::Store(&forward[i * bytes], width, oracle::Forward(dtype, values[i], slope));
      test_util::Store(&backward[i * bytes], width,
                       oracle::Backward(dtype, values[i], test_util::MaskBit(given_mask.data(), index), slope));
      if (oracle::IsPositive(dtype, values[i])) test_util::SetMaskBit(&positive, index);
    }
  }

  size_t elements() const { return in.size() / bytes; }

  DType dtype;
  double slope;
  size_t bytes;  // of one element
  std::vector<std::byte> in;
  std::vector<std::byte> forward;
  std::vector<std::byte> backward;
  std::vector<uint8_t> positive;
  std::vector<uint8_t> given_mask;  // its unused high bits are random
};

std::vector<uint64_t> RandomValues(DType dtype, size_t count, test_util::Random* random) {
  const std::vector<uint64_t> special = oracle::SpecialValues(dtype);
  std::vector<uint64_t> values(count);
  for (uint64_t& value : values) value = test_util::RandomValue(random, dtype, special);
  return values;
}

// Where a run begins or ends: so many elements away from the guard page behind it, or from the one before it.
struct Place {
  bool at_end;
  size_t away;
};

// Guarded memory for one kernel call at a time.
class Bench {
 public:
  explicit Bench(size_t bytes) : in_(bytes), out_(bytes), mask_(bytes) {}

  // One call on the first `elements` of the sample. Returns what was wrong, or nothing.
  std::string Try(const Kernels& kernels, const Sample& sample, Mode mode, size_t elements, Place in_place,
                  Place out_place, size_t mask_away, bool same_memory) {
    const leakyrelu::Kernel kernel = KernelOf(kernels, mode, static_cast<size_t>(sample.dtype));
    if (kernel == nullptr) return "";  // devices have no streaming ones
    const size_t size = elements * sample.bytes;
    const size_t mask_size = MaskBytes(elements);
    std::byte* in = Locate(in_, size, in_place.at_end, in_place.away * sample.bytes);
    std::byte* out = same_memory ? in : Locate(out_, size, out_place.at_end, out_place.away * sample.bytes);
    std::byte* mask = Locate(mask_, mask_size, in_place.at_end, mask_away);
    for (const GuardedBuffer* buffer : {&in_, &out_, &mask_}) {
      std::memset(buffer->begin(), static_cast<int>(test_util::kCanary), buffer->size());
    }
    std::copy_n(sample.in.begin(), size, in);
    if (ReadsMask(mode)) std::memcpy(mask, sample.given_mask.data(), mask_size);

    test_util::DirtyStack();
    kernel(in, WritesOut(mode) ? out : nullptr,
           WritesMask(mode) || ReadsMask(mode) ? reinterpret_cast<uint8_t*>(mask) : nullptr, elements, sample.slope);

    if (!IsUntouchedAround(in_, in, size)) return "touched memory around the input";
    if (!IsUntouchedAround(mask_, mask, mask_size)) return "touched memory around the mask";
    if (!same_memory && !IsUntouchedAround(out_, out, WritesOut(mode) ? size : 0)) {
      return "touched memory around the output";
    }
    if (!(same_memory && WritesOut(mode)) && !std::equal(in, in + size, sample.in.begin())) return "changed the input";
    if (WritesOut(mode)) {
      const std::string wrong = Compare(sample, ReadsMask(mode) ? sample.backward : sample.forward, out, size);
      if (!wrong.empty()) return wrong;
    }
    return CheckMask(sample, mode, mask, elements);
  }

 private:
  static std::byte* Locate(const GuardedBuffer& buffer, size_t size, bool at_end, size_t away) {
    return at_end ? buffer.end() - away - size : buffer.begin() + away;
  }

  static bool IsUntouchedAround(const GuardedBuffer& buffer, const std::byte* begin, size_t size) {
    return test_util::IsUntouched(buffer.begin(), begin) && test_util::IsUntouched(begin + size, buffer.end());
  }

  static std::string Compare(const Sample& sample, const std::vector<std::byte>& expected, const std::byte* out,
                             size_t size) {
    if (std::memcmp(out, expected.data(), size) == 0) return "";
    const int64_t width = static_cast<int64_t>(sample.bytes);
    for (size_t i = 0; i < size; i += sample.bytes) {
      const uint64_t want = test_util::Load(&expected[i], width);
      const uint64_t got = test_util::Load(out + i, width);
      if (!oracle::Same(sample.dtype, want, got)) {
        std::ostringstream text;
        text << std::hex << "of 0x" << test_util::Load(&sample.in[i], width) << std::dec << " (element "
             << i / sample.bytes << ") made 0x" << std::hex << got << ", not 0x" << want;
        return text.str();
      }
    }
    return "";
  }

  static std::string CheckMask(const Sample& sample, Mode mode, const std::byte* mask, size_t elements) {
    const size_t size = MaskBytes(elements);
    const uint8_t* got = reinterpret_cast<const uint8_t*>(mask);
    if (ReadsMask(mode)) {
      return std::equal(got, got + size, sample.given_mask.begin()) ? "" : "changed the mask";
    }
    if (!WritesMask(mode)) return test_util::IsUntouched(mask, mask + size) ? "" : "wrote a mask";
    std::vector<uint8_t> expected(sample.positive.begin(), sample.positive.begin() + static_cast<ptrdiff_t>(size));
    if (elements % 8 != 0) expected.back() = static_cast<uint8_t>(expected.back() & ((1u << elements % 8) - 1));
    for (size_t i = 0; i < size; ++i) {
      if (got[i] != expected[i]) {
        return "mask byte " + std::to_string(i) + " is " + std::to_string(got[i]) + ", not " +
               std::to_string(expected[i]);
      }
    }
    return "";
  }

  GuardedBuffer in_;
  GuardedBuffer out_;
  GuardedBuffer mask_;
};

class KernelsTest : public testing::TestWithParam<std::tuple<const Kernels*, DType>> {
 protected:
  const Kernels& kernels() const { return *std::get<0>(GetParam()); }
  DType dtype() const { return std::get<1>(GetParam()); }
  size_t bytes() const { return static_cast<size_t>(oracle::FormatOf(dtype()).bytes); }
};

// 4 vectors of 64 bytes and 3 elements, in the narrowest dtype; in all dtypes 2 of the kernels' mask words and 3
// elements.
constexpr size_t kLongest = 4 * 64 / 2 + 3;

std::string Context(Mode mode, size_t elements, Place in, Place out, double slope) {
  std::ostringstream text;
  text << "mode " << static_cast<int>(mode) << ", " << elements << " elements, in " << in.away << " from "
       << (in.at_end ? "end" : "begin") << ", out " << out.away << " from " << (out.at_end ? "end" : "begin")
       << ", slope " << slope;
  return text.str();
}

constexpr size_t kAways[] = {0, 1, 2, 3, 4, 5, 6, 7, 8};

TEST_P(KernelsTest, EveryLengthAndMisalignmentOutOfPlace) {
  test_util::Random random(1);
  const Sample sample(dtype(), 0.01, RandomValues(dtype(), kLongest, &random), &random);
  Bench bench(1);
  for (Mode mode : kModes) {
    for (size_t elements = 0; elements <= kLongest; ++elements) {
      for (bool at_end : {false, true}) {
        for (size_t in_away : kAways) {
          for (size_t out_away : kAways) {
            if ((elements + in_away + out_away) % kThinning != 0) continue;
            const Place in = {at_end, in_away};
            const Place out = {at_end, out_away};
            ASSERT_EQ(bench.Try(kernels(), sample, mode, elements, in, out, (in_away + out_away) % 4, false), "")
                << Context(mode, elements, in, out, sample.slope);
          }
        }
      }
    }
  }
}

TEST_P(KernelsTest, EveryLengthAndMisalignmentInPlace) {
  test_util::Random random(2);
  const Sample sample(dtype(), -0.2, RandomValues(dtype(), kLongest, &random), &random);
  Bench bench(1);
  for (Mode mode : {Mode::kForward, Mode::kForwardWithMask, Mode::kBackward}) {
    for (size_t elements = 0; elements <= kLongest; ++elements) {
      for (bool at_end : {false, true}) {
        for (size_t away : kAways) {
          const Place place = {at_end, away};
          ASSERT_EQ(bench.Try(kernels(), sample, mode, elements, place, place, away % 4, true), "")
              << Context(mode, elements, place, place, sample.slope);
        }
      }
    }
  }
}

TEST_P(KernelsTest, InputAtTheEndOfMemoryOutputAtItsBeginning) {
  test_util::Random random(3);
  const Sample sample(dtype(), 0.01, RandomValues(dtype(), kLongest, &random), &random);
  Bench bench(1);
  for (Mode mode : kModes) {
    for (size_t elements = 0; elements <= kLongest; ++elements) {
      for (bool in_at_end : {false, true}) {
        const Place in = {in_at_end, 0};
        const Place out = {!in_at_end, 0};
        ASSERT_EQ(bench.Try(kernels(), sample, mode, elements, in, out, 0, false), "")
            << Context(mode, elements, in, out, sample.slope);
      }
    }
  }
}

// Some of which have the kernels go from the last element to the first.
TEST_P(KernelsTest, EveryDistanceOfTheOutputModuloAPage) {
  test_util::Random random(7);
  constexpr size_t kElements = 5 * 64 + 3;
  const Sample sample(dtype(), -0.2, RandomValues(dtype(), kElements, &random), &random);
  Bench bench(4096 + kElements * bytes());
  for (Mode mode : kModes) {
    for (size_t distance = 0; distance < 4096; distance += 16) {
      const Place in = {false, 0};
      const Place out = {false, distance / bytes()};
      ASSERT_EQ(bench.Try(kernels(), sample, mode, kElements, in, out, 0, false), "")
          << Context(mode, kElements, in, out, sample.slope);
    }
  }
}

TEST_P(KernelsTest, LargeLengths) {
  test_util::Random random(4);
  Bench bench(10007 * bytes() + 64);
  for (double slope : {0.01, 1.7}) {
    const Sample sample(dtype(), slope, RandomValues(dtype(), 10007, &random), &random);
    for (Mode mode : kModes) {
      for (size_t elements : std::vector<size_t>{1000, 1023, 1024, 1025, 2047, 4095, 4096, 8191, 10007}) {
        for (bool at_end : {false, true}) {
          for (size_t away : std::vector<size_t>{0, 1, 3}) {
            const Place in = {at_end, away};
            const Place out = {at_end, away * 2};
            ASSERT_EQ(bench.Try(kernels(), sample, mode, elements, in, out, away, false), "")
                << Context(mode, elements, in, out, slope);
            if (mode == Mode::kMaskOnly) continue;
            ASSERT_EQ(bench.Try(kernels(), sample, mode, elements, in, in, away, true), "")
                << Context(mode, elements, in, in, slope);
          }
        }
      }
    }
  }
}

TEST_P(KernelsTest, SpecialValuesInEveryLaneTimesEverySlope) {
  test_util::Random random(5);
  const std::vector<uint64_t> special = oracle::SpecialValues(dtype());
  std::vector<uint64_t> values(kLongest);
  Bench bench(1);
  for (double slope : oracle::Slopes(dtype())) {
    for (size_t rotation = 0; rotation < special.size(); ++rotation) {
      for (size_t i = 0; i < values.size(); ++i) values[i] = special[(i + rotation) % special.size()];
      Sample sample(dtype(), slope, values, &random);
      for (Mode mode : kModes) {
        // All of it ends in a partial vector, the largest multiple of 64 in none.
        for (size_t elements : std::vector<size_t>{kLongest, kLongest / 64 * 64}) {
          const Place place = {true, 0};
          ASSERT_EQ(bench.Try(kernels(), sample, mode, elements, place, place, 0, false), "")
              << Context(mode, elements, place, place, slope);
        }
      }
    }
  }
}

TEST_P(KernelsTest, RandomSlopes) {
  test_util::Random random(6);
  Bench bench(512 * bytes());
  for (int round = 0; round < 200 / kThinning; ++round) {
    double slope = std::bit_cast<double>(random.Bits());
    if (dtype() != DType::kFloat64) slope = std::bit_cast<float>(static_cast<uint32_t>(random.Bits()));
    const Sample sample(dtype(), slope, RandomValues(dtype(), 512, &random), &random);
    for (Mode mode : kModes) {
      const Place place = {false, 0};
      ASSERT_EQ(bench.Try(kernels(), sample, mode, sample.elements(), place, place, 0, false), "")
          << Context(mode, sample.elements(), place, place, slope);
    }
  }
}

// ---- 16-bit formats: all values there are

// The oracle's answer for each of the 65,536 values scaled, computed once for all instruction sets.
const std::vector<uint16_t>& AllScaled(DType dtype, double slope) {
  static std::map<std::pair<DType, uint64_t>, std::vector<uint16_t>> known;
  std::vector<uint16_t>& scaled = known[{dtype, std::bit_cast<uint64_t>(slope)}];
  if (scaled.empty()) {
    for (uint64_t v = 0; v < 0x10000; ++v) scaled.push_back(static_cast<uint16_t>(oracle::Scale(dtype, v, slope)));
  }
  return scaled;
}

class All16BitValuesTest : public KernelsTest {
 protected:
  All16BitValuesTest() : in_(0x10000), out_(0x10000), positive_(0x10000 / 8), mask_(0x10000 / 8) {
    for (size_t v = 0; v < in_.size(); ++v) {
      in_[v] = static_cast<uint16_t>(v);
      if (oracle::IsPositive(dtype(), v)) test_util::SetMaskBit(&positive_, static_cast<int64_t>(v));
    }
  }

  // Compares out_ with each value where the mask's bit is set and each scaled value elsewhere.
  void ExpectSelected(const std::vector<uint8_t>& mask, double slope) {
    const std::vector<uint16_t>& scaled = AllScaled(dtype(), slope);
    for (size_t v = 0; v < in_.size(); ++v) {
      const uint16_t expected = test_util::MaskBit(mask.data(), static_cast<int64_t>(v)) ? in_[v] : scaled[v];
      if (out_[v] == expected) continue;
      ASSERT_TRUE(oracle::Same(dtype(), out_[v], expected))
          << "of " << v << " times " << slope << " made " << out_[v] << ", not " << expected;
    }
  }

  size_t index() const { return static_cast<size_t>(dtype()); }

  std::vector<uint16_t> in_;
  std::vector<uint16_t> out_;
  std::vector<uint8_t> positive_;
  std::vector<uint8_t> mask_;
};

TEST_P(All16BitValuesTest, Forward) {
  for (double slope : oracle::Slopes(dtype())) {
    kernels().forward[index()](in_.data(), out_.data(), nullptr, in_.size(), slope);
    ASSERT_NO_FATAL_FAILURE(ExpectSelected(positive_, slope));
  }
}

TEST_P(All16BitValuesTest, ForwardWithMask) {
  for (double slope : oracle::Slopes(dtype())) {
    mask_.assign(mask_.size(), 0xA5);
    kernels().forward[index()](in_.data(), out_.data(), mask_.data(), in_.size(), slope);
    ASSERT_EQ(mask_, positive_);
    ASSERT_NO_FATAL_FAILURE(ExpectSelected(positive_, slope));
  }
}

TEST_P(All16BitValuesTest, MaskOnly) {
  kernels().forward[index()](in_.data(), nullptr, mask_.data(), in_.size(), 0.01);
  ASSERT_EQ(mask_, positive_);
}

TEST_P(All16BitValuesTest, Backward) {
  for (double slope : oracle::Slopes(dtype())) {
    for (uint8_t bits : std::vector<uint8_t>{0x00, 0xFF, 0xA5, 0x5A}) {
      mask_.assign(mask_.size(), bits);
      kernels().backward[index()](in_.data(), out_.data(), mask_.data(), in_.size(), slope);
      ASSERT_NO_FATAL_FAILURE(ExpectSelected(mask_, slope));
    }
  }
}

std::string NameOf(const testing::TestParamInfo<KernelsTest::ParamType>& info) {
  return std::string(std::get<0>(info.param)->target) + "_" + oracle::FormatOf(std::get<1>(info.param)).name;
}

INSTANTIATE_TEST_SUITE_P(, KernelsTest,
                         testing::Combine(testing::ValuesIn(KernelsToTest()), testing::ValuesIn(oracle::kDTypes)),
                         NameOf);
INSTANTIATE_TEST_SUITE_P(, All16BitValuesTest,
                         testing::Combine(testing::ValuesIn(KernelsToTest()),
                                          testing::Values(DType::kFloat16, DType::kBFloat16)),
                         NameOf);

}  // namespace
