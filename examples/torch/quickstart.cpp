// The reference page's example in libtorch, trained by a step: the same values and gradients as torch::nn::LeakyReLU.

#include <iostream>

#include "leakyrelu/torch.hpp"

int main() {
  torch::manual_seed(0);

  const auto options = leakyrelu::torch::LeakyReLUOptions().negative_slope(0.1);
  leakyrelu::torch::LeakyReLU m(options);
  torch::nn::LeakyReLU original(options);
  const at::Tensor input = torch::randn(2);
  std::cout << m << "\ninput\n" << input << "\noutput\n" << m(input) << "\n";

  at::Tensor x = torch::randn({2, 3, 4}, torch::requires_grad());
  const at::Tensor ours = torch::autograd::grad({m(x).square().sum()}, {x})[0];
  const at::Tensor theirs = torch::autograd::grad({original(x).square().sum()}, {x})[0];
  const at::Tensor in_place = leakyrelu::torch::leaky_relu(x * 1, -0.5, /*inplace=*/true);
  const bool equal = torch::equal(ours, theirs) && torch::equal(in_place, torch::leaky_relu(x, -0.5));
  std::cout << "the same as torch::nn::LeakyReLU: " << (equal ? "yes" : "NO") << "\n";
  return equal ? 0 : 1;
}
