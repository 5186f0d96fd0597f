// Hands tensors' memory to the core, on its threads and streams.

#include "compute.h"

#include <ATen/ExpandUtils.h>
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <c10/core/Allocator.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/StorageImpl.h>
#include <c10/core/TensorImpl.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/safe_numerics.h>

#ifndef _WIN32
#include <pthread.h>
#endif

#include <algorithm>
#include <atomic>
#include <limits>
#include <vector>

#include "allocator.h"
#include "held_up.h"
#include "leakyrelu/cuda.h"
#include "leakyrelu/leakyrelu.hpp"
#include "plain.h"

namespace leakyrelu::tensors {
namespace {

// A tensor with its dims in `order`, as the core sees it; as one dim if all tensors of the call are contiguous.
struct View {
  // `data` is the tensor's.
  View(const at::Tensor& tensor, const void* data, const Order& order, bool as_one_dim)
      : elements(tensor.numel()), array{const_cast<void*>(data), DType(tensor), 1, &elements, nullptr} {
    if (as_one_dim) return;
    array.ndim = static_cast<int32_t>(tensor.dim());
    array.shape = tensor.sizes().data();
    array.strides = tensor.strides().data();
    if (order.empty()) return;
    for (const int64_t dim : order) {
      sizes.push_back(tensor.size(dim));
      strides.push_back(tensor.stride(dim));
    }
    array.shape = sizes.data();
    array.strides = strides.data();
  }
  View(const View&) = delete;
  View& operator=(const View&) = delete;

  int64_t elements;
  c10::SmallVector<int64_t, 8> sizes;
  c10::SmallVector<int64_t, 8> strides;
  leakyrelu_array array;
};

// Input and output of a call, both with their dims in `order`.
struct Operands {
  Operands(const at::Tensor& input, const at::Tensor& output, const Order& order, bool may_be_one_dim = true)
      : as_one_dim(may_be_one_dim && order.empty() && input.is_contiguous() && output.is_contiguous()),
        // The output's memory first: asking for it gives a tensor that is copied on write memory of its own.
        out(output, output.data_ptr(), order, as_one_dim),
        in(input, input.const_data_ptr(), order, as_one_dim) {}

  bool as_one_dim;
  View out;
  View in;
};

constexpr double kNoClamp = std::numeric_limits<double>::infinity();

// Below as many elements the core keeps to one thread anyway, and asking torch for its number takes longer than they
// do.
constexpr int64_t kElementsForThreads = 16384;

// torch's threads are the better ones right after one of its operations, whose workers still look for the next; but a
// call waits for each of them, even for one that another process keeps from running.
HeldUp by_torchs_threads;

void OnTorchsThreads(void* /*context*/, int64_t tasks, leakyrelu_task task, void* work) {
  const HeldUp::Clock::time_point start = HeldUp::Clock::now();
  HeldUp::Clock::duration own{};
  at::parallel_for(0, tasks, 1, [&](int64_t begin, int64_t end) {
    const HeldUp::Clock::time_point own_start = HeldUp::Clock::now();
    for (int64_t i = begin; i < end; ++i) task(work, i);
    if (begin == 0) own = (HeldUp::Clock::now() - own_start) / end;  // the caller's part
  });
  by_torchs_threads.Note(start, HeldUp::Clock::now(), own * tasks);
}

// A child of fork() has none of its parent's threads. torch's pool waits for them for ever; the library's starts anew.
std::atomic<bool> is_forked{false};
#ifndef _WIN32
[[maybe_unused]] const int fork_is_noted = pthread_atfork(nullptr, nullptr, [] { is_forked = true; });
#endif

// As many threads as torch has been told to use.
leakyrelu_executor Threads(int64_t elements) {
  if (elements < kElementsForThreads || at::in_parallel_region()) return {nullptr, OnTorchsThreads, 1};
  const bool on_own = is_forked.load(std::memory_order_relaxed) || by_torchs_threads.IsOn(HeldUp::Clock::now());
  return {nullptr, on_own ? leakyrelu_own_threads : OnTorchsThreads, std::max(1, at::get_num_threads())};
}

void Check(leakyrelu_status status, const leakyrelu_array& in, size_t mask_bytes) {
  TORCH_CHECK(status == LEAKYRELU_OK, detail::message(status, in, mask_bytes));
}

// The stream that is current in torch, by its interface for all kinds of devices, which needs no headers of CUDA.
cudaStream_t CurrentStream(c10::Device device) {
  return static_cast<cudaStream_t>(c10::impl::VirtualGuardImpl(device.type()).getStream(device).native_handle());
}

// The device that must be current while memory of a tensor is asked for and used; the CPU is always.
std::optional<c10::Device> OwnDevice(const at::Tensor& tensor) {
  return tensor.is_cpu() ? std::nullopt : std::optional(tensor.device());
}

void CheckCuda(leakyrelu_status status, const leakyrelu_array& in, size_t mask_bytes) {
  TORCH_CHECK(status != LEAKYRELU_ERROR_CUDA, leakyrelu_status_message(status), ": ", leakyrelu_cuda_error_message());
  Check(status, in, mask_bytes);
}

// A fresh tensor with memory for so many elements; on the CPU without torch's checks, which take longer than a small
// call. Its shape is the caller's to set.
at::Tensor Unshaped(int64_t elements, at::ScalarType dtype, c10::Device device) {
  if (!device.is_cpu()) return at::empty({elements}, at::TensorOptions().dtype(dtype).device(device));
  const caffe2::TypeMeta type = c10::scalarTypeToTypeMeta(dtype);
  uint64_t bytes = 0;
  TORCH_CHECK(!c10::mul_overflows(static_cast<uint64_t>(elements), type.itemsize(), &bytes),
              "Storage size calculation overflowed");
  c10::Allocator* const allocator = AllocatorFor(bytes);
  auto storage = c10::make_intrusive<c10::StorageImpl>(c10::StorageImpl::use_byte_size_t(), bytes,
                                                       allocator->allocate(bytes), allocator, /*resizable=*/true);
  return at::detail::make_tensor<c10::TensorImpl>(std::move(storage), c10::DispatchKeySet(c10::DispatchKey::CPU), type);
}

// The input's strides where that is dense, else those of a dense tensor in its order.
at::DimVector DenseStrides(const at::Tensor& input) {
  if (input.is_non_overlapping_and_dense()) return at::DimVector(input.strides());
  const std::vector<int64_t> strides = at::infer_dense_strides(input.sizes(), input.strides());
  return at::DimVector(strides.begin(), strides.end());
}

}  // namespace

Order MemoryOrder(const at::Tensor& tensor) {
  Order order;
  if (tensor.is_contiguous()) return order;
  const at::DimVector strides = DenseStrides(tensor);
  for (int64_t dim = 0; dim < tensor.dim(); ++dim) order.push_back(dim);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return strides[static_cast<size_t>(a)] > strides[static_cast<size_t>(b)];
  });
  return order;
}

at::Tensor EmptyMask(const at::Tensor& input) {
  const auto bytes = static_cast<int64_t>(leakyrelu_mask_bytes(input.numel()));
  at::Tensor mask = Unshaped(bytes, at::kByte, input.device());
  mask.unsafeGetTensorImpl()->set_sizes_contiguous(bytes);
  return mask;
}

at::Tensor EmptyLike(const at::Tensor& input) {
  at::Tensor result = Unshaped(input.numel(), input.scalar_type(), input.device());
  c10::TensorImpl* const impl = result.unsafeGetTensorImpl();
  if (input.is_contiguous()) {
    impl->set_sizes_contiguous(input.sizes());
  } else {
    impl->set_sizes_and_strides(input.sizes(), DenseStrides(input));
  }
  return result;
}

void Forward(const at::Tensor& input, const at::Tensor& output, double slope, const at::Tensor& mask,
             const Order& order) {
  const auto bits = [&] { return mask.defined() ? static_cast<uint8_t*>(mask.data_ptr()) : nullptr; };
  const size_t mask_bytes = mask.defined() ? static_cast<size_t>(mask.numel()) : 0;
  if constexpr (kHasCuda) {
    if (input.is_cuda()) {
      const c10::DeviceGuard current(input.device());
      const Operands arrays(input, output, order);
      const leakyrelu_array &in = arrays.in.array, &out = arrays.out.array;
      cudaStream_t stream = CurrentStream(input.device());
      return CheckCuda(leakyrelu_cuda_forward(&in, &out, slope, bits(), mask_bytes, stream), in, mask_bytes);
    }
  }
  const Operands arrays(input, output, order);
  const leakyrelu_executor executor = Threads(input.numel());
  const leakyrelu_array &in = arrays.in.array, &out = arrays.out.array;
  Check(leakyrelu_forward(&in, &out, slope, bits(), mask_bytes, &executor), in, mask_bytes);
}

at::Tensor EmptyInOrder(const at::Tensor& grad, const Order& order) {
  const at::IntArrayRef sizes = grad.sizes();
  at::Tensor result = Unshaped(grad.numel(), grad.scalar_type(), grad.device());
  if (order.empty()) {
    result.unsafeGetTensorImpl()->set_sizes_contiguous(sizes);
    return result;
  }
  c10::SmallVector<int64_t, 8> strides(order.size());
  int64_t stride = 1;
  for (auto dim = order.rbegin(); dim != order.rend(); ++dim) {
    const size_t i = static_cast<size_t>(*dim);
    strides[i] = stride;
    stride *= std::max<int64_t>(sizes[i], 1);
  }
  result.unsafeGetTensorImpl()->set_sizes_and_strides(sizes, strides);
  return result;
}

void Backward(const at::Tensor& grad, const at::Tensor& mask, const at::Tensor& result, double slope,
              const Order& order) {
  const auto bits = [&] { return static_cast<const uint8_t*>(mask.const_data_ptr()); };
  const size_t mask_bytes = static_cast<size_t>(mask.numel());
  if constexpr (kHasCuda) {
    if (grad.is_cuda()) {
      const c10::DeviceGuard current(grad.device());
      const Operands arrays(grad, result, order);
      const leakyrelu_array &in = arrays.in.array, &out = arrays.out.array;
      cudaStream_t stream = CurrentStream(grad.device());
      return CheckCuda(leakyrelu_cuda_backward(&in, bits(), mask_bytes, &out, slope, stream), in, mask_bytes);
    }
  }
  const Operands arrays(grad, result, order);
  const leakyrelu_executor executor = Threads(grad.numel());
  const leakyrelu_array &in = arrays.in.array, &out = arrays.out.array;
  Check(leakyrelu_backward(&in, bits(), mask_bytes, &out, slope, &executor), in, mask_bytes);
}

void FusedForward(const at::Tensor& input, const at::Tensor& bias, int64_t dim, const at::Tensor& output,
                  const FusedNumbers& numbers, const at::Tensor& mask, const at::Tensor& within, const Order& order) {
  const c10::OptionalDeviceGuard current(OwnDevice(input));
  const Operands arrays(input, output, order, /*may_be_one_dim=*/!bias.defined());
  const leakyrelu_array &in = arrays.in.array, &out = arrays.out.array;
  leakyrelu_array bias_array{};
  leakyrelu_fused fused{nullptr, 0, numbers.scale, numbers.clamp.value_or(kNoClamp)};
  if (bias.defined()) {
    bias_array = {const_cast<void*>(bias.const_data_ptr()), DType(bias), 1, bias.sizes().data(), bias.strides().data()};
    fused.bias = &bias_array;
    fused.dim = static_cast<int32_t>(order.empty() ? dim : std::ranges::find(order, dim) - order.begin());
  }
  const auto bits = [](const at::Tensor& m) { return m.defined() ? static_cast<uint8_t*>(m.data_ptr()) : nullptr; };
  const size_t mask_bytes = mask.defined() ? static_cast<size_t>(mask.numel()) : 0;
  if constexpr (kHasCuda) {
    if (input.is_cuda()) {
      cudaStream_t stream = CurrentStream(input.device());
      return CheckCuda(
          leakyrelu_cuda_fused_forward(&in, &out, &fused, numbers.slope, bits(mask), bits(within), mask_bytes, stream),
          in, mask_bytes);
    }
  }
  const leakyrelu_executor executor = Threads(input.numel());
  Check(leakyrelu_fused_forward(&in, &out, &fused, numbers.slope, bits(mask), bits(within), mask_bytes, &executor), in,
        mask_bytes);
}

void FusedBackward(const at::Tensor& grad, const at::Tensor& mask, const at::Tensor& within, const at::Tensor& result,
                   double slope, double scale, const Order& order) {
  const c10::OptionalDeviceGuard current(OwnDevice(grad));
  const Operands arrays(grad, result, order);
  const leakyrelu_array &in = arrays.in.array, &out = arrays.out.array;
  // The core is told whether there is a clamp, not where: the bits say what that did.
  const leakyrelu_fused fused{nullptr, 0, scale, within.defined() ? 0.0 : kNoClamp};
  const auto bits = [](const at::Tensor& m) {
    return m.defined() ? static_cast<const uint8_t*>(m.const_data_ptr()) : nullptr;
  };
  const size_t mask_bytes = static_cast<size_t>(mask.numel());
  if constexpr (kHasCuda) {
    if (grad.is_cuda()) {
      cudaStream_t stream = CurrentStream(grad.device());
      return CheckCuda(
          leakyrelu_cuda_fused_backward(&in, bits(mask), bits(within), mask_bytes, &out, &fused, slope, stream), in,
          mask_bytes);
    }
  }
  const leakyrelu_executor executor = Threads(grad.numel());
  Check(leakyrelu_fused_backward(&in, bits(mask), bits(within), mask_bytes, &out, &fused, slope, &executor), in,
        mask_bytes);
}

at::Tensor Unpacked(const at::Tensor& mask, const at::Tensor& grad, const Order& order) {
  c10::SymDimVector sizes;
  std::vector<int64_t> inverse(order.size());
  for (size_t i = 0; i < order.size(); ++i) {
    sizes.push_back(grad.sym_size(order[i]));
    inverse[static_cast<size_t>(order[i])] = static_cast<int64_t>(i);
  }
  const at::Tensor shifts = at::arange(8, mask.options());
  const at::Tensor bits = mask.unsqueeze(-1).bitwise_right_shift(shifts).bitwise_and(1).to(at::kBool);
  const at::Tensor positive = bits.reshape(-1).narrow_symint(0, 0, grad.sym_numel());
  return order.empty() ? positive.view_symint(grad.sym_sizes()) : positive.view_symint(sizes).permute(inverse);
}

at::Tensor BackwardComposed(const at::Tensor& grad, const at::Tensor& mask, double slope, const Order& order) {
  return at::where(Unpacked(mask, grad, order), grad, grad.mul(slope));
}

c10::SymInt SymMaskBytes(const c10::SymInt& elements) { return (elements + 7) / 8; }

at::Tensor MaskComposed(const at::Tensor& input) {
  const at::Tensor positive = input.gt(0).reshape(-1).to(at::kByte);
  const c10::SymInt elements = input.sym_numel();
  const c10::SymInt padding = SymMaskBytes(elements) * 8 - elements;
  const at::Tensor padded = at::constant_pad_nd_symint(positive, {c10::SymInt(0), padding});
  const at::Tensor shifts = at::arange(8, padded.options());
  return padded.reshape({-1, 8}).bitwise_left_shift(shifts).sum(-1, /*keepdim=*/false, at::kByte);
}

}  // namespace leakyrelu::tensors
