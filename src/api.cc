// The C functions: check everything, say what is wrong, hand over to the driver. No arithmetic.

#include <limits>

#include "check.h"
#include "driver.h"
#include "dtypes.h"
#include "kernels.h"
#include "leakyrelu/leakyrelu.h"
#include "plan.h"
#include "threads.h"

namespace leakyrelu {
namespace {

leakyrelu_status CheckExecutor(const leakyrelu_executor* executor) {
  if (executor == nullptr) return LEAKYRELU_OK;
  if (executor->parallel_for == nullptr) return LEAKYRELU_ERROR_EXECUTOR;
  return executor->num_threads >= 1 ? LEAKYRELU_OK : LEAKYRELU_ERROR_NUM_THREADS;
}

// Elements up to which even a plan of one row takes longer than the call.
constexpr int64_t kSmall = 4096;

// More elements than memory can have, few enough that no sum of addresses overflows.
constexpr int64_t kTooMany = int64_t{1} << 48;

// Whether they would go on at address 0.
bool WrapAround(const void* begin, int64_t bytes) {
  return reinterpret_cast<uintptr_t>(begin) > std::numeric_limits<uintptr_t>::max() - static_cast<uintptr_t>(bytes);
}

bool Disjoint(const void* a, int64_t a_bytes, const void* b, int64_t b_bytes) {
  const auto first = reinterpret_cast<uintptr_t>(a);
  const auto second = reinterpret_cast<uintptr_t>(b);
  return first + static_cast<uintptr_t>(a_bytes) <= second || second + static_cast<uintptr_t>(b_bytes) <= first;
}

bool IsRow(const leakyrelu_array& array, uintptr_t itemsize) {
  return array.ndim == 1 && array.shape != nullptr && array.strides == nullptr && array.data != nullptr &&
         reinterpret_cast<uintptr_t>(array.data) % itemsize == 0;
}

// Whether each array is one aligned row, and nothing is wrong with them: then all of it is seen at once. False wherever
// anything might be wrong, for CheckArrays to find out.
bool AreRightRows(const leakyrelu_array& in, const leakyrelu_array* out, const uint8_t* mask, size_t mask_bytes,
                  int64_t itemsize) {
  if (out == nullptr || in.dtype != out->dtype) return false;
  const uintptr_t alignment = static_cast<uintptr_t>(itemsize);
  if (!IsRow(in, alignment) || !IsRow(*out, alignment)) return false;
  const int64_t elements = in.shape[0];
  if (elements != out->shape[0] || elements <= 0 || elements >= kTooMany) return false;
  if (!IsMaskLength(mask, mask_bytes, elements)) return false;
  const int64_t bytes = elements * itemsize;
  const int64_t bits = static_cast<int64_t>(mask_bytes);
  if (WrapAround(in.data, bytes) || WrapAround(out->data, bytes)) return false;
  return (in.data == out->data || Disjoint(in.data, bytes, out->data, bytes)) &&
         (mask == nullptr || (Disjoint(in.data, bytes, mask, bits) && Disjoint(out->data, bytes, mask, bits)));
}

// Nothing below throws but an executor; nor does anything below ask for memory without which it cannot go on.
leakyrelu_status Start(const Job& job, const Plan& plan, const leakyrelu_executor* executor) {
  try {
    Run(job, plan, executor);
  } catch (...) {
    return LEAKYRELU_ERROR_EXECUTOR_FAILED;
  }
  return LEAKYRELU_OK;
}

// Both calls: in -> out (null: the mask alone), with a mask that is written (forward) or read (backward).
leakyrelu_status Call(Direction direction, const leakyrelu_array* in, const leakyrelu_array* out, uint8_t* mask,
                      size_t mask_bytes, double slope, const leakyrelu_executor* executor) {
  if (const leakyrelu_status status = CheckExecutor(executor)) return status;
  size_t dtype = 0;
  if (const leakyrelu_status status = CheckArguments(direction, in, out, mask, slope, &dtype)) return status;

  const int64_t itemsize = static_cast<int64_t>(kDTypes[dtype].bytes);
  const Kernels& kernels = ActiveKernels();
  const bool is_forward = direction == Direction::kForward;
  const Kernel kernel = is_forward ? kernels.forward[dtype] : kernels.backward[dtype];
  const bool are_rows = AreRightRows(*in, out, mask, mask_bytes, itemsize) && (is_forward || mask != nullptr);
  if (are_rows && in->shape[0] <= kSmall) {
    kernel(in->data, out->data, mask, static_cast<size_t>(in->shape[0]), slope);
    return LEAKYRELU_OK;
  }
  const Job job = {kernel,
                   is_forward ? kernels.streaming_forward[dtype] : kernels.streaming_backward[dtype],
                   static_cast<const std::byte*>(in->data),
                   out != nullptr ? static_cast<std::byte*>(out->data) : nullptr,
                   mask,
                   kDTypes[dtype].bytes,
                   slope};
  if (are_rows) return Start(job, RowPlan(in->shape[0]), executor);
  Layouts layouts;
  if (const leakyrelu_status status = CheckArrays(direction, in, out, mask, mask_bytes, &layouts)) return status;
  if (layouts.in.elements == 0) return LEAKYRELU_OK;
  return Start(job, MakePlan(layouts.in, layouts.out, mask != nullptr), executor);
}

// Both fused calls.
leakyrelu_status FusedCall(Direction direction, const leakyrelu_array* in, const leakyrelu_array* out,
                           const leakyrelu_fused* fused, double slope, uint8_t* mask, uint8_t* within,
                           size_t mask_bytes, const leakyrelu_executor* executor) {
  if (const leakyrelu_status status = CheckExecutor(executor)) return status;
  size_t dtype = 0;
  Layouts layouts;
  Layout bias;
  if (const leakyrelu_status status =
          CheckFusedCall(direction, in, out, fused, slope, mask, within, mask_bytes, &dtype, &layouts, &bias)) {
    return status;
  }
  if (layouts.in.elements == 0) return LEAKYRELU_OK;

  const Kernels& kernels = ActiveKernels();
  const bool is_forward = direction == Direction::kForward;
  const bool has_bias = is_forward && fused->bias != nullptr;
  const FusedJob fused_job = {is_forward ? kernels.fused_forward[dtype] : kernels.fused_backward[dtype],
                              {slope, fused->scale, fused->clamp},
                              has_bias ? static_cast<const std::byte*>(fused->bias->data) : nullptr,
                              within};
  const Job job = {nullptr,
                   nullptr,
                   static_cast<const std::byte*>(in->data),
                   static_cast<std::byte*>(out->data),
                   mask,
                   kDTypes[dtype].bytes,
                   slope,
                   &fused_job};
  return Start(job, MakePlan(layouts.in, layouts.out, mask != nullptr, has_bias ? &bias : nullptr), executor);
}

}  // namespace
}  // namespace leakyrelu

using leakyrelu::Direction;

leakyrelu_status leakyrelu_forward(const leakyrelu_array* x, const leakyrelu_array* y, double negative_slope,
                                   uint8_t* mask, size_t mask_bytes, const leakyrelu_executor* executor) {
  return leakyrelu::Call(Direction::kForward, x, y, mask, mask_bytes, negative_slope, executor);
}

leakyrelu_status leakyrelu_backward(const leakyrelu_array* dy, const uint8_t* mask, size_t mask_bytes,
                                    const leakyrelu_array* dx, double negative_slope,
                                    const leakyrelu_executor* executor) {
  // Backward kernels only read the mask.
  uint8_t* bits = const_cast<uint8_t*>(mask);
  return leakyrelu::Call(Direction::kBackward, dy, dx, bits, mask_bytes, negative_slope, executor);
}

leakyrelu_status leakyrelu_fused_forward(const leakyrelu_array* x, const leakyrelu_array* y,
                                         const leakyrelu_fused* fused, double negative_slope, uint8_t* mask,
                                         uint8_t* within, size_t mask_bytes, const leakyrelu_executor* executor) {
  return leakyrelu::FusedCall(Direction::kForward, x, y, fused, negative_slope, mask, within, mask_bytes, executor);
}

leakyrelu_status leakyrelu_fused_backward(const leakyrelu_array* dy, const uint8_t* mask, const uint8_t* within,
                                          size_t mask_bytes, const leakyrelu_array* dx, const leakyrelu_fused* fused,
                                          double negative_slope, const leakyrelu_executor* executor) {
  // Backward kernels only read the masks.
  return leakyrelu::FusedCall(Direction::kBackward, dy, dx, fused, negative_slope, const_cast<uint8_t*>(mask),
                              const_cast<uint8_t*>(within), mask_bytes, executor);
}

size_t leakyrelu_mask_bytes(int64_t elements) {
  return elements > 0 ? static_cast<size_t>(elements / 8 + (elements % 8 != 0)) : 0;
}

#define LEAKYRELU_TEXT_OF(number) #number
#define LEAKYRELU_VERSION_TEXT(major, minor, patch) \
  LEAKYRELU_TEXT_OF(major) "." LEAKYRELU_TEXT_OF(minor) "." LEAKYRELU_TEXT_OF(patch)
const char* leakyrelu_version(void) {
  return LEAKYRELU_VERSION_TEXT(LEAKYRELU_VERSION_MAJOR, LEAKYRELU_VERSION_MINOR, LEAKYRELU_VERSION_PATCH);
}

int32_t leakyrelu_get_num_threads(void) { return leakyrelu::NumThreads(nullptr); }

leakyrelu_status leakyrelu_set_num_threads(int32_t num_threads) {
  if (num_threads < 1) return LEAKYRELU_ERROR_NUM_THREADS;
  leakyrelu::SetNumThreads(num_threads);
  return LEAKYRELU_OK;
}

const char* leakyrelu_status_message(leakyrelu_status status) {
  switch (status) {
    case LEAKYRELU_OK:
      return "success";
    case LEAKYRELU_ERROR_NULL_INPUT:
      return "the input array (x or dy) is NULL; pass a leakyrelu_array";
    case LEAKYRELU_ERROR_NULL_OUTPUT:
      return "there is nowhere to write: pass an output array (y or dx) or, to leakyrelu_forward, a mask";
    case LEAKYRELU_ERROR_NULL_MASK:
      return "the mask is NULL; pass the one that leakyrelu_forward wrote";
    case LEAKYRELU_ERROR_NULL_SHAPE:
      return "an array's shape is NULL; only an array with ndim 0 needs none";
    case LEAKYRELU_ERROR_NULL_DATA:
      return "an array's data is NULL; only an array without elements needs none";
    case LEAKYRELU_ERROR_DTYPE:
#define LEAKYRELU_SPACE_AND_NAME(constant, name, ...) " " name
      return "an array's dtype is not supported; it must be one of" LEAKYRELU_FOR_EACH_DTYPE(LEAKYRELU_SPACE_AND_NAME);
#undef LEAKYRELU_SPACE_AND_NAME
    case LEAKYRELU_ERROR_DTYPE_MISMATCH:
      return "input and output differ in dtype; they must have the same one";
    case LEAKYRELU_ERROR_NDIM:
      return "an array's ndim is negative; it must be 0 or more";
    case LEAKYRELU_ERROR_SHAPE:
      return "an array's shape has a negative extent; extents must be 0 or more";
    case LEAKYRELU_ERROR_SHAPE_MISMATCH:
      return "input and output differ in shape; they must have the same one (there is no broadcasting)";
    case LEAKYRELU_ERROR_TOO_LARGE:
      return "an array's shape or strides reach beyond the address space; the number of elements and the distance in "
             "bytes between any two of them must fit int64";
    case LEAKYRELU_ERROR_SLOPE_OVERFLOW:
      return "negative_slope is too large for float32, in which float16, bfloat16 and float32 arrays are computed; it "
             "must be at most 3.4028234663852886e38 in magnitude, or infinite, or NaN";
    case LEAKYRELU_ERROR_OVERLAP:
      return "input and output share memory but are not the same elements; the output must be exactly the input (in "
             "place) or share no element with it";
    case LEAKYRELU_ERROR_OUTPUT_REPEATS:
      return "the output holds an element more than once (a stride of 0, or strides that meet); each of its elements "
             "must have memory of its own";
    case LEAKYRELU_ERROR_MASK_OVERLAP:
      return "the mask shares memory with an array; it must have memory of its own";
    case LEAKYRELU_ERROR_NUM_THREADS:
      return "the number of threads is below 1; it must be at least 1";
    case LEAKYRELU_ERROR_EXECUTOR:
      return "the executor's parallel_for is NULL; set it, or pass NULL as executor for the library's own threads";
    case LEAKYRELU_ERROR_EXECUTOR_FAILED:
      return "the executor's parallel_for threw an exception; the output may be incomplete";
    case LEAKYRELU_ERROR_MISALIGNED:
      return "an array's data is at an address that is no multiple of its element's size; on a CUDA device it must be";
    case LEAKYRELU_ERROR_CUDA:
      return "CUDA refused to launch the kernel, and nothing was written; leakyrelu_cuda_error_message says why";
    case LEAKYRELU_ERROR_MASK_BYTES:
      return "mask_bytes is not the length of a mask of the input's elements; it must be what leakyrelu_mask_bytes "
             "gives for their number, and 0 where mask is NULL";
    case LEAKYRELU_ERROR_NULL_FUSED:
      return "fused is NULL; pass a leakyrelu_fused, with scale 1 and clamp INFINITY for neither";
    case LEAKYRELU_ERROR_SCALE_OVERFLOW:
      return "scale is too large for float32, in which float16, bfloat16 and float32 arrays are computed; it must "
             "be at most 3.4028234663852886e38 in magnitude, or infinite, or NaN";
    case LEAKYRELU_ERROR_CLAMP:
      return "clamp is negative, NaN or, for float16, bfloat16 and float32 arrays, larger than the largest float32; it "
             "must be 0 or more, and INFINITY for none";
    case LEAKYRELU_ERROR_WITHIN:
      return "within, the mask of the clamp, must be given where there is a clamp and a mask, and be NULL elsewhere";
    case LEAKYRELU_ERROR_DIM:
      return "dim is not one of x's dims; it must be at least 0 and below x's ndim";
    case LEAKYRELU_ERROR_BIAS_DTYPE:
      return "the bias differs from x in dtype; it must have the same one";
    case LEAKYRELU_ERROR_BIAS_SHAPE:
      return "the bias must have one dim, as long as the dim of x along which it runs";
    case LEAKYRELU_ERROR_BIAS_OVERLAP:
      return "the output shares memory with the bias; each must have memory of its own";
  }
  return "unknown status; it must be one that a leakyrelu function returned";
}
