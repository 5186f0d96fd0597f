// Tensors to the core: no autograd and no arithmetic here.
#ifndef LEAKYRELU_BINDINGS_TORCH_COMPUTE_H_
#define LEAKYRELU_BINDINGS_TORCH_COMPUTE_H_

#include <ATen/core/Tensor.h>

#include <optional>

namespace leakyrelu::tensors {

// The order of dims, outermost first, in which a mask counts elements. Empty: as they are (C order). A mask in the
// order of the input's memory makes one long run of any dense tensor, channels_last included.
using Order = c10::SmallVector<int64_t, 8>;

Order MemoryOrder(const at::Tensor& tensor);

// The tensor of the input's mask, on its device: ceil(elements / 8) bytes of uint8.
at::Tensor EmptyMask(const at::Tensor& input);

// A fresh tensor of the input's shape with torch's strides: the input's where that is dense, else dense in its order.
at::Tensor EmptyLike(const at::Tensor& input);

// output = LeakyReLU(input), mask = input > 0. All plain and on one device, CUDA's on its current stream; output may be
// input; mask may be undefined. Errors are RuntimeError, thrown before anything is written.
void Forward(const at::Tensor& input, const at::Tensor& output, double slope, const at::Tensor& mask,
             const Order& order);

// A fresh dense tensor of the gradient's shape with the dims in that order.
at::Tensor EmptyInOrder(const at::Tensor& grad, const Order& order);

// result = the gradient of the input. As Forward; `order` is the mask's.
void Backward(const at::Tensor& grad, const at::Tensor& mask, const at::Tensor& result, double slope,
              const Order& order);

// The fused operation's numbers.
struct FusedNumbers {
  double slope;
  double scale;
  std::optional<double> clamp;
};

// output = the fused operation of `input`, with `bias` (may be undefined) along `dim` of it; mask = t > 0 (may be
// undefined) and, where there is a clamp, within. As Forward.
void FusedForward(const at::Tensor& input, const at::Tensor& bias, int64_t dim, const at::Tensor& output,
                  const FusedNumbers& numbers, const at::Tensor& mask, const at::Tensor& within, const Order& order);

// result = the gradient of the input of it. As Backward; `within` is undefined where there is no clamp.
void FusedBackward(const at::Tensor& grad, const at::Tensor& mask, const at::Tensor& within, const at::Tensor& result,
                   double slope, double scale, const Order& order);

// The mask's bits as a tensor of bool of the gradient's shape.
at::Tensor Unpacked(const at::Tensor& mask, const at::Tensor& grad, const Order& order);

// The gradient of the input for every other kind of tensor, composed of differentiable torch operations.
at::Tensor BackwardComposed(const at::Tensor& grad, const at::Tensor& mask, double slope, const Order& order);

// leakyrelu_mask_bytes of numbers that may be symbols.
c10::SymInt SymMaskBytes(const c10::SymInt& elements);

// input > 0 as a mask in C order, composed of torch operations.
at::Tensor MaskComposed(const at::Tensor& input);

}  // namespace leakyrelu::tensors

#endif  // LEAKYRELU_BINDINGS_TORCH_COMPUTE_H_
