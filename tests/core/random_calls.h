// Calls of random layouts, compared with the oracle, for whatever implements the C functions.
#ifndef LEAKYRELU_TESTS_CORE_RANDOM_CALLS_H_
#define LEAKYRELU_TESTS_CORE_RANDOM_CALLS_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <vector>

#include "leakyrelu/leakyrelu.h"
#include "oracle.h"
#include "test_util.h"

namespace test_util {

using oracle::DType;

inline Place RandomPlace(Random* random, int64_t alignment) {
  return {random->OneIn(2), random->OneIn(2) ? 0 : random->Between(0, 63) / alignment * alignment};
}

// A mask in a guarded buffer of its own.
class TestMask {
 public:
  TestMask(int64_t elements, Random* random) : bytes_(leakyrelu_mask_bytes(elements)), buffer_(bytes_ + 64 + 1) {
    std::fill(buffer_.begin(), buffer_.end(), kCanary);
    const Place place = RandomPlace(random, 1);
    begin_ = place.at_end ? buffer_.end() - place.away - bytes_ : buffer_.begin() + place.away;
  }

  uint8_t* data() { return reinterpret_cast<uint8_t*>(begin_); }
  size_t bytes() const { return bytes_; }
  std::vector<uint8_t> Get() { return {data(), data() + bytes_}; }
  bool IsUntouchedAround() const {
    return IsUntouched(buffer_.begin(), begin_) && IsUntouched(begin_ + bytes_, buffer_.end());
  }

 private:
  size_t bytes_;
  GuardedBuffer buffer_;
  std::byte* begin_;
};

inline leakyrelu_array Describe(TestArray* array, const Dims& shape, const Dims& strides, Random* random) {
  leakyrelu_array api = array->Api();
  if (strides == COrder(shape) && random->OneIn(2)) api.strides = nullptr;
  if (shape.empty() && random->OneIn(2)) api.shape = nullptr;
  return api;
}

inline void ExpectElements(const TestArray& array, DType dtype, const std::vector<uint64_t>& expected) {
  for (int64_t i = 0; i < array.elements(); ++i) {
    const uint64_t want = expected[static_cast<size_t>(i)];
    ASSERT_TRUE(oracle::Same(dtype, array.Get(i), want))
        << std::hex << "element 0x" << i << " is 0x" << array.Get(i) << ", not 0x" << want;
  }
}

using ForwardCall = std::function<leakyrelu_status(const leakyrelu_array* x, const leakyrelu_array* y, double slope,
                                                   uint8_t* mask, size_t mask_bytes)>;
using BackwardCall = std::function<leakyrelu_status(const leakyrelu_array* dy, const uint8_t* mask, size_t mask_bytes,
                                                    const leakyrelu_array* dx, double slope)>;

// One call with random layouts, places, slope and mask, on an array of the shape given, whose address is a multiple of
// `alignment`.
inline void TryForward(Random* random, DType dtype, const Dims& shape, int64_t alignment, const ForwardCall& call) {
  const double slope = random->Pick(oracle::Slopes(dtype));
  const bool in_place = random->OneIn(3);
  const bool wants_out = in_place || !random->OneIn(4);
  const bool wants_mask = !wants_out || random->OneIn(2);
  const Dims x_strides = in_place ? DistinctStrides(random, shape) : ReadableStrides(random, shape);
  const Dims y_strides = DistinctStrides(random, shape);
  TestArray x(dtype, shape, x_strides, RandomPlace(random, alignment));
  TestArray y(dtype, shape, y_strides, RandomPlace(random, alignment));
  TestArray& result = in_place ? x : y;
  x.FillRandomly(random);
  TestMask mask(x.elements(), random);
  std::vector<uint64_t> expected;
  std::vector<uint8_t> expected_mask(mask.Get().size());
  for (int64_t i = 0; i < x.elements(); ++i) {
    expected.push_back(oracle::Forward(dtype, x.Get(i), slope));
    if (oracle::IsPositive(dtype, x.Get(i))) SetMaskBit(&expected_mask, i);
  }
  if (!wants_mask) expected_mask = mask.Get();
  const auto x_before = x.Snapshot();
  const auto y_before = y.Snapshot();

  const leakyrelu_array x_api = Describe(&x, shape, x_strides, random);
  const leakyrelu_array y_api = in_place ? x_api : Describe(&y, shape, y_strides, random);
  ASSERT_EQ(call(&x_api, wants_out ? &y_api : nullptr, slope, wants_mask ? mask.data() : nullptr,
                 wants_mask ? mask.bytes() : 0),
            LEAKYRELU_OK);

  if (wants_out) {
    ASSERT_NO_FATAL_FAILURE(ExpectElements(result, dtype, expected));
  }
  ASSERT_EQ(mask.Get(), expected_mask);
  ASSERT_TRUE(mask.IsUntouchedAround());
  ASSERT_TRUE(in_place ? x.IsUntouchedOutsideElements(x_before) : x.Snapshot() == x_before);
  ASSERT_TRUE(in_place || !wants_out ? y.Snapshot() == y_before : y.IsUntouchedOutsideElements(y_before));
}

inline void TryBackward(Random* random, DType dtype, const Dims& shape, int64_t alignment, const BackwardCall& call) {
  const double slope = random->Pick(oracle::Slopes(dtype));
  const bool in_place = random->OneIn(3);
  const Dims dy_strides = in_place ? DistinctStrides(random, shape) : ReadableStrides(random, shape);
  const Dims dx_strides = DistinctStrides(random, shape);
  TestArray dy(dtype, shape, dy_strides, RandomPlace(random, alignment));
  TestArray dx(dtype, shape, dx_strides, RandomPlace(random, alignment));
  TestArray& result = in_place ? dy : dx;
  dy.FillRandomly(random);
  TestMask mask(dy.elements(), random);
  std::generate_n(mask.data(), mask.Get().size(), [&] { return static_cast<uint8_t>(random->Bits()); });
  const std::vector<uint8_t> mask_before = mask.Get();
  std::vector<uint64_t> expected;
  for (int64_t i = 0; i < dy.elements(); ++i) {
    expected.push_back(oracle::Backward(dtype, dy.Get(i), MaskBit(mask.data(), i), slope));
  }
  const auto dy_before = dy.Snapshot();
  const auto dx_before = dx.Snapshot();

  const leakyrelu_array dy_api = Describe(&dy, shape, dy_strides, random);
  const leakyrelu_array dx_api = in_place ? dy_api : Describe(&dx, shape, dx_strides, random);
  ASSERT_EQ(call(&dy_api, mask.data(), mask.bytes(), &dx_api, slope), LEAKYRELU_OK);

  ASSERT_NO_FATAL_FAILURE(ExpectElements(result, dtype, expected));
  ASSERT_EQ(mask.Get(), mask_before);
  ASSERT_TRUE(mask.IsUntouchedAround());
  ASSERT_TRUE(in_place ? dy.IsUntouchedOutsideElements(dy_before) : dy.Snapshot() == dy_before);
  ASSERT_TRUE(in_place ? dx.Snapshot() == dx_before : dx.IsUntouchedOutsideElements(dx_before));
}

}  // namespace test_util

#endif  // LEAKYRELU_TESTS_CORE_RANDOM_CALLS_H_
