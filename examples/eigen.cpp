// LeakyReLU on memory that others own: a std::span, and Eigen's maps and blocks, whatever their order and strides.

#include <Eigen/Core>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <span>
#include <type_traits>
#include <vector>

#include "leakyrelu/leakyrelu.hpp"

namespace {

// A Map, Ref or Block of Eigen with the five members of std::mdspan that the library asks for.
template <class M>
struct EigenView {
  using element_type = std::remove_pointer_t<decltype(std::declval<M&>().data())>;
  static constexpr std::size_t rank() { return 2; }
  std::int64_t extent(std::size_t i) const { return i == 0 ? matrix.rows() : matrix.cols(); }
  std::int64_t stride(std::size_t i) const { return i == 0 ? matrix.rowStride() : matrix.colStride(); }
  element_type* data_handle() const { return matrix.data(); }

  mutable M matrix;  // a view itself, so it is the elements that are const or not
};
template <class M>
EigenView(M) -> EigenView<M>;

}  // namespace

int main() {
  const double slope = 0.1;
  std::vector<float> numbers(6 * 8);
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<float>(i % 7) - 3.0f;
  using Matrix = Eigen::Matrix<float, 6, 8>;  // columns follow each other
  const Matrix before = Eigen::Map<Matrix>(numbers.data());
  const auto expected = (before.array() > 0.0f).select(before.array(), before.array() * 0.1f).eval();

  // A part of the matrix, in place; all else stays.
  Eigen::Map<Matrix> map(numbers.data());
  const EigenView block{map.block(1, 2, 3, 4)};
  leakyrelu::forward(block, block, {}, slope);
  Matrix after = before;
  after.block(1, 2, 3, 4) = expected.block(1, 2, 3, 4);
  const bool part = map == after;

  // The whole of it, with the mask, into memory in the other order; then the gradient.
  map = before;
  Eigen::Matrix<float, 6, 8, Eigen::RowMajor> result;
  std::vector<std::uint8_t> mask(leakyrelu::mask_bytes(numbers.size()));
  leakyrelu::forward(EigenView{map}, EigenView{Eigen::Map<decltype(result)>(result.data())}, mask, slope);
  const bool whole = (result.array() == expected).all();
  map.setOnes();
  leakyrelu::backward(EigenView{map}, mask, EigenView{map}, slope);
  const bool gradient = (map.array() == (before.array() > 0.0f).select(Matrix::Ones().array(), 0.1f)).all();

  // The first column as a span.
  map = before;
  const std::span<float> column(numbers.data(), 6);
  leakyrelu::forward(column, column, {}, slope);
  const bool span = (map.col(0).array() == expected.col(0)).all() && map.col(1) == before.col(1);

  std::printf("the same as Eigen: part %d, whole %d, gradient %d, span %d\n", part, whole, gradient, span);
  return part && whole && gradient && span ? 0 : 1;
}
