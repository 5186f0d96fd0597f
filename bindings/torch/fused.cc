// torch.ops.leakyrelu.fused_leaky_relu: bias, LeakyReLU, scale and clamp in one pass, and its autograd, which keeps
// bits.

#include <ATen/ATen.h>
#include <torch/csrc/autograd/VariableTypeUtils.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/library.h>

#include <cmath>
#include <limits>
#include <mutex>
#include <utility>

#include "compute.h"
#include "node.h"
#include "ops.h"
#include "plain.h"

namespace leakyrelu::tensors {
namespace {

namespace ag = ::torch::autograd;

// float16 and bfloat16 are computed as float32 and rounded once, at the end.
at::Tensor Widened(const at::Tensor& tensor) {
  const at::ScalarType type = tensor.scalar_type();
  return type == at::kHalf || type == at::kBFloat16 ? tensor.to(at::kFloat) : tensor;
}

// What the backward needs besides the gradient. `within` is undefined where there is no clamp.
struct Kept {
  at::Tensor mask;
  at::Tensor within;
  double slope;
  double scale;
  Order order;
};

at::Tensor GradientComposed(const at::Tensor& grad, const Kept& kept) {
  at::Tensor h = Widened(grad);
  if (kept.within.defined()) h = at::where(Unpacked(kept.within, grad, kept.order), h, at::zeros({}, h.options()));
  h = h.mul(kept.scale);
  return at::where(Unpacked(kept.mask, grad, kept.order), h, h.mul(kept.slope)).to(grad.scalar_type());
}

at::Tensor DifferentiableGradient(const at::Tensor& grad, const Kept& kept);

// The gradient of the bias: the sum over all dims but its own.
at::Tensor SumOfBias(const at::Tensor& gradient, int64_t dim) {
  at::DimVector others;
  for (int64_t i = 0; i < gradient.dim(); ++i) {
    if (i != dim) others.push_back(i);
  }
  return others.empty() ? gradient : gradient.sum(others);
}

// Linear in the gradient, so the node of its own backward is of the same class and has the same bits, without a bias.
class FusedLeakyReluBackward : public ag::Node {
 public:
  // `dim`: of the bias, whose gradient is the second one; -1: there is none.
  FusedLeakyReluBackward(const Kept& kept, int64_t dim, ag::edge_list&& next_edges)
      : ag::Node(std::move(next_edges)),
        mask_(kept.mask, /*is_output=*/false),
        within_(kept.within.defined() ? ag::SavedVariable(kept.within, /*is_output=*/false) : ag::SavedVariable()),
        has_within_(kept.within.defined()),
        slope_(kept.slope),
        scale_(kept.scale),
        order_(kept.order),
        dim_(dim) {}

  std::string name() const override { return "FusedLeakyReluBackward"; }

  void release_variables() override {
    const std::lock_guard<std::mutex> lock(mutex_);
    mask_.reset_data();
    within_.reset_data();
  }

  void compiled_args(ag::CompiledNodeArgs& args) const override {
    args.collect(mask_, /*is_output=*/false);
    if (has_within_) args.collect(within_, /*is_output=*/false);
    args.collect(has_within_);
    args.collect(slope_);
    args.collect(scale_);
    args.collect(OrderAsInts());
    args.collect(dim_);
  }

  ag::variable_list apply_with_saved(const ag::variable_list& grads, ag::SwapSavedVariables& saved) override {
    saved.before(mask_);
    if (has_within_) saved.before(within_);
    ::torch::dynamo::autograd::PackedArgs packed;
    packed.pack(mask_.unpack());
    packed.pack(has_within_);
    if (has_within_) packed.pack(within_.unpack());
    packed.pack(slope_);
    packed.pack(scale_);
    packed.pack(OrderAsInts());
    packed.pack(dim_);
    saved.after(mask_);
    if (has_within_) saved.after(within_);
    return CallPacked(*this, grads, saved, packed, ApplyPacked);
  }

 protected:
  ag::variable_list apply(ag::variable_list&& grads) override {
    const bool wants_bias = dim_ >= 0 && task_should_compute_output(1);
    ag::variable_list results(num_outputs());
    if (!grads[0].defined() || !(task_should_compute_output(0) || wants_bias)) return results;
    std::unique_lock<std::mutex> lock(mutex_);
    const Kept kept = {mask_.unpack(), has_within_ ? within_.unpack() : at::Tensor(), slope_, scale_, order_};
    lock.unlock();
    const at::Tensor gradient = DifferentiableGradient(grads[0], kept);
    if (wants_bias) results[1] = SumOfBias(gradient, dim_);
    if (task_should_compute_output(0)) results[0] = gradient;
    return results;
  }

 private:
  static ag::variable_list ApplyPacked(const ag::variable_list& grads, const std::vector<c10::IValue>& values) {
    ::torch::dynamo::autograd::PackedArgs packed(values);
    Kept kept;
    kept.mask = packed.unpack<at::Tensor>();
    if (packed.unpack<bool>()) kept.within = packed.unpack<at::Tensor>();
    kept.slope = packed.unpack<double>();
    kept.scale = packed.unpack<double>();
    const std::vector<int64_t> order = packed.unpack<std::vector<int64_t>>();
    kept.order = Order(order.begin(), order.end());
    const int64_t dim = packed.unpack<int64_t>();
    ag::variable_list results(dim >= 0 ? 2 : 1);
    if (!grads[0].defined()) return results;
    results[0] = GradientComposed(grads[0], kept);
    if (dim >= 0) results[1] = SumOfBias(results[0], dim);
    return results;
  }

  std::vector<int64_t> OrderAsInts() const { return {order_.begin(), order_.end()}; }

  ag::SavedVariable mask_;
  ag::SavedVariable within_;
  bool has_within_;
  double slope_;
  double scale_;
  Order order_;
  int64_t dim_;
};

at::Tensor DifferentiableGradient(const at::Tensor& grad, const Kept& kept) {
  const auto can_take = [&](const at::Tensor& mask) { return IsPlainMask(mask) && mask.device() == grad.device(); };
  if (!IsEager() || !IsPlain(grad) || HasTangent(grad) || !can_take(kept.mask) ||
      (kept.within.defined() && !can_take(kept.within))) {
    return GradientComposed(grad, kept);
  }
  at::Tensor result = EmptyInOrder(grad, kept.order);
  FusedBackward(grad, kept.mask, kept.within, result, kept.slope, kept.scale, kept.order);
  if (ag::compute_requires_grad(grad)) {
    ag::set_history(result, NodePointer<FusedLeakyReluBackward>(kept, -1, ag::collect_next_edges(grad)));
  }
  return result;
}

at::Tensor Composed(const at::Tensor& input, const at::Tensor& bias, int64_t dim, const FusedNumbers& numbers) {
  at::Tensor v = Widened(input);
  if (bias.defined()) {
    c10::SymDimVector shape(static_cast<size_t>(input.dim()), 1);
    shape[static_cast<size_t>(dim)] = bias.sym_size(0);
    v = v.add(Widened(bias).view_symint(shape));
  }
  v = at::leaky_relu(v, numbers.slope).mul(numbers.scale);
  if (numbers.clamp) v = v.clamp(-*numbers.clamp, *numbers.clamp);
  return v.to(input.scalar_type());
}

at::Tensor Eager(const at::Tensor& input, const at::Tensor& bias, int64_t dim, const FusedNumbers& numbers) {
  at::Tensor output = EmptyLike(input);
  const Order order = MemoryOrder(input);
  Kept kept = {at::Tensor(), at::Tensor(), numbers.slope, numbers.scale, order};
  const bool requires_grad = ag::compute_requires_grad(input, bias);
  if (requires_grad) {
    kept.mask = EmptyMask(input);
    if (numbers.clamp) kept.within = EmptyMask(input);
  }
  FusedForward(input, bias, dim, output, numbers, kept.mask, kept.within, order);
  if (!requires_grad) return output;
  ag::edge_list edges = bias.defined() ? ag::collect_next_edges(input, bias) : ag::collect_next_edges(input);
  ag::set_history(output, NodePointer<FusedLeakyReluBackward>(kept, bias.defined() ? dim : -1, std::move(edges)));
  return output;
}

// The kernel of every dispatch key: it asks what it has before it.
at::Tensor FusedLeakyRelu(const at::Tensor& input, const std::optional<at::Tensor>& given_bias, double negative_slope,
                          double scale, std::optional<double> clamp, int64_t dim) {
  TORCH_CHECK(input.is_floating_point(), "fused_leaky_relu: input must be of a floating-point dtype, not ",
              input.scalar_type());
  TORCH_CHECK(!clamp || *clamp >= 0, "fused_leaky_relu: clamp must be 0 or more, or None, not ", clamp.value_or(0));
  at::Tensor bias;
  if (given_bias && given_bias->defined()) {
    bias = *given_bias;
    TORCH_CHECK(input.dim() > 0, "fused_leaky_relu: input has no dims, so it can have no bias along one");
    dim = at::maybe_wrap_dim(dim, input.dim());
    TORCH_CHECK(bias.dim() == 1 && bias.sym_size(0) == input.sym_size(dim),
                "fused_leaky_relu: bias must have one dim of ", input.sym_size(dim), ", as dim ", dim,
                " of input has, not the shape ", bias.sym_sizes());
    TORCH_CHECK(bias.device() == input.device(), "fused_leaky_relu: bias is on ", bias.device(), ", input on ",
                input.device(), "; they must be on the same device");
    bias = bias.to(input.scalar_type());  // as the StyleGAN ports do under autocast
  }
  // As torch's multiplication by a number does, and other than the core.
  if (input.scalar_type() != at::kDouble && std::fabs(scale) > std::numeric_limits<float>::max()) {
    scale = std::copysign(std::numeric_limits<double>::infinity(), scale);
  }
  const FusedNumbers numbers = {negative_slope, scale, clamp};
  // An infinite clamp changes no value, but the gradient at NaN, which it stops; the core takes it for none.
  if (!CanTake(input) || (bias.defined() && !CanTake(bias)) || (clamp && std::isinf(*clamp))) {
    return Composed(input, bias, dim, numbers);
  }
  return Eager(input, bias, dim, numbers);
}

// Below autograd nothing is kept.
at::Tensor FusedLeakyReluBelowAutograd(const at::Tensor& input, const std::optional<at::Tensor>& bias,
                                       double negative_slope, double scale, std::optional<double> clamp, int64_t dim) {
  const at::NoGradGuard no_grad;
  return FusedLeakyRelu(input, bias, negative_slope, scale, clamp, dim);
}

}  // namespace

const std::type_info& FusedNodeType() { return typeid(FusedLeakyReluBackward); }

}  // namespace leakyrelu::tensors

// Outside, for torch's macros.
namespace ops = leakyrelu::tensors;

TORCH_LIBRARY_FRAGMENT(leakyrelu, library) {
  library.def(
      "fused_leaky_relu(Tensor input, Tensor? bias=None, float negative_slope=0.2, float scale=1.4142135623730951, "
      "float? clamp=None, int dim=1) -> Tensor",
      {at::Tag::pt2_compliant_tag});
}
TORCH_LIBRARY_IMPL(leakyrelu, CPU, library) { library.impl("fused_leaky_relu", ops::FusedLeakyReluBelowAutograd); }
TORCH_LIBRARY_IMPL(leakyrelu, AutogradCPU, library) { library.impl("fused_leaky_relu", ops::FusedLeakyRelu); }
#ifdef LEAKYRELU_CUDA
TORCH_LIBRARY_IMPL(leakyrelu, CUDA, library) { library.impl("fused_leaky_relu", ops::FusedLeakyReluBelowAutograd); }
TORCH_LIBRARY_IMPL(leakyrelu, AutogradCUDA, library) { library.impl("fused_leaky_relu", ops::FusedLeakyRelu); }
#endif
TORCH_LIBRARY_IMPL(leakyrelu, CompositeImplicitAutograd, library) {
  library.impl("fused_leaky_relu", ops::FusedLeakyRelu);
}
