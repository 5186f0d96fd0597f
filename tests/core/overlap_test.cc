// Proves that overlap is found exactly: against sets of byte addresses for small layouts, against known answers for
// large.

#include "overlap.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "test_util.h"

namespace {

using leakyrelu::Layout;
using leakyrelu::RepeatsElement;
using leakyrelu::SharesMemory;
using test_util::Dims;

constexpr uintptr_t kAddress = uintptr_t{1} << 40;

Layout Make(int64_t byte_offset, const Dims& shape, const Dims& strides, int64_t itemsize = 4) {
  const leakyrelu_array array = {reinterpret_cast<void*>(kAddress + static_cast<uintptr_t>(byte_offset)),
                                 LEAKYRELU_FLOAT32, static_cast<int32_t>(shape.size()), shape.data(), strides.data()};
  Layout layout;
  EXPECT_EQ(leakyrelu::ReadLayout(array, itemsize, &layout), LEAKYRELU_OK);
  return layout;
}

// Both ways round, which must agree.
bool Shares(const Layout& a, const Layout& b) {
  const bool shares = SharesMemory(a, b);
  EXPECT_EQ(SharesMemory(b, a), shares);
  return shares;
}

// ---- Named cases

TEST(SharesMemoryTest, TheSame) { EXPECT_TRUE(Shares(Make(0, {5}, {1}), Make(0, {5}, {1}))); }

TEST(SharesMemoryTest, AdjacentDoNot) { EXPECT_FALSE(Shares(Make(0, {5}, {1}), Make(20, {5}, {1}))); }

TEST(SharesMemoryTest, OneByteDoes) { EXPECT_TRUE(Shares(Make(0, {5}, {1}), Make(19, {5}, {1}))); }

TEST(SharesMemoryTest, FarApartDoNot) { EXPECT_FALSE(Shares(Make(0, {5}, {1}), Make(1 << 20, {5}, {1}))); }

TEST(SharesMemoryTest, Scalars) {
  EXPECT_TRUE(Shares(Make(0, {}, {}), Make(3, {}, {})));
  EXPECT_FALSE(Shares(Make(0, {}, {}), Make(4, {}, {})));
}

TEST(SharesMemoryTest, EmptyNeverDoes) {
  EXPECT_FALSE(Shares(Make(0, {0}, {1}), Make(0, {5}, {1})));
  EXPECT_FALSE(Shares(Make(0, {0}, {1}), Make(0, {0}, {1})));
}

TEST(SharesMemoryTest, EvenAndOddElementsDoNot) { EXPECT_FALSE(Shares(Make(0, {5}, {2}), Make(4, {5}, {2}))); }

TEST(SharesMemoryTest, EvenAndOddElementsOffByOneByteDo) {
  EXPECT_TRUE(Shares(Make(0, {5}, {2}), Make(3, {5}, {2})));
  EXPECT_TRUE(Shares(Make(0, {5}, {2}), Make(5, {5}, {2})));
}

TEST(SharesMemoryTest, EvenElementsAndOddOnesReversedDoNot) {
  EXPECT_FALSE(Shares(Make(0, {5}, {2}), Make(36, {5}, {-2})));
}

TEST(SharesMemoryTest, ReversedDoes) { EXPECT_TRUE(Shares(Make(0, {5}, {1}), Make(16, {5}, {-1}))); }

TEST(SharesMemoryTest, TransposedDoes) { EXPECT_TRUE(Shares(Make(0, {3, 4}, {4, 1}), Make(0, {4, 3}, {1, 4}))); }

TEST(SharesMemoryTest, InterleavedRowsDoNot) {
  EXPECT_FALSE(Shares(Make(0, {3, 4}, {8, 1}), Make(16, {3, 4}, {8, 1})));
}

TEST(SharesMemoryTest, InterleavedRowsOneElementTooLongDo) {
  EXPECT_TRUE(Shares(Make(0, {3, 5}, {8, 1}), Make(16, {3, 4}, {8, 1})));
}

TEST(SharesMemoryTest, LeftAndRightColumnsDoNot) {
  EXPECT_FALSE(Shares(Make(0, {10, 3}, {7, 1}), Make(3 * 4, {10, 4}, {7, 1})));
}

TEST(SharesMemoryTest, CoprimeStridesMeetOnce) {
  // 3 i == 1 + 5 j first at i = 2, j = 1.
  EXPECT_FALSE(Shares(Make(0, {2}, {3}), Make(4, {5}, {5})));
  EXPECT_TRUE(Shares(Make(0, {3}, {3}), Make(4, {2}, {5})));
  EXPECT_FALSE(Shares(Make(0, {3}, {3}), Make(4, {1}, {5})));
}

TEST(SharesMemoryTest, BroadcastInput) {
  EXPECT_TRUE(Shares(Make(8, {1000}, {0}), Make(0, {5}, {1})));
  EXPECT_FALSE(Shares(Make(4, {1000}, {0}), Make(0, {5}, {2})));
}

TEST(SharesMemoryTest, BytesInTheGapsOfAnArrayDoNot) {
  EXPECT_FALSE(Shares(Make(0, {10}, {2}, 4), Make(4, {4}, {1}, 1)));
  EXPECT_FALSE(Shares(Make(0, {10}, {2}, 4), Make(5, {3, 3}, {8, 1}, 1)));
}

TEST(SharesMemoryTest, BytesOneTooManyForTheGapDo) {
  EXPECT_TRUE(Shares(Make(0, {10}, {2}, 4), Make(4, {5}, {1}, 1)));
  EXPECT_TRUE(Shares(Make(0, {10}, {2}, 4), Make(3, {1}, {1}, 1)));
}

// ---- Too large to list, but known

constexpr int64_t kBillion = 1000000000;

TEST(SharesMemoryTest, BillionsWoven) {
  EXPECT_FALSE(Shares(Make(0, {kBillion}, {2}), Make(4, {kBillion}, {2})));
  EXPECT_TRUE(Shares(Make(0, {kBillion}, {2}), Make(5, {kBillion}, {2})));
}

TEST(SharesMemoryTest, BillionsInRowsWoven) {
  EXPECT_FALSE(Shares(Make(0, {kBillion, 1000}, {2000, 1}), Make(4000, {kBillion, 1000}, {2000, 1})));
  EXPECT_TRUE(Shares(Make(0, {kBillion, 1001}, {2000, 1}), Make(4000, {kBillion, 1000}, {2000, 1})));
}

TEST(SharesMemoryTest, BillionsWithCoprimeStridesThatMeetOnlyAtTheEnd) {
  // p i == q j + 4 p (q - 1) has i = q - 1, j = 0 for its only solution below p and q.
  const int64_t p = 999999937;
  const int64_t q = 1000000007;
  EXPECT_TRUE(Shares(Make(0, {q}, {p}), Make(4 * p * (q - 1), {p}, {q})));
  EXPECT_FALSE(Shares(Make(0, {q - 1}, {p}), Make(4 * p * (q - 1), {p}, {q})));
}

TEST(SharesMemoryTest, BillionsThatMeetInTheMiddle) {
  // 2 i == 3 j + 1 at i = 2 (mod 3), j = 1 (mod 2): as soon as each has elements enough.
  EXPECT_TRUE(Shares(Make(0, {kBillion}, {2}), Make(4, {kBillion}, {3})));
}

TEST(SharesMemoryTest, BillionsWovenWithStridesThatNest) {
  EXPECT_FALSE(Shares(Make(0, {kBillion}, {2}), Make(4, {kBillion}, {4})));   // 2 i and 4 j + 1
  EXPECT_FALSE(Shares(Make(0, {kBillion}, {3}), Make(8, {kBillion}, {-6})));  // 3 i and 2 - 6 j
}

TEST(RepeatsElementTest, BillionsInRows) {
  EXPECT_FALSE(RepeatsElement(Make(0, {kBillion, 1000}, {1000, 1})));
  EXPECT_TRUE(RepeatsElement(Make(0, {kBillion, 1001}, {1000, 1})));
}

TEST(RepeatsElementTest, BillionsWithCoprimeStrides) {
  const int64_t p = 999999937;
  const int64_t q = 1000000007;
  EXPECT_FALSE(RepeatsElement(Make(0, {q, p}, {p, q})));  // p i == q j first at i = q
  EXPECT_TRUE(RepeatsElement(Make(0, {q + 1, p + 1}, {p, q})));
}

TEST(RepeatsElementTest, NamedCases) {
  EXPECT_FALSE(RepeatsElement(Make(0, {}, {})));
  EXPECT_FALSE(RepeatsElement(Make(0, {0}, {0})));
  EXPECT_FALSE(RepeatsElement(Make(0, {1}, {0})));
  EXPECT_TRUE(RepeatsElement(Make(0, {2}, {0})));
  EXPECT_FALSE(RepeatsElement(Make(0, {5}, {-1})));
  EXPECT_FALSE(RepeatsElement(Make(0, {3, 4}, {4, 1})));
  EXPECT_FALSE(RepeatsElement(Make(0, {3, 4}, {-4, 1})));
  EXPECT_TRUE(RepeatsElement(Make(0, {3, 4}, {3, 1})));
  EXPECT_TRUE(RepeatsElement(Make(0, {3, 4}, {1, 1})));
  EXPECT_TRUE(RepeatsElement(Make(0, {3, 4}, {1, -1})));
  EXPECT_FALSE(RepeatsElement(Make(0, {2, 2}, {2, 3})));  // 0 2 3 5
  EXPECT_TRUE(RepeatsElement(Make(0, {4, 3}, {2, 3})));   // 6 twice
  EXPECT_FALSE(RepeatsElement(Make(0, {3, 2}, {2, 3})));  // 0 2 4 3 5 7
}

// 2^40 elements with strides that nest in no way: an exact search would take for ever, but an answer must come.
struct Adversary {
  Dims shape = Dims(40, 2);
  Dims strides;
  int64_t subset_sum = 0;  // the offset of some element

  Adversary() {
    for (int64_t i = 0; i < 40; ++i) {
      strides.push_back((int64_t{1} << 33) / (i + 3) * 2 + 1);
      if (i % 3 == 0) subset_sum += strides.back();
    }
  }
};

TEST(SharesMemoryTest, AnswersForAdversarialStrides) {
  const Adversary a;
  EXPECT_TRUE(Shares(Make(0, a.shape, a.strides), Make(4 * a.subset_sum, a.shape, a.strides)));
}

TEST(RepeatsElementTest, AnswersForAdversarialStrides) {
  const Adversary a;  // more indices than elements between the first and the last
  EXPECT_TRUE(RepeatsElement(Make(0, a.shape, a.strides)));
}

// ---- Against sets of byte addresses

std::vector<bool> BytesOf(const Layout& layout, const Dims& shape, const Dims& strides, size_t window) {
  std::vector<bool> used(window);
  for (int64_t offset : test_util::Offsets(shape, strides)) {
    const int64_t first = static_cast<int64_t>(layout.address - kAddress) + offset * layout.itemsize;
    for (int64_t byte = 0; byte < layout.itemsize; ++byte) used.at(static_cast<size_t>(first + byte)) = true;
  }
  return used;
}

// Small layouts of all kinds: nested, equal, zero, negative and unrelated strides.
void RandomLayout(test_util::Random* random, Dims* shape, Dims* strides) {
  shape->resize(static_cast<size_t>(random->Between(1, 4)));
  for (int64_t& extent : *shape) extent = random->Between(random->OneIn(20) ? 0 : 1, 6);
  strides->assign(shape->size(), 0);
  switch (random->Between(0, 2)) {
    case 0:
      *strides = test_util::DistinctStrides(random, *shape);
      break;
    case 1:
      for (int64_t& stride : *strides) stride = random->Between(-12, 12);
      break;
    default:
      for (int64_t& stride : *strides) stride = random->Pick(Dims{-12, -9, -6, -4, -3, -2, 2, 3, 4, 6, 8, 10, 14, 15});
      break;
  }
}

TEST(SharesMemoryTest, AgreesWithSetsOfBytes) {
  constexpr int64_t kMiddle = 100000;
  int shared = 0;
  int apart_within_bounds = 0;
  constexpr int kRounds = 30000 / test_util::kThinning;
  for (uint64_t seed = 0; seed < kRounds; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    test_util::Random random(seed);
    Dims shape_a, strides_a, shape_b, strides_b;
    RandomLayout(&random, &shape_a, &strides_a);
    RandomLayout(&random, &shape_b, &strides_b);
    if (random.OneIn(3)) {
      shape_b = shape_a;
      strides_b = strides_a;
    }
    const std::vector<int64_t> itemsizes = {1, 2, 4, 8};
    const int64_t itemsize_a = random.Pick(itemsizes);
    const int64_t itemsize_b = random.OneIn(2) ? itemsize_a : random.Pick(itemsizes);
    const int64_t distance = random.OneIn(2) ? random.Between(-40, 40) : random.Between(-400, 400);
    const Layout a = Make(kMiddle, shape_a, strides_a, itemsize_a);
    const Layout b = Make(kMiddle + distance, shape_b, strides_b, itemsize_b);

    const std::vector<bool> bytes_a = BytesOf(a, shape_a, strides_a, 2 * kMiddle);
    const std::vector<bool> bytes_b = BytesOf(b, shape_b, strides_b, 2 * kMiddle);
    bool expected = false;
    for (uintptr_t i = std::max(a.first_byte, b.first_byte); i <= std::min(a.last_byte, b.last_byte); ++i) {
      const size_t byte = i - kAddress;
      expected |= bytes_a[byte] && bytes_b[byte];
    }
    ASSERT_EQ(Shares(a, b), expected);

    const bool bounds_meet = a.first_byte <= b.last_byte && b.first_byte <= a.last_byte;
    shared += expected;
    apart_within_bounds += !expected && bounds_meet && a.elements > 0 && b.elements > 0;
  }
  // Or the layouts were too alike to prove anything.
  EXPECT_GT(shared, kRounds / 10);
  EXPECT_GT(apart_within_bounds, kRounds / 20);
}

TEST(RepeatsElementTest, AgreesWithSetsOfElements) {
  int repeating = 0;
  constexpr int kRounds = 100000 / test_util::kThinning;
  for (uint64_t seed = 0; seed < kRounds; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    test_util::Random random(seed);
    Dims shape, strides;
    RandomLayout(&random, &shape, &strides);
    if (random.OneIn(3)) {  // many dims of extent 2
      shape.assign(static_cast<size_t>(random.Between(2, 8)), 2);
      strides.assign(shape.size(), 0);
      for (int64_t& stride : strides) stride = random.Between(-200, 200);
    }
    const Dims offsets = test_util::Offsets(shape, strides);
    const bool expected = std::set<int64_t>(offsets.begin(), offsets.end()).size() < offsets.size();
    ASSERT_EQ(RepeatsElement(Make(0, shape, strides)), expected);
    repeating += expected;
  }
  EXPECT_GT(repeating, kRounds / 10);
  EXPECT_LT(repeating, kRounds - kRounds / 10);
}

}  // namespace
