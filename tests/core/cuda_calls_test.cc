// Proves the CUDA functions on random layouts against the oracle, as driver_test.cc does the CPU's.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "cuda_under_test.h"
#include "oracle.h"
#include "random_calls.h"
#include "test_util.h"

namespace {

using oracle::DType;
using test_util::Dims;
using test_util::kThinning;
using test_util::Random;

class CudaCallsTest : public testing::TestWithParam<DType> {
 protected:
  static void TryBoth(Random* random, const Dims& shape) {
    const int64_t alignment = oracle::FormatOf(GetParam()).bytes;
    ASSERT_NO_FATAL_FAILURE(test_util::TryForward(random, GetParam(), shape, alignment, cuda_under_test::Forward));
    ASSERT_NO_FATAL_FAILURE(test_util::TryBackward(random, GetParam(), shape, alignment, cuda_under_test::Backward));
  }
};

TEST_P(CudaCallsTest, RandomLayouts) {
  for (uint64_t seed = 0; seed < 3000 / kThinning; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    ASSERT_NO_FATAL_FAILURE(TryBoth(&random, test_util::RandomShape(&random, 1500)));
  }
}

TEST_P(CudaCallsTest, SeveralBlocks) {
  for (uint64_t seed = 0; seed < 60 / kThinning; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    ASSERT_NO_FATAL_FAILURE(TryBoth(&random, test_util::RandomShape(&random, 60000)));
  }
}

// Rows with gaps between them, as of a slice: runs that are units long, and runs that are not.
TEST_P(CudaCallsTest, RowsOfEveryLength) {
  for (int64_t length = 1; length <= 40; ++length) {
    SCOPED_TRACE("rows of " + std::to_string(length));
    Random random(static_cast<uint64_t>(length));
    for (int64_t rows : {1, 2, 7, 33}) ASSERT_NO_FATAL_FAILURE(TryBoth(&random, {rows, length}));
  }
}

INSTANTIATE_TEST_SUITE_P(, CudaCallsTest, testing::ValuesIn(oracle::kDTypes),
                         [](const auto& info) { return std::string(oracle::FormatOf(info.param).name); });

}  // namespace
