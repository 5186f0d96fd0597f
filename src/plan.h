// What is decided before any element is touched: what an array's shape and strides mean, and in which order of longest
// possible runs to walk over arrays. Pure: reads no element.
#ifndef LEAKYRELU_SRC_PLAN_H_
#define LEAKYRELU_SRC_PLAN_H_

#include <cstdint>

#include "leakyrelu/leakyrelu.h"

namespace leakyrelu {

// Extents of 2 and more whose product fits int64_t: there cannot be more of them, whatever ndim is.
inline constexpr int kMaxDims = 62;

// An array with its extents of 1 dropped, its defaults filled in and its bounds known not to overflow.
struct Layout {
  uintptr_t address;  // of element (0, 0, ...)
  int64_t itemsize;   // bytes per element
  int64_t elements;   // 0: there are no dims and no bounds
  int dims;
  int64_t extents[kMaxDims];  // each at least 2
  int64_t strides[kMaxDims];  // in elements
  uintptr_t first_byte;       // lowest address of any element
  uintptr_t last_byte;        // highest address of any byte of an element
};

// Reads `array`, whose dtype has been checked. Every status but LEAKYRELU_OK leaves `layout` unspecified.
leakyrelu_status ReadLayout(const leakyrelu_array& array, int64_t itemsize, Layout* layout);

// True if index by index both have the same element.
bool SameElements(const Layout& a, const Layout& b);

// The layout of `bias`, an array of one dim, as an array of the shape of `array`, along whose `dim` it runs. The
// lengths are the same, and `array` has an element.
leakyrelu_status ReadBiasLayout(const leakyrelu_array& bias, const leakyrelu_array& array, int32_t dim,
                                int64_t itemsize, Layout* layout);

struct Loop {
  int64_t extent;
  int64_t in_stride;  // in elements, like out_stride
  int64_t out_stride;
};

// Which element of the bias each element visited has: the first `run` have one, the next `run` the next, and after the
// last of `extent` biases the first one again.
struct BiasRuns {
  int64_t start;  // offset from the bias's address to the first one visited, in elements, like the stride
  int64_t stride;
  int64_t extent;
  int64_t run;
};

// Nested loops over two arrays of one shape, outermost first, at least one.
struct Plan {
  int64_t elements;
  int64_t in_start;  // offset from the array's address to the first element visited, in elements
  int64_t out_start;
  int dims;
  Loop loops[kMaxDims];
  BiasRuns bias = {0, 0, 1, 1};  // if there is one
};

// Merges dims wherever both arrays allow it. With `c_order` elements are visited in C order of the shape, as a mask
// needs; else in the output's order of memory. All layouts have the same shape and at least one element; `bias` may be
// null.
Plan MakePlan(const Layout& in, const Layout& out, bool c_order, const Layout* bias = nullptr);

// What MakePlan gives for contiguous arrays.
Plan RowPlan(int64_t elements);

}  // namespace leakyrelu

#endif  // LEAKYRELU_SRC_PLAN_H_
