// The operators and their autograd: torch.ops.leakyrelu.*, and the functions behind torch.hpp and the fast call.

#include "ops.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/VariableTypeUtils.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/library.h>

#include <mutex>
#include <utility>

#include "compute.h"
#include "leakyrelu/torch.hpp"
#include "node.h"
#include "plain.h"

namespace leakyrelu::tensors {
namespace {

namespace ag = ::torch::autograd;

at::Tensor DifferentiableBackward(const at::Tensor& grad, const at::Tensor& mask, double slope, const Order& order);

// The backward of LeakyReLU, kept as a mask and a slope. It is linear in the gradient, so the node of its own backward
// is of the same class and has the same mask.
class LeakyReluMaskBackward : public ag::Node {
 public:
  LeakyReluMaskBackward(double slope, Order order, ag::edge_list&& next_edges)
      : ag::Node(std::move(next_edges)), slope_(slope), order_(std::move(order)) {}

  // With what it holds by now, which hooks on saved tensors may look at.
  void Keep(const at::Tensor& mask) { mask_ = ag::SavedVariable(mask, /*is_output=*/false); }

  std::string name() const override { return "LeakyReluMaskBackward"; }

  void release_variables() override {
    const std::lock_guard<std::mutex> lock(mutex_);
    mask_.reset_data();
  }

  void compiled_args(ag::CompiledNodeArgs& args) const override {
    args.collect(mask_, /*is_output=*/false);
    args.collect(slope_);
    args.collect(OrderAsInts());
  }

  ag::variable_list apply_with_saved(const ag::variable_list& grads, ag::SwapSavedVariables& saved) override {
    saved.before(mask_);
    ::torch::dynamo::autograd::PackedArgs packed;
    packed.pack(mask_.unpack());
    packed.pack(slope_);
    packed.pack(OrderAsInts());
    saved.after(mask_);
    return CallPacked(*this, grads, saved, packed, ApplyPacked);
  }

 protected:
  ag::variable_list apply(ag::variable_list&& grads) override {
    if (!grads[0].defined() || !task_should_compute_output(0)) return {at::Tensor()};
    std::unique_lock<std::mutex> lock(mutex_);
    const at::Tensor mask = mask_.unpack();
    lock.unlock();
    return {DifferentiableBackward(grads[0], mask, slope_, order_)};
  }

 private:
  static ag::variable_list ApplyPacked(const ag::variable_list& grads, const std::vector<c10::IValue>& values) {
    ::torch::dynamo::autograd::PackedArgs packed(values);
    const at::Tensor mask = packed.unpack<at::Tensor>();
    const double slope = packed.unpack<double>();
    const std::vector<int64_t> order = packed.unpack<std::vector<int64_t>>();
    if (!grads[0].defined()) return {at::Tensor()};
    return {BackwardComposed(grads[0], mask, slope, Order(order.begin(), order.end()))};
  }

  std::vector<int64_t> OrderAsInts() const { return {order_.begin(), order_.end()}; }

  ag::SavedVariable mask_;
  double slope_;
  Order order_;
};

auto MakeNode(const at::Tensor& input, double slope, const Order& order) {
  return NodePointer<LeakyReluMaskBackward>(slope, order, ag::collect_next_edges(input));
}

void SetHistory(const at::Tensor& output, const at::Tensor& input, const at::Tensor& mask, double slope,
                const Order& order) {
  auto node = MakeNode(input, slope, order);
  node->Keep(mask);
  ag::set_history(output, std::move(node));
}

bool CanTakeBackward(const at::Tensor& grad, const at::Tensor& mask) {
  return IsEager() && IsPlain(grad) && IsPlainMask(mask) && mask.device() == grad.device() && !HasTangent(grad);
}

// Into `result`, in one of torch's layouts.
at::Tensor EagerBackward(const at::Tensor& grad, const at::Tensor& mask, at::Tensor result, double slope,
                         const Order& order) {
  Backward(grad, mask, result, slope, order);
  if (ag::compute_requires_grad(grad)) SetHistory(result, grad, mask, slope, order);
  return result;
}

// As torch's, the gradient is laid out as the input was, whatever the layout of the gradient that arrives.
at::Tensor DifferentiableBackward(const at::Tensor& grad, const at::Tensor& mask, double slope, const Order& order) {
  if (!CanTakeBackward(grad, mask)) return BackwardComposed(grad, mask, slope, order);
  return EagerBackward(grad, mask, EmptyInOrder(grad, order), slope, order);
}

// In place for tensors that the library does not take. torch's own backward refuses negative slopes in place; then the
// result is computed from a copy, which is what backward sees, and copied back.
at::Tensor& InPlaceComposed(at::Tensor& self, const at::Scalar& slope) {
  if (slope.isComplex() || !(slope.toDouble() < 0)) return at::leaky_relu_(self, slope);
  return self.copy_(at::leaky_relu(self.clone(), slope));
}

// ---- Kernels of the operators

at::Tensor LeakyRelu(const at::Tensor& self, const at::Scalar& slope) {
  return CanTake(self) && !slope.isComplex() ? EagerLeakyRelu(self, slope.toDouble()) : at::leaky_relu(self, slope);
}

at::Tensor& LeakyReluInPlace(at::Tensor& self, const at::Scalar& slope) {
  if (CanTakeInPlace(self) && !slope.isComplex()) {
    EagerLeakyReluInPlace(self, slope.toDouble());
    return self;
  }
  return InPlaceComposed(self, slope);
}

std::tuple<at::Tensor, at::Tensor> LeakyReluWithMask(const at::Tensor& self, const at::Scalar& slope) {
  if (!CanTake(self) || slope.isComplex()) return {at::leaky_relu(self, slope), MaskComposed(self)};
  const at::Tensor mask = EmptyMask(self);
  at::Tensor output = EmptyLike(self);
  Forward(self, output, slope.toDouble(), mask, Order());
  if (ag::compute_requires_grad(self)) SetHistory(output, self, mask, slope.toDouble(), Order());
  return {output, mask};
}

at::Tensor LeakyReluBackwardOp(const at::Tensor& grad, const at::Tensor& mask, const at::Scalar& slope) {
  TORCH_CHECK(mask.scalar_type() == at::kByte && mask.dim() == 1,
              "mask must be a uint8 tensor of one dimension, as leaky_relu_with_mask returns it, not of ",
              mask.scalar_type(), " and ", mask.dim(), " dimensions");
  TORCH_CHECK(mask.device() == grad.device(), "mask is on ", mask.device(), ", grad on ", grad.device(),
              "; they must be on the same device");
  if (!CanTakeBackward(grad, mask)) {
    // What the core checks elsewhere.
    TORCH_CHECK(mask.sym_numel() == SymMaskBytes(grad.sym_numel()), "mask has ", mask.sym_numel(), " bytes; ",
                grad.sym_numel(), " elements need ", SymMaskBytes(grad.sym_numel()));
    return at::empty_like(grad).copy_(BackwardComposed(grad, mask, slope.toDouble(), Order()));  // laid out as grad
  }
  return EagerBackward(grad, mask, EmptyLike(grad), slope.toDouble(), Order());
}

at::Tensor LeakyReluBelowAutograd(const at::Tensor& self, const at::Scalar& slope) {
  if (!IsPlain(self) || slope.isComplex()) return at::leaky_relu(self, slope);
  at::Tensor output = EmptyLike(self);
  Forward(self, output, slope.toDouble(), at::Tensor(), Order());
  return output;
}

at::Tensor& LeakyReluInPlaceBelowAutograd(at::Tensor& self, const at::Scalar& slope) {
  if (!IsPlain(self) || slope.isComplex() || MayRepeatElement(self)) return at::leaky_relu_(self, slope);
  Forward(self, self, slope.toDouble(), at::Tensor(), Order());
  return self;
}

}  // namespace

bool CanTake(const at::Tensor& input) { return (IsEager() || IsInference()) && IsPlain(input) && !HasTangent(input); }

bool CanTakeInPlace(const at::Tensor& input) {
  return IsEager() && IsPlain(input) && !HasTangent(input) && !input.is_inference() && !MayRepeatElement(input);
}

at::Tensor EagerLeakyRelu(const at::Tensor& input, double slope) {
  at::Tensor output = EmptyLike(input);
  if (!ag::compute_requires_grad(input)) {
    Forward(input, output, slope, at::Tensor(), Order());
    return output;
  }
  const Order order = MemoryOrder(input);
  const at::Tensor mask = EmptyMask(input);
  Forward(input, output, slope, mask, order);
  SetHistory(output, input, mask, slope, order);
  return output;
}

void EagerLeakyReluInPlace(const at::Tensor& input, double slope) {
  const bool requires_grad = ag::compute_requires_grad(input);
  ag::check_inplace(input, requires_grad);
  if (!requires_grad) {
    Forward(input, input, slope, at::Tensor(), Order());
    ag::increment_version(input);
    return;
  }
  const Order order = MemoryOrder(input);
  const at::Tensor mask = EmptyMask(input);
  // Before anything is written, for there may be no memory for it. And before the version changes: a view that is asked
  // for its edges afterwards takes its history for up to date, and rebase_history would leave it without this node.
  auto node = MakeNode(input, slope, order);
  Forward(input, input, slope, mask, order);
  node->Keep(mask);
  ag::increment_version(input);
  ag::rebase_history(input, std::move(node));
}

const std::type_info& NodeType() { return typeid(LeakyReluMaskBackward); }

bool HasCuda() { return kHasCuda; }

}  // namespace leakyrelu::tensors

// Outside, for torch's macros.
namespace ops = leakyrelu::tensors;

at::Tensor leakyrelu::torch::leaky_relu(at::Tensor input, double negative_slope, bool inplace) {
  if (!inplace) return ops::LeakyRelu(input, negative_slope);
  return ops::LeakyReluInPlace(input, negative_slope);
}

TORCH_LIBRARY(leakyrelu, library) {
  const std::vector<at::Tag> pointwise = {at::Tag::pt2_compliant_tag, at::Tag::pointwise};
  const std::vector<at::Tag> compliant = {at::Tag::pt2_compliant_tag};
  library.def("leaky_relu(Tensor self, Scalar negative_slope=0.01) -> Tensor", pointwise);
  library.def("leaky_relu_(Tensor(a!) self, Scalar negative_slope=0.01) -> Tensor(a!)", pointwise);
  library.def("leaky_relu_with_mask(Tensor self, Scalar negative_slope=0.01) -> (Tensor, Tensor)", compliant);
  library.def("leaky_relu_backward(Tensor grad, Tensor mask, Scalar negative_slope=0.01) -> Tensor", compliant);
}

namespace {
void ImplementBelowAutograd(torch::Library& library) {
  library.impl("leaky_relu", ops::LeakyReluBelowAutograd);
  library.impl("leaky_relu_", ops::LeakyReluInPlaceBelowAutograd);
}

// These ask what they have before them and, if it is not plain, compose torch's own operations; so they serve as
// kernels of every other device, as meta and fake kernels, as batching rules and as decompositions too.
void ImplementWithAutograd(torch::Library& library) {
  library.impl("leaky_relu", ops::LeakyRelu);
  library.impl("leaky_relu_", ops::LeakyReluInPlace);
  library.impl("leaky_relu_with_mask", ops::LeakyReluWithMask);
  library.impl("leaky_relu_backward", ops::LeakyReluBackwardOp);
}
}  // namespace

TORCH_LIBRARY_IMPL(leakyrelu, CPU, library) { ImplementBelowAutograd(library); }
TORCH_LIBRARY_IMPL(leakyrelu, AutogradCPU, library) { ImplementWithAutograd(library); }
#ifdef LEAKYRELU_CUDA
TORCH_LIBRARY_IMPL(leakyrelu, CUDA, library) { ImplementBelowAutograd(library); }
TORCH_LIBRARY_IMPL(leakyrelu, AutogradCUDA, library) { ImplementWithAutograd(library); }
#endif
TORCH_LIBRARY_IMPL(leakyrelu, CompositeImplicitAutograd, library) { ImplementWithAutograd(library); }
