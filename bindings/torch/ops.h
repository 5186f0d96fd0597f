// What the operators and the fast call share: LeakyReLU of tensors that the library takes itself.
#ifndef LEAKYRELU_BINDINGS_TORCH_OPS_H_
#define LEAKYRELU_BINDINGS_TORCH_OPS_H_

#include <ATen/core/Tensor.h>

#include <typeinfo>

namespace leakyrelu::tensors {

// True if EagerLeakyRelu / EagerLeakyReluInPlace may be called now with this tensor. Else aten's operations must be.
bool CanTake(const at::Tensor& input);
bool CanTakeInPlace(const at::Tensor& input);

// With autograd, in torch's strides, errors and rules for in-place.
at::Tensor EagerLeakyRelu(const at::Tensor& input, double slope);
void EagerLeakyReluInPlace(const at::Tensor& input, double slope);

// The class of the results' grad_fn.
const std::type_info& NodeType();

const std::type_info& FusedNodeType();  // of the fused operation's

// Whether tensors on CUDA devices are taken.
bool HasCuda();

}  // namespace leakyrelu::tensors

#endif  // LEAKYRELU_BINDINGS_TORCH_OPS_H_
