// Which calls the library takes itself: plain eager tensors on the CPU, and on CUDA devices where it was built for
// them, with nothing watching or transforming them.
#ifndef LEAKYRELU_BINDINGS_TORCH_PLAIN_H_
#define LEAKYRELU_BINDINGS_TORCH_PLAIN_H_

#include <ATen/core/Tensor.h>
#include <c10/core/InferenceMode.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <c10/util/SmallVector.h>

#include <algorithm>

#include "dtypes.h"
#include "leakyrelu/leakyrelu.h"

namespace leakyrelu::tensors {

// The dtype in the core's terms; none of them (0) for one that it does not have.
inline leakyrelu_dtype DType(const at::Tensor& tensor) {
  const at::ScalarType type = tensor.scalar_type();
#define LEAKYRELU_IF(constant, name, lanes, bytes, slope, torch) \
  if (type == at::ScalarType::torch && at::ScalarType::torch != at::ScalarType::Undefined) return constant;
  LEAKYRELU_FOR_EACH_DTYPE(LEAKYRELU_IF)
#undef LEAKYRELU_IF
  return leakyrelu_dtype{};
}

// Bit by bit: DispatchKeySet's own difference leaves the bits of backends.
inline bool IsSubset(c10::DispatchKeySet a, c10::DispatchKeySet b) { return (a.raw_repr() & ~b.raw_repr()) == 0; }

#ifdef LEAKYRELU_CUDA
inline constexpr bool kHasCuda = true;
#else
inline constexpr bool kHasCuda = false;
#endif

// The dispatch keys of a dense tensor on one of the devices and no others (no subclass, fake, batched, sparse,
// quantized, nested, conjugate or negative view, ...).
inline bool HasPlainKeys(const at::Tensor& tensor) {
  using c10::DispatchKey;
  constexpr c10::DispatchKeySet kCpu(
      {DispatchKey::CPU, DispatchKey::AutogradCPU, DispatchKey::AutocastCPU, DispatchKey::ADInplaceOrView});
  constexpr c10::DispatchKeySet kCuda(
      {DispatchKey::CUDA, DispatchKey::AutogradCUDA, DispatchKey::AutocastCUDA, DispatchKey::ADInplaceOrView});
  const c10::DispatchKeySet keys = tensor.key_set();
  return (keys.has(DispatchKey::CPU) && IsSubset(keys, kCpu)) ||
         (kHasCuda && keys.has(DispatchKey::CUDA) && IsSubset(keys, kCuda));
}

// A tensor as the core takes it.
inline bool IsPlain(const at::Tensor& tensor) { return HasPlainKeys(tensor) && DType(tensor) != leakyrelu_dtype{}; }

// False only if no two indices are the same element: each stride steps over all that the shorter ones reach. (torch
// looks less closely before it writes; what ours refuses it may still take.)
inline bool MayRepeatElement(const at::Tensor& tensor) {
  if (tensor.is_non_overlapping_and_dense()) return false;
  c10::SmallVector<int64_t, 8> dims;
  for (int64_t dim = 0; dim < tensor.dim(); ++dim) {
    if (tensor.size(dim) == 0) return false;
    if (tensor.size(dim) > 1) dims.push_back(dim);
  }
  std::ranges::sort(dims, {}, [&](int64_t dim) { return tensor.stride(dim); });
  int64_t reach = 0;
  for (const int64_t dim : dims) {
    if (tensor.stride(dim) <= reach) return true;
    reach += (tensor.size(dim) - 1) * tensor.stride(dim);
  }
  return false;
}

// Names of dims, where torch has them: 2.11 does, and its autograd engine switches them off.
template <class Key>
constexpr c10::DispatchKeySet NamesKeySet() {
  if constexpr (requires { Key::Named; }) {
    return c10::DispatchKeySet(Key::Named);
  } else {
    return c10::DispatchKeySet();
  }
}

// What may be switched off without a difference: autocast, which leaves leaky_relu alone, and names, which plain
// tensors do not have.
inline constexpr c10::DispatchKeySet kIndifferent = c10::autocast_dispatch_keyset | NamesKeySet<c10::DispatchKey>();

// No mode, functional transform, tracer or guard has changed where this thread's calls go.
inline bool IsEager() {
  const c10::impl::LocalDispatchKeySet keys = c10::impl::tls_local_dispatch_key_set();
  return keys.included_ == c10::default_included_set && IsSubset(keys.excluded_, kIndifferent);
}

// The same under torch.inference_mode().
inline bool IsInference() {
  const c10::impl::LocalDispatchKeySet keys = c10::impl::tls_local_dispatch_key_set();
  return c10::InferenceMode::is_enabled() &&
         keys.included_ == c10::default_included_set.remove(c10::DispatchKey::ADInplaceOrView) &&
         IsSubset(keys.excluded_, kIndifferent | c10::autograd_dispatch_keyset);
}

// Not ag::isFwGradDefined, whose std::optional copies the tensor: for one that Python holds, torch takes the GIL for
// that.
inline bool HasTangent(const at::Tensor& tensor) { return tensor._fw_grad(/*level=*/0).defined(); }

// A mask as the core takes it.
inline bool IsPlainMask(const at::Tensor& mask) {
  return HasPlainKeys(mask) && mask.scalar_type() == at::kByte && mask.dim() == 1 && mask.is_contiguous();
}

}  // namespace leakyrelu::tensors

#endif  // LEAKYRELU_BINDINGS_TORCH_PLAIN_H_
