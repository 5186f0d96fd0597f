// Shapes and strides to layouts, layouts of one shape to nested loops.

#include "plan.h"

#include <algorithm>
#include <limits>

#include "checked.h"

namespace leakyrelu {
namespace {

// The number of elements, or a status: 0 if any extent is, however large the others are.
leakyrelu_status CountElements(const leakyrelu_array& array, int64_t* elements) {
  bool overflow = false;
  bool empty = false;
  int64_t product = 1;
  for (int32_t i = 0; i < array.ndim; ++i) {
    if (array.shape[i] < 0) return LEAKYRELU_ERROR_SHAPE;
    if (array.shape[i] == 0) {
      empty = true;
    } else {
      overflow |= !Multiply(product, array.shape[i], &product);
    }
  }
  if (overflow && !empty) return LEAKYRELU_ERROR_TOO_LARGE;
  *elements = empty ? 0 : product;
  return LEAKYRELU_OK;
}

// Lowest and highest address, or false if there are no such ones or their distance does not fit int64_t. All of
// uintptr_t are addresses: ARM's pointers may have a tag in their highest byte. Inline: a call costs a small array 3 %.
inline bool FindBounds(Layout* layout) {
  int64_t low = 0;
  int64_t high = 0;
  for (int i = 0; i < layout->dims; ++i) {
    int64_t reach = 0;
    if (!Multiply(layout->extents[i] - 1, layout->strides[i], &reach)) return false;
    if (!(reach < 0 ? Add(low, reach, &low) : Add(high, reach, &high))) return false;
  }
  if (!Multiply(low, layout->itemsize, &low) || !Multiply(high, layout->itemsize, &high) ||
      !Add(high, layout->itemsize - 1, &high) || high > std::numeric_limits<int64_t>::max() + low) {
    return false;
  }
  const uint64_t below = uint64_t{0} - static_cast<uint64_t>(low);
  const uint64_t above = static_cast<uint64_t>(high);
  if (below > layout->address || above > std::numeric_limits<uintptr_t>::max() - layout->address) return false;
  layout->first_byte = layout->address - static_cast<uintptr_t>(below);
  layout->last_byte = layout->address + static_cast<uintptr_t>(above);
  return true;
}

bool CanMerge(const Loop& outer, const Loop& inner) {
  return outer.in_stride == inner.in_stride * inner.extent && outer.out_stride == inner.out_stride * inner.extent;
}

// The biases as the loops of `plan`, upwards but not yet sorted by the output's strides, will visit them.
BiasRuns OrderBias(const Plan& plan, const Layout& out, bool c_order, const Layout& bias) {
  int dim = 0;
  while (dim < bias.dims && bias.strides[dim] == 0) ++dim;
  if (dim == bias.dims) return {0, 0, 1, plan.elements};  // one for all
  const int64_t extent = bias.extents[dim];
  const int64_t stride = bias.strides[dim];
  int64_t run = 1;
  for (int i = 0; i < plan.dims; ++i) {
    const bool is_inside = c_order ? i > dim : plan.loops[i].out_stride < plan.loops[dim].out_stride;
    if (is_inside) run *= plan.loops[i].extent;
  }
  if (!c_order && out.strides[dim] < 0) return {(extent - 1) * stride, -stride, extent, run};
  return {0, stride, extent, run};
}

}  // namespace

leakyrelu_status ReadLayout(const leakyrelu_array& array, int64_t itemsize, Layout* layout) {
  if (array.ndim < 0) return LEAKYRELU_ERROR_NDIM;
  if (array.ndim > 0 && array.shape == nullptr) return LEAKYRELU_ERROR_NULL_SHAPE;
  if (const leakyrelu_status status = CountElements(array, &layout->elements)) return status;

  layout->address = reinterpret_cast<uintptr_t>(array.data);
  layout->itemsize = itemsize;
  layout->dims = 0;
  layout->first_byte = 1;  // from 1 to 0: no byte
  layout->last_byte = 0;
  if (layout->elements == 0) return LEAKYRELU_OK;
  if (array.data == nullptr) return LEAKYRELU_ERROR_NULL_DATA;

  int64_t c_stride = layout->elements;
  for (int32_t i = 0; i < array.ndim; ++i) {
    c_stride /= array.shape[i];
    if (array.shape[i] == 1) continue;
    layout->extents[layout->dims] = array.shape[i];
    layout->strides[layout->dims] = array.strides != nullptr ? array.strides[i] : c_stride;
    ++layout->dims;
  }
  return FindBounds(layout) ? LEAKYRELU_OK : LEAKYRELU_ERROR_TOO_LARGE;
}

leakyrelu_status ReadBiasLayout(const leakyrelu_array& bias, const leakyrelu_array& array, int32_t dim,
                                int64_t itemsize, Layout* layout) {
  if (bias.data == nullptr) return LEAKYRELU_ERROR_NULL_DATA;
  layout->address = reinterpret_cast<uintptr_t>(bias.data);
  layout->itemsize = itemsize;
  layout->elements = 1;
  layout->dims = 0;
  for (int32_t i = 0; i < array.ndim; ++i) {
    layout->elements *= array.shape[i];
    if (array.shape[i] == 1) continue;
    layout->extents[layout->dims] = array.shape[i];
    layout->strides[layout->dims] = i != dim ? 0 : bias.strides != nullptr ? bias.strides[0] : 1;
    ++layout->dims;
  }
  return FindBounds(layout) ? LEAKYRELU_OK : LEAKYRELU_ERROR_TOO_LARGE;
}

bool SameElements(const Layout& a, const Layout& b) {
  return a.address == b.address && a.itemsize == b.itemsize &&
         std::equal(a.extents, a.extents + a.dims, b.extents, b.extents + b.dims) &&
         std::equal(a.strides, a.strides + a.dims, b.strides, b.strides + b.dims);
}

Plan MakePlan(const Layout& in, const Layout& out, bool c_order, const Layout* bias) {
  Plan plan;
  plan.elements = in.elements;
  plan.in_start = 0;
  plan.out_start = 0;
  plan.dims = in.dims;
  for (int i = 0; i < in.dims; ++i) {
    Loop& loop = plan.loops[i];
    loop = {in.extents[i], in.strides[i], out.strides[i]};
    if (!c_order && loop.out_stride < 0) {  // walk the output upwards
      plan.in_start += (loop.extent - 1) * loop.in_stride;
      plan.out_start += (loop.extent - 1) * loop.out_stride;
      loop.in_stride = -loop.in_stride;
      loop.out_stride = -loop.out_stride;
    }
  }
  if (bias != nullptr) plan.bias = OrderBias(plan, out, c_order, *bias);
  if (!c_order) {
    std::sort(plan.loops, plan.loops + plan.dims,
              [](const Loop& a, const Loop& b) { return a.out_stride > b.out_stride; });
  }

  // From the innermost outwards, each loop goes into the one inside it if that makes one longer run of both arrays.
  int kept = plan.dims;
  for (int i = plan.dims - 1; i >= 0; --i) {
    if (kept < plan.dims && CanMerge(plan.loops[i], plan.loops[kept])) {
      plan.loops[kept].extent *= plan.loops[i].extent;
    } else {
      plan.loops[--kept] = plan.loops[i];
    }
  }
  std::copy(plan.loops + kept, plan.loops + plan.dims, plan.loops);
  plan.dims -= kept;

  if (plan.dims == 0) {
    plan.dims = 1;
    plan.loops[0] = {1, 1, 1};
  }
  return plan;
}

Plan RowPlan(int64_t elements) {
  Plan plan;
  plan.elements = elements;
  plan.in_start = 0;
  plan.out_start = 0;
  plan.dims = 1;
  plan.loops[0] = {elements, 1, 1};
  return plan;
}

}  // namespace leakyrelu
