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
  layout.first_byte = layout.address;
  layout.last_byte = layout.address + mask_bytes - 1;
  return layout;
}

// Whether a number is finite, and too large for the type that the dtype's numbers are rounded to.
bool Overflows(double number, size_t dtype) {
  return kDTypes[dtype].slope_bytes == sizeof(float) && std::isfinite(number) && std::fabs(number) > FLT_MAX;
}

}  // namespace

leakyrelu_status CheckArguments(Direction direction, const leakyrelu_array* in, const leakyrelu_array* out,
                                const uint8_t* mask, double slope, size_t* dtype) {
  if (out == nullptr && (mask == nullptr || direction == Direction::kBackward)) return LEAKYRELU_ERROR_NULL_OUTPUT;
  if (in == nullptr) return LEAKYRELU_ERROR_NULL_INPUT;
  *dtype = DTypeIndex(in->dtype);
  if (*dtype >= kNumDTypes) return LEAKYRELU_ERROR_DTYPE;
  return Overflows(slope, *dtype) ? LEAKYRELU_ERROR_SLOPE_OVERFLOW : LEAKYRELU_OK;
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

namespace {

leakyrelu_status CheckFusedNumbers(const leakyrelu_fused* fused, size_t dtype, const uint8_t* mask,
                                   const uint8_t* within) {
  if (fused == nullptr) return LEAKYRELU_ERROR_NULL_FUSED;
  if (Overflows(fused->scale, dtype)) return LEAKYRELU_ERROR_SCALE_OVERFLOW;
  if (!(fused->clamp >= 0) || Overflows(fused->clamp, dtype)) return LEAKYRELU_ERROR_CLAMP;
  const bool wants_within = mask != nullptr && std::isfinite(fused->clamp);
  return wants_within == (within != nullptr) ? LEAKYRELU_OK : LEAKYRELU_ERROR_WITHIN;
}

leakyrelu_status CheckFusedArrays(Direction direction, const leakyrelu_array* in, const leakyrelu_fused& fused,
                                  const uint8_t* mask, const uint8_t* within, size_t mask_bytes, const Layouts& layouts,
                                  Layout* bias) {
  const bool is_forward = direction == Direction::kForward;
  if (within != nullptr) {
    const Layout bits = MaskLayout(within, mask_bytes);
    if ((is_forward && (SharesMemory(layouts.in, bits) || SharesMemory(MaskLayout(mask, mask_bytes), bits))) ||
        SharesMemory(layouts.out, bits)) {
      return LEAKYRELU_ERROR_MASK_OVERLAP;
    }
  }
  if (!is_forward || fused.bias == nullptr) return LEAKYRELU_OK;
  const leakyrelu_array& array = *fused.bias;
  if (fused.dim < 0 || fused.dim >= in->ndim) return LEAKYRELU_ERROR_DIM;
  if (array.dtype != in->dtype) return LEAKYRELU_ERROR_BIAS_DTYPE;
  if (array.ndim != 1) return LEAKYRELU_ERROR_BIAS_SHAPE;
  if (array.shape == nullptr) return LEAKYRELU_ERROR_NULL_SHAPE;
  if (array.shape[0] != in->shape[fused.dim]) return LEAKYRELU_ERROR_BIAS_SHAPE;
  if (layouts.in.elements == 0) return LEAKYRELU_OK;
  const int64_t itemsize = layouts.in.itemsize;
  if (const leakyrelu_status status = ReadBiasLayout(array, *in, fused.dim, itemsize, bias)) return status;
  if (SharesMemory(layouts.out, *bias)) return LEAKYRELU_ERROR_BIAS_OVERLAP;
  if ((mask != nullptr && SharesMemory(*bias, MaskLayout(mask, mask_bytes))) ||
      (within != nullptr && SharesMemory(*bias, MaskLayout(within, mask_bytes)))) {
    return LEAKYRELU_ERROR_MASK_OVERLAP;
  }
  return LEAKYRELU_OK;
}

}  // namespace

leakyrelu_status CheckFusedCall(Direction direction, const leakyrelu_array* in, const leakyrelu_array* out,
                                const leakyrelu_fused* fused, double slope, const uint8_t* mask, const uint8_t* within,
                                size_t mask_bytes, size_t* dtype, Layouts* layouts, Layout* bias) {
  bias->elements = 0;
  bias->address = 0;
  if (out == nullptr) return LEAKYRELU_ERROR_NULL_OUTPUT;
  if (const leakyrelu_status status = CheckArguments(direction, in, out, mask, slope, dtype)) return status;
  if (const leakyrelu_status status = CheckFusedNumbers(fused, *dtype, mask, within)) return status;
  if (const leakyrelu_status status = CheckArrays(direction, in, out, mask, mask_bytes, layouts)) return status;
  return CheckFusedArrays(direction, in, *fused, mask, within, mask_bytes, *layouts, bias);
}

}  // namespace leakyrelu
