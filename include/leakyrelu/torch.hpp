// torch.hpp - LeakyReLU for libtorch: the drop-in that keeps one bit per element for the backward.
//
//   leakyrelu::torch::LeakyReLU m(leakyrelu::torch::LeakyReLUOptions().negative_slope(0.1));
//   auto y = m(x);
//   auto z = leakyrelu::torch::leaky_relu(x, 0.1);
//
// Link leakyrelu::torch. Values, gradients, strides and errors are torch's own; tensors that the library does not take
// (other devices than the CPU and, built with -DLEAKYRELU_CUDA=ON, CUDA's; other layouts, functional transforms, ...)
// go to aten::leaky_relu.
#ifndef LEAKYRELU_TORCH_HPP_
#define LEAKYRELU_TORCH_HPP_

#include <torch/torch.h>

#include <ostream>
#include <utility>

namespace leakyrelu::torch {

// LeakyReLU of `input`, differentiable to any order; in place for any slope if asked for, and then `input` is returned.
at::Tensor leaky_relu(at::Tensor input, double negative_slope = 0.01, bool inplace = false);

using ::torch::nn::LeakyReLUOptions;

// torch::nn::LeakyReLU, keeping a mask for the backward.
class LeakyReLUImpl : public ::torch::nn::Cloneable<LeakyReLUImpl> {
 public:
  explicit LeakyReLUImpl(const LeakyReLUOptions& options = {}) : options(options) {}

  void reset() override {}
  void pretty_print(std::ostream& stream) const override {
    stream << "leakyrelu::torch::LeakyReLU(negative_slope=" << options.negative_slope()
           << (options.inplace() ? ", inplace=true)" : ")");
  }
  at::Tensor forward(at::Tensor input) {
    return leaky_relu(std::move(input), options.negative_slope(), options.inplace());
  }

  LeakyReLUOptions options;
};

class LeakyReLU : public ::torch::nn::ModuleHolder<LeakyReLUImpl> {
 public:
  using ::torch::nn::ModuleHolder<LeakyReLUImpl>::ModuleHolder;
  using Impl [[maybe_unused]] = LeakyReLUImpl;
};

}  // namespace leakyrelu::torch

#endif  // LEAKYRELU_TORCH_HPP_
