// The reference page's example in C++: m = LeakyReLU(0.1) on two normal random numbers, then on a 3-D array, with
// gradient.

#include <cstdint>
#include <cstdio>
#include <random>
#include <vector>

#include "leakyrelu/leakyrelu.hpp"

namespace {

// A 3-D array in C order. Anything with these five members will do; std::mdspan has them.
struct Array3 {
  using element_type = float;
  static constexpr std::size_t rank() { return 3; }
  std::int64_t extent(std::size_t i) const { return extents[i]; }
  std::int64_t stride(std::size_t i) const { return i == 2 ? 1 : extents[i + 1] * stride(i + 1); }
  float* data_handle() const { return data; }

  float* data;
  std::int64_t extents[3];
};

template <class Numbers>
void Print(const char* name, const Numbers& numbers) {
  std::printf("%-6s", name);
  for (float number : numbers) std::printf(" %8.4f", static_cast<double>(number));
  std::printf("\n");
}

}  // namespace

int main() {
  std::mt19937 generator(7);
  std::normal_distribution<float> normal;

  const leakyrelu::LeakyReLU m(0.1);

  std::vector<float> input(2);
  for (float& x : input) x = normal(generator);
  const auto output = m(input);
  std::printf("LeakyReLU(0.1) on 2 numbers\n");
  Print("input", input);
  Print("output", output);

  std::vector<float> cube(2 * 3 * 4);
  for (float& x : cube) x = normal(generator);
  const Array3 x{cube.data(), {2, 3, 4}};
  std::vector<float> y_numbers(cube.size());
  const Array3 y{y_numbers.data(), {2, 3, 4}};
  std::vector<std::uint8_t> mask(leakyrelu::mask_bytes(cube.size()));
  leakyrelu::forward(x, y, mask, m.negative_slope);

  std::vector<float> gradient(cube.size(), 1.0f);
  leakyrelu::backward(gradient, mask, gradient, m.negative_slope);

  std::printf(
      "\nLeakyReLU(0.1) on a 2 x 3 x 4 array, kept for the gradient: %zu bytes of mask instead of %zu of input\n",
      mask.size(), cube.size() * sizeof(float));
  for (std::size_t row = 0; row < 6; ++row) {
    const auto part = [row](std::vector<float>& all) { return std::span(all).subspan(row * 4, 4); };
    std::printf("[%zu][%zu]\n", row / 3, row % 3);
    Print("x", part(cube));
    Print("y", part(y_numbers));
    Print("dy/dx", part(gradient));
  }
}
