// Whether two arrays share memory, exactly: arrays woven into each other without a common byte do not. Pure.
#ifndef LEAKYRELU_SRC_OVERLAP_H_
#define LEAKYRELU_SRC_OVERLAP_H_

#include "plan.h"

namespace leakyrelu {

// True if a byte belongs to an element of `a` and to one of `b`.
//
// The question is whether a sum of multiples hits a number, which can take exponential time. For strides that nest, as
// those of slices, permutations and reshapes do, it takes a few steps; after kMaxOverlapSteps the answer is a cautious
// true.
bool SharesMemory(const Layout& a, const Layout& b);

// True if two indices of `a` are the same element. Cautious in the same way.
bool RepeatsElement(const Layout& a);

inline constexpr int64_t kMaxOverlapSteps = int64_t{1} << 20;

}  // namespace leakyrelu

#endif  // LEAKYRELU_SRC_OVERLAP_H_
