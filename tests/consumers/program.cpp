// A user's C++ program: the module, the functions with a mask, large enough for threads, and an error.

#include <cstdint>
#include <cstdio>
#include <leakyrelu/leakyrelu.hpp>
#include <stdexcept>
#include <vector>

int main() {
  const std::vector<float> x(1 << 20, -2.0f);
  const leakyrelu::LeakyReLU m(0.5);
  const auto y = m(x);
  if (y.size() != x.size() || y[0] != -1.0f || y[x.size() - 1] != -1.0f) return 1;

  std::vector<float> dx(x.size());
  std::vector<std::uint8_t> mask(leakyrelu::mask_bytes(x.size()));
  leakyrelu::forward(x, dx, mask, 0.5);
  leakyrelu::backward(x, mask, dx, 0.5);
  if (dx != std::vector<float>(x.size(), -1.0f)) return 2;

  try {
    m(x, std::vector<float>(1));
    return 3;
  } catch (const std::invalid_argument&) {
  }
  std::puts("C++ works");
}
