// Proves what is decided before memory is touched: how shapes and strides are read, which are refused, and that a plan
// visits exactly the right pairs of elements, in the right order, in as few loops as possible.

#include "plan.h"

#include <gtest/gtest.h>

#include <limits>
#include <utility>
#include <vector>

#include "test_util.h"

namespace {

using leakyrelu::Layout;
using leakyrelu::MakePlan;
using leakyrelu::Plan;
using leakyrelu::ReadLayout;
using leakyrelu::SameElements;
using test_util::Dims;

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
constexpr int64_t kMin = std::numeric_limits<int64_t>::min();

// No element is ever read, so any address will do.
void* Address(uintptr_t address) { return reinterpret_cast<void*>(address); }
constexpr uintptr_t kAddress = uintptr_t{1} << 40;

leakyrelu_status Read(const Dims& shape, const Dims* strides, Layout* layout, int64_t itemsize = 4,
                      uintptr_t address = kAddress) {
  const leakyrelu_array array = {Address(address), LEAKYRELU_FLOAT32, static_cast<int32_t>(shape.size()), shape.data(),
                                 strides != nullptr ? strides->data() : nullptr};
  return ReadLayout(array, itemsize, layout);
}

leakyrelu_status StatusOf(const Dims& shape, const Dims& strides, int64_t itemsize = 4, uintptr_t address = kAddress) {
  Layout layout;
  return Read(shape, &strides, &layout, itemsize, address);
}

Layout LayoutOf(const Dims& shape, const Dims& strides, uintptr_t address = kAddress) {
  Layout layout;
  EXPECT_EQ(Read(shape, &strides, &layout, 4, address), LEAKYRELU_OK);
  return layout;
}

Layout COrderLayoutOf(const Dims& shape) {
  Layout layout;
  EXPECT_EQ(Read(shape, nullptr, &layout), LEAKYRELU_OK);
  return layout;
}

Plan PlanOf(const Dims& shape, const Dims& in_strides, const Dims& out_strides, bool c_order) {
  return MakePlan(LayoutOf(shape, in_strides), LayoutOf(shape, out_strides), c_order);
}

using Pairs = std::vector<std::pair<int64_t, int64_t>>;

// The (in, out) offsets in the order in which the plan visits them.
Pairs Visits(const Plan& plan) {
  Dims shape;
  Dims in_strides;
  Dims out_strides;
  for (int i = 0; i < plan.dims; ++i) {
    shape.push_back(plan.loops[i].extent);
    in_strides.push_back(plan.loops[i].in_stride);
    out_strides.push_back(plan.loops[i].out_stride);
  }
  const Dims in = test_util::Offsets(shape, in_strides);
  const Dims out = test_util::Offsets(shape, out_strides);
  Pairs pairs;
  for (size_t i = 0; i < in.size(); ++i) pairs.emplace_back(plan.in_start + in[i], plan.out_start + out[i]);
  return pairs;
}

Pairs Expected(const Dims& shape, const Dims& in_strides, const Dims& out_strides) {
  const Dims in = test_util::Offsets(shape, in_strides);
  const Dims out = test_util::Offsets(shape, out_strides);
  Pairs pairs;
  for (size_t i = 0; i < in.size(); ++i) pairs.emplace_back(in[i], out[i]);
  return pairs;
}

void ExpectLoop(const leakyrelu::Loop& loop, int64_t extent, int64_t in_stride, int64_t out_stride) {
  EXPECT_EQ(loop.extent, extent);
  EXPECT_EQ(loop.in_stride, in_stride);
  EXPECT_EQ(loop.out_stride, out_stride);
}

// ---- ReadLayout

TEST(ReadLayoutTest, FillsInCOrder) {
  const Layout layout = COrderLayoutOf({2, 3, 4});
  ASSERT_EQ(layout.dims, 3);
  EXPECT_EQ(Dims(layout.extents, layout.extents + 3), Dims({2, 3, 4}));
  EXPECT_EQ(Dims(layout.strides, layout.strides + 3), Dims({12, 4, 1}));
}

TEST(ReadLayoutTest, KeepsTheStridesGiven) {
  const Layout layout = LayoutOf({2, 3}, {-7, 0});
  ASSERT_EQ(layout.dims, 2);
  EXPECT_EQ(Dims(layout.strides, layout.strides + 2), Dims({-7, 0}));
}

TEST(ReadLayoutTest, KnowsItsBounds) {
  const Layout layout = LayoutOf({2, 3}, {-10, 2});
  EXPECT_EQ(layout.elements, 6);
  EXPECT_EQ(layout.address, kAddress);
  EXPECT_EQ(layout.first_byte, kAddress - 40);
  EXPECT_EQ(layout.last_byte, kAddress + 4 * 4 + 3);
}

TEST(ReadLayoutTest, DropsExtentsOf1WhateverTheirStrides) {
  const Layout layout = LayoutOf({1, 5, 1}, {kMax, 3, kMin});
  ASSERT_EQ(layout.dims, 1);
  EXPECT_EQ(layout.extents[0], 5);
  EXPECT_EQ(layout.strides[0], 3);
}

TEST(ReadLayoutTest, ScalarNeedsNoShape) {
  Layout layout;
  ASSERT_EQ(ReadLayout({Address(kAddress), LEAKYRELU_FLOAT32, 0, nullptr, nullptr}, 4, &layout), LEAKYRELU_OK);
  EXPECT_EQ(layout.elements, 1);
  EXPECT_EQ(layout.dims, 0);
  EXPECT_EQ(layout.last_byte - layout.first_byte, 3);
}

TEST(ReadLayoutTest, AThousandDimsOfExtent1) {
  const Layout layout = LayoutOf(Dims(1000, 1), Dims(1000, 12345));
  EXPECT_EQ(layout.elements, 1);
  EXPECT_EQ(layout.dims, 0);
}

TEST(ReadLayoutTest, AThousandDimsWithOneLongOne) {
  Dims shape(1000, 1);
  shape[500] = 7;
  const Layout layout = COrderLayoutOf(shape);
  ASSERT_EQ(layout.dims, 1);
  EXPECT_EQ(layout.extents[0], 7);
  EXPECT_EQ(layout.strides[0], 1);
}

TEST(ReadLayoutTest, AsManyDimsAsCanBe) {
  // 2^62 elements, all of them the same one.
  const Layout layout = LayoutOf(Dims(62, 2), Dims(62, 0));
  EXPECT_EQ(layout.dims, leakyrelu::kMaxDims);
  EXPECT_EQ(layout.elements, int64_t{1} << 62);
}

TEST(ReadLayoutTest, EmptyNeedsNoDataAndNoSaneStrides) {
  Layout layout;
  const int64_t shape[] = {kMax, 0, kMax};
  const int64_t strides[] = {kMax, kMax, kMin};
  ASSERT_EQ(ReadLayout({nullptr, LEAKYRELU_FLOAT32, 3, shape, strides}, 4, &layout), LEAKYRELU_OK);
  EXPECT_EQ(layout.elements, 0);
}

TEST(ReadLayoutTest, NegativeNdim) {
  Layout layout;
  EXPECT_EQ(ReadLayout({Address(kAddress), LEAKYRELU_FLOAT32, -1, nullptr, nullptr}, 4, &layout), LEAKYRELU_ERROR_NDIM);
}

TEST(ReadLayoutTest, NullShape) {
  Layout layout;
  EXPECT_EQ(ReadLayout({Address(kAddress), LEAKYRELU_FLOAT32, 1, nullptr, nullptr}, 4, &layout),
            LEAKYRELU_ERROR_NULL_SHAPE);
}

TEST(ReadLayoutTest, NullData) { EXPECT_EQ(StatusOf({2}, {1}, 4, 0), LEAKYRELU_ERROR_NULL_DATA); }

TEST(ReadLayoutTest, NegativeExtent) {
  EXPECT_EQ(StatusOf({3, -1}, {1, 1}), LEAKYRELU_ERROR_SHAPE);
  EXPECT_EQ(StatusOf({0, -1}, {1, 1}), LEAKYRELU_ERROR_SHAPE);
  EXPECT_EQ(StatusOf({kMin}, {1}), LEAKYRELU_ERROR_SHAPE);
}

TEST(ReadLayoutTest, TooManyElements) {
  EXPECT_EQ(StatusOf({kMax, 2}, {0, 0}), LEAKYRELU_ERROR_TOO_LARGE);
  EXPECT_EQ(StatusOf({int64_t{1} << 32, int64_t{1} << 32}, {0, 0}), LEAKYRELU_ERROR_TOO_LARGE);
  EXPECT_EQ(StatusOf(Dims(63, 2), Dims(63, 0)), LEAKYRELU_ERROR_TOO_LARGE);
}

TEST(ReadLayoutTest, TooManyElementsInCOrder) {
  Layout layout;
  EXPECT_EQ(Read({kMax}, nullptr, &layout), LEAKYRELU_ERROR_TOO_LARGE);
}

TEST(ReadLayoutTest, StrideTimesExtentOverflows) {
  EXPECT_EQ(StatusOf({3}, {kMax / 2 + 1}), LEAKYRELU_ERROR_TOO_LARGE);
  EXPECT_EQ(StatusOf({3}, {kMin / 2 - 1}), LEAKYRELU_ERROR_TOO_LARGE);
  EXPECT_EQ(StatusOf({2}, {kMin}), LEAKYRELU_ERROR_TOO_LARGE);
}

TEST(ReadLayoutTest, SumOfDimsOverflows) {
  EXPECT_EQ(StatusOf({2, 2}, {kMax / 2 + 1, kMax / 2 + 1}, 1), LEAKYRELU_ERROR_TOO_LARGE);
  EXPECT_EQ(StatusOf({2, 2}, {kMin / 2 - 1, kMin / 2 - 1}, 1), LEAKYRELU_ERROR_TOO_LARGE);
}

TEST(ReadLayoutTest, SpanInBytesOverflows) {
  EXPECT_EQ(StatusOf({2}, {kMax / 4 + 1}), LEAKYRELU_ERROR_TOO_LARGE);
  EXPECT_EQ(StatusOf({2}, {kMin / 4 - 1}), LEAKYRELU_ERROR_TOO_LARGE);
}

TEST(ReadLayoutTest, EndOfTheAddressSpace) {
  const uintptr_t last = std::numeric_limits<uintptr_t>::max();
  EXPECT_EQ(StatusOf({2}, {1}, 4, last - 7), LEAKYRELU_OK);
  EXPECT_EQ(StatusOf({2}, {1}, 4, last - 6), LEAKYRELU_ERROR_TOO_LARGE);
  EXPECT_EQ(StatusOf({1}, {1}, 4, last - 2), LEAKYRELU_ERROR_TOO_LARGE);
}

TEST(ReadLayoutTest, DistanceOfTheEndsOverflows) {
  const uintptr_t middle = uintptr_t{1} << 63;
  EXPECT_EQ(StatusOf({2, 2}, {kMax / 4, -1}, 4, middle), LEAKYRELU_ERROR_TOO_LARGE);
  EXPECT_EQ(StatusOf({2, 2}, {kMax / 4 - 1, -1}, 4, middle), LEAKYRELU_OK);
}

// ARM's pointers may have one, and may then be beyond what int64_t holds.
TEST(ReadLayoutTest, AddressWithATagInItsHighestByte) {
  const uintptr_t tagged = uintptr_t{0xB4} << 56 | kAddress;
  const Layout layout = LayoutOf({2, 3}, {-10, 2}, tagged);
  EXPECT_EQ(layout.first_byte, tagged - 40);
  EXPECT_EQ(layout.last_byte, tagged + 4 * 4 + 3);
}

TEST(ReadLayoutTest, BeginningOfTheAddressSpace) {
  EXPECT_EQ(StatusOf({3}, {-1}, 4, 8), LEAKYRELU_OK);
  EXPECT_EQ(StatusOf({3}, {-1}, 4, 7), LEAKYRELU_ERROR_TOO_LARGE);
}

// ---- SameElements

TEST(SameElementsTest, TrueForTheSameLayout) {
  EXPECT_TRUE(SameElements(LayoutOf({2, 3}, {3, 1}), COrderLayoutOf({2, 3})));
}

TEST(SameElementsTest, IgnoresStridesOfExtent1) {
  EXPECT_TRUE(SameElements(LayoutOf({1, 3}, {77, 1}), LayoutOf({1, 3}, {3, 1})));
}

TEST(SameElementsTest, FalseForAnotherAddress) {
  EXPECT_FALSE(SameElements(LayoutOf({3}, {1}), LayoutOf({3}, {1}, kAddress + 4)));
}

TEST(SameElementsTest, FalseForOtherStrides) {
  EXPECT_FALSE(SameElements(LayoutOf({2, 2}, {2, 1}), LayoutOf({2, 2}, {1, 2})));
}

TEST(SameElementsTest, FalseForAPart) { EXPECT_FALSE(SameElements(LayoutOf({2}, {1}), LayoutOf({3}, {1}))); }

TEST(SameElementsTest, FalseForOtherDims) { EXPECT_FALSE(SameElements(LayoutOf({4}, {1}), LayoutOf({2, 2}, {2, 1}))); }

// ---- MakePlan

TEST(MakePlanTest, ScalarIsOneLoop) {
  for (bool c_order : {false, true}) {
    const Plan plan = PlanOf({}, {}, {}, c_order);
    EXPECT_EQ(plan.dims, 1);
    EXPECT_EQ(Visits(plan), Pairs({{0, 0}}));
  }
}

TEST(MakePlanTest, ContiguousIsOneLoopWhateverTheDims) {
  for (const Dims& shape : {Dims{24}, Dims{4, 6}, Dims{2, 3, 4}, Dims{2, 1, 3, 2, 2}, Dims{1, 24, 1}}) {
    for (bool c_order : {false, true}) {
      const Plan plan = MakePlan(COrderLayoutOf(shape), COrderLayoutOf(shape), c_order);
      ASSERT_EQ(plan.dims, 1);
      ExpectLoop(plan.loops[0], 24, 1, 1);
      EXPECT_EQ(plan.elements, 24);
    }
  }
}

TEST(MakePlanTest, FOrderIsOneLoop) {
  const Plan plan = PlanOf({2, 3, 4}, {1, 2, 6}, {1, 2, 6}, false);
  ASSERT_EQ(plan.dims, 1);
  ExpectLoop(plan.loops[0], 24, 1, 1);
}

TEST(MakePlanTest, FOrderStaysInCOrderIfAsked) {
  const Plan plan = PlanOf({2, 3}, {1, 2}, {1, 2}, true);
  ASSERT_EQ(plan.dims, 2);
  ExpectLoop(plan.loops[0], 2, 1, 1);
  ExpectLoop(plan.loops[1], 3, 2, 2);
}

TEST(MakePlanTest, AnyPermutationOfDenseIsOneLoop) {
  const Plan plan = PlanOf({3, 4, 2, 5}, {2, 30, 1, 6}, {2, 30, 1, 6}, false);
  ASSERT_EQ(plan.dims, 1);
  ExpectLoop(plan.loops[0], 120, 1, 1);
}

TEST(MakePlanTest, ReversedBothWaysIsWalkedUpwards) {
  const Plan plan = PlanOf({5}, {-1}, {-1}, false);
  ASSERT_EQ(plan.dims, 1);
  ExpectLoop(plan.loops[0], 5, 1, 1);
  EXPECT_EQ(plan.in_start, -4);
  EXPECT_EQ(plan.out_start, -4);
}

TEST(MakePlanTest, ReversedOutputIsWalkedUpwards) {
  const Plan plan = PlanOf({5}, {1}, {-1}, false);
  ASSERT_EQ(plan.dims, 1);
  ExpectLoop(plan.loops[0], 5, -1, 1);
  EXPECT_EQ(plan.in_start, 4);
  EXPECT_EQ(plan.out_start, -4);
}

TEST(MakePlanTest, ReversedDimsOfADenseArrayAreOneLoop) {
  const Plan plan = PlanOf({3, 4}, {-4, 1}, {-4, 1}, false);
  ASSERT_EQ(plan.dims, 1);
  ExpectLoop(plan.loops[0], 12, 1, 1);
}

TEST(MakePlanTest, ReversedStaysInCOrderIfAsked) {
  const Plan plan = PlanOf({5}, {-1}, {-1}, true);
  ExpectLoop(plan.loops[0], 5, -1, -1);
  EXPECT_EQ(plan.in_start, 0);
}

TEST(MakePlanTest, PaddedRowsAreTwoLoops) {
  const Plan plan = PlanOf({3, 4}, {5, 1}, {4, 1}, false);
  ASSERT_EQ(plan.dims, 2);
  ExpectLoop(plan.loops[0], 3, 5, 4);
  ExpectLoop(plan.loops[1], 4, 1, 1);
}

TEST(MakePlanTest, MergesAroundTheGap) {
  const Plan plan = PlanOf({2, 3, 4, 5}, {72, 24, 5, 1}, {72, 24, 5, 1}, true);
  ASSERT_EQ(plan.dims, 2);
  ExpectLoop(plan.loops[0], 6, 24, 24);
  ExpectLoop(plan.loops[1], 20, 1, 1);
}

TEST(MakePlanTest, MergesOnlyWhereBothArraysAllowIt) {
  EXPECT_EQ(PlanOf({3, 4}, {4, 1}, {1, 3}, false).dims, 2);
  EXPECT_EQ(PlanOf({3, 4}, {0, 1}, {4, 1}, false).dims, 2);
}

// Of shape {2, 3, 4}, with a bias along the middle dim, 5 elements apart.
void ExpectBiasRuns(const Layout& in, const Layout& out, bool c_order, int64_t start, int64_t stride, int64_t run) {
  const Layout bias = LayoutOf({2, 3, 4}, {0, 5, 0});
  const Plan plan = MakePlan(in, out, c_order, &bias);
  EXPECT_EQ(plan.bias.start, start);
  EXPECT_EQ(plan.bias.stride, stride);
  EXPECT_EQ(plan.bias.extent, 3);
  EXPECT_EQ(plan.bias.run, run);
}

TEST(MakePlanTest, BiasDoesNotSplitDims) {
  const Layout array = COrderLayoutOf({2, 3, 4});
  const Layout bias = LayoutOf({2, 3, 4}, {0, 5, 0});
  EXPECT_EQ(MakePlan(array, array, true, &bias).dims, 1);
  ExpectBiasRuns(array, array, true, 0, 5, 4);
}

TEST(MakePlanTest, BiasFollowsTheOrderOfTheVisit) {
  const Layout channels_last = LayoutOf({2, 3, 4}, {12, 1, 3});
  ExpectBiasRuns(channels_last, channels_last, true, 0, 5, 4);
  ExpectBiasRuns(channels_last, channels_last, false, 0, 5, 1);
  const Layout reversed = LayoutOf({2, 3, 4}, {12, -4, 1});
  ExpectBiasRuns(reversed, reversed, true, 0, 5, 4);
  ExpectBiasRuns(reversed, reversed, false, 10, -5, 4);
}

TEST(MakePlanTest, BroadcastOfOneElementIsOneLoop) {
  const Plan plan = PlanOf({3, 4}, {0, 0}, {4, 1}, false);
  ASSERT_EQ(plan.dims, 1);
  ExpectLoop(plan.loops[0], 12, 0, 1);
}

TEST(MakePlanTest, WalksTheOutputInItsOrderOfMemory) {
  const Plan plan = PlanOf({3, 4}, {4, 1}, {1, 3}, false);
  ASSERT_EQ(plan.dims, 2);
  ExpectLoop(plan.loops[0], 4, 1, 3);
  ExpectLoop(plan.loops[1], 3, 4, 1);
}

class MakePlanPropertyTest : public testing::TestWithParam<bool> {};

TEST_P(MakePlanPropertyTest, VisitsEveryPairOnceAndInCOrderIfAsked) {
  const bool c_order = GetParam();
  for (uint64_t seed = 0; seed < 20000 / test_util::kThinning; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    test_util::Random random(seed);
    Dims shape(static_cast<size_t>(random.Between(0, 6)));
    for (int64_t& extent : shape) extent = random.Between(1, 4);
    Dims in_strides = random.OneIn(2) ? test_util::ReadableStrides(&random, shape) : Dims(shape.size());
    Dims out_strides = random.OneIn(2) ? test_util::DistinctStrides(&random, shape) : Dims(shape.size());
    if (random.OneIn(4)) in_strides = out_strides;
    if (random.OneIn(4)) {
      for (int64_t& stride : in_strides) stride = random.Between(-20, 20);
    }
    if (random.OneIn(4)) {
      for (int64_t& stride : out_strides) stride = random.Between(-20, 20);
    }

    const Plan plan = PlanOf(shape, in_strides, out_strides, c_order);
    Pairs visits = Visits(plan);
    Pairs expected = Expected(shape, in_strides, out_strides);
    ASSERT_EQ(plan.elements, static_cast<int64_t>(expected.size()));
    if (!c_order) {
      std::sort(visits.begin(), visits.end());
      std::sort(expected.begin(), expected.end());
    }
    ASSERT_EQ(visits, expected);
  }
}

INSTANTIATE_TEST_SUITE_P(, MakePlanPropertyTest, testing::Bool(),
                         [](const testing::TestParamInfo<bool>& info) { return info.param ? "COrder" : "AnyOrder"; });

}  // namespace
