// Proves the CUDA functions of the fused operation on random layouts against the oracle, as fused_test.cc does the
// CPU's.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "cuda_under_test.h"
#include "oracle.h"
#include "random_fused_calls.h"
#include "test_util.h"

namespace {

using oracle::DType;
using test_util::Dims;
using test_util::kThinning;
using test_util::Random;

class CudaFusedCallsTest : public testing::TestWithParam<DType> {
 protected:
  static void TryBoth(Random* random, const Dims& shape) {
    const int64_t alignment = oracle::FormatOf(GetParam()).bytes;
    ASSERT_NO_FATAL_FAILURE(
        test_util::TryFusedForward(random, GetParam(), shape, alignment, cuda_under_test::FusedForward));
    ASSERT_NO_FATAL_FAILURE(
        test_util::TryFusedBackward(random, GetParam(), shape, alignment, cuda_under_test::FusedBackward));
  }
};

TEST_P(CudaFusedCallsTest, RandomLayouts) {
  for (uint64_t seed = 0; seed < 3000 / kThinning; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    ASSERT_NO_FATAL_FAILURE(TryBoth(&random, test_util::RandomShape(&random, 1500)));
  }
}

TEST_P(CudaFusedCallsTest, SeveralBlocks) {
  for (uint64_t seed = 0; seed < 30 / kThinning; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    ASSERT_NO_FATAL_FAILURE(TryBoth(&random, test_util::RandomShape(&random, 60000)));
  }
}

// Runs of one bias that are units long and that are not, and as many biases; each in several places.
TEST_P(CudaFusedCallsTest, RowsOfEveryLength) {
  for (int64_t length = 1; length <= 40; ++length) {
    SCOPED_TRACE("rows of " + std::to_string(length));
    Random random(static_cast<uint64_t>(length));
    for (int64_t rows : {1, 2, 3, 7, 8, 33}) {
      ASSERT_NO_FATAL_FAILURE(TryBoth(&random, {rows, length}));
      ASSERT_NO_FATAL_FAILURE(TryBoth(&random, {3, rows, length}));
    }
  }
}

TEST_P(CudaFusedCallsTest, EveryKindOfNumber) {
  ASSERT_NO_FATAL_FAILURE(test_util::TryFusedNumbers(GetParam(), cuda_under_test::FusedForward));
}

INSTANTIATE_TEST_SUITE_P(, CudaFusedCallsTest, testing::ValuesIn(oracle::kDTypes),
                         [](const auto& info) { return std::string(oracle::FormatOf(info.param).name); });

}  // namespace
