// Each check relies on those before it.

#include "check.h"

#include <cfloat>
#include <cmath>

#include "dtypes.h"
#include "overlap.h"

namespace leakyrelu {
namespace {

bool SameShape(const leakyrelu_array& a, const leakyrelu_array& b) {
  if (a.ndim != b.ndim) return false;
  for (int32_t i = 0; i < a.ndim; ++i) {
    if (a.shape[i] != b.shape[i]) return false;
  }
  return true;
}

// The mask as an array of bytes, for the overlap checks.
Layout MaskLayout(const uint8_t* mask, size_t mask_bytes) {
  Layout layout;
  const int64_t bytes = static_cast<int64_t>(mask_bytes);
  layout.address = reinterpret_cast<uintptr_t>(mask);
  layout.itemsize = 1;
  layout.elements = bytes;
  layout.dims = bytes > 1 ? 1 : 0;
  layout.extents[0] = bytes;
  layout.strides[0] = 1;
  layout.first_byte = static_cast<int64_t>(layout.address);
  layout.last_byte = layout.first_byte + bytes - 1;
  return layout;
}

}  // namespace

leakyrelu_status CheckArguments(Direction direction, const leakyrelu_array* in, const leakyrelu_array* out,
                                const uint8_t* mask, double slope, size_t* dtype) {
  if (out == nullptr && (mask == nullptr || direction == Direction::kBackward)) return LEAKYRELU_ERROR_NULL_OUTPUT;
  if (in == nullptr) return LEAKYRELU_ERROR_NULL_INPUT;
  *dtype = DTypeIndex(in->dtype);
  if (*dtype >= kNumDTypes) return LEAKYRELU_ERROR_DTYPE;
  if (kDTypes[*dtype].slope_bytes == sizeof(float) && std::isfinite(slope) && std::fabs(slope) > FLT_MAX) {
    return LEAKYRELU_ERROR_SLOPE_OVERFLOW;
  }
  return LEAKYRELU_OK;
}

leakyrelu_status CheckArrays(Direction direction, const leakyrelu_array* in, const leakyrelu_array* out,
                             const uint8_t* mask, size_t mask_bytes, Layouts* layouts) {
  const int64_t itemsize = static_cast<int64_t>(kDTypes[DTypeIndex(in->dtype)].bytes);
  if (const leakyrelu_status status = ReadLayout(*in, itemsize, &layouts->in)) return status;
  if (out == nullptr) {
    layouts->out = layouts->in;
  } else {
    if (DTypeIndex(out->dtype) >= kNumDTypes) return LEAKYRELU_ERROR_DTYPE;
    if (out->dtype != in->dtype) return LEAKYRELU_ERROR_DTYPE_MISMATCH;
    if (const leakyrelu_status status = ReadLayout(*out, itemsize, &layouts->out)) return status;
    if (!SameShape(*in, *out)) return LEAKYRELU_ERROR_SHAPE_MISMATCH;
    if (RepeatsElement(layouts->out)) return LEAKYRELU_ERROR_OUTPUT_REPEATS;
    if (!SameElements(layouts->in, layouts->out) && SharesMemory(layouts->in, layouts->out)) {
      return LEAKYRELU_ERROR_OVERLAP;
    }
  }
  if (mask == nullptr && direction == Direction::kBackward && layouts->in.elements > 0) {
    return LEAKYRELU_ERROR_NULL_MASK;
  }
  if (!IsMaskLength(mask, mask_bytes, layouts->in.elements)) return LEAKYRELU_ERROR_MASK_BYTES;
  if (mask == nullptr) return LEAKYRELU_OK;
  const Layout mask_layout = MaskLayout(mask, mask_bytes);
  if ((direction == Direction::kForward && SharesMemory(layouts->in, mask_layout)) ||
      (out != nullptr && SharesMemory(layouts->out, mask_layout))) {
    return LEAKYRELU_ERROR_MASK_OVERLAP;
  }
  return LEAKYRELU_OK;
}

}  // namespace leakyrelu
