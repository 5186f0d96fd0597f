// leakyrelu.hpp - LeakyReLU for C++20: the functions of leakyrelu.h over ranges and multi-dimensional views.
//
//   leakyrelu::LeakyReLU m(0.1);
//   auto y = m(x);     // x: std::vector, std::span, ... or anything shaped like std::mdspan
//   m(x, y);           // into memory of your own; y may be x
//
//   std::vector<std::uint8_t> mask(leakyrelu::mask_bytes(x.size()));
//   leakyrelu::forward(x, y, mask, 0.1);     // keeps one bit per element ...
//   leakyrelu::backward(dy, mask, dx, 0.1);  // ... which is all that the gradient needs
//
// Errors are std::invalid_argument, thrown before anything is written, and std::bad_alloc. Semantics: see leakyrelu.h.
#ifndef LEAKYRELU_LEAKYRELU_HPP_
#define LEAKYRELU_LEAKYRELU_HPP_

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <new>
#include <ranges>
#include <span>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "leakyrelu/leakyrelu.h"

namespace leakyrelu {

// The bits of 16-bit numbers, for programs that have no type of their own for them.
struct float16 {
  std::uint16_t bits;
  friend bool operator==(float16, float16) = default;
};
struct bfloat16 {
  std::uint16_t bits;
  friend bool operator==(bfloat16, bfloat16) = default;
};

// The dtype of an element type. Specialise it for a type of your own that has the layout of one of the four.
template <class T>
inline constexpr int dtype_of = 0;
template <>
inline constexpr int dtype_of<float16> = LEAKYRELU_FLOAT16;
template <>
inline constexpr int dtype_of<bfloat16> = LEAKYRELU_BFLOAT16;
template <>
inline constexpr int dtype_of<float> = LEAKYRELU_FLOAT32;
template <>
inline constexpr int dtype_of<double> = LEAKYRELU_FLOAT64;
// The compiler's own, also std::float16_t where there is one. GCC before 13 has it in C++ on x86 alone, but the macro
// on ARM too.
#if defined(__FLT16_MAX__) && (defined(__clang__) || __GNUC__ >= 13 || defined(__SSE2__))
template <>
inline constexpr int dtype_of<_Float16> = LEAKYRELU_FLOAT16;
#endif
#ifdef __ARM_FP16_FORMAT_IEEE  // arm_neon.h's float16_t
template <>
inline constexpr int dtype_of<__fp16> = LEAKYRELU_FLOAT16;
#endif

template <class T>
concept Element = dtype_of<std::remove_cv_t<T>> != 0;

// std::vector, std::array, std::span, ... of elements: an array of one dimension.
template <class R>
concept ContiguousRange = std::ranges::contiguous_range<R> && std::ranges::sized_range<R> &&
                          Element<std::remove_reference_t<std::ranges::range_reference_t<R>>>;

// std::mdspan and what has its observers (Kokkos::mdspan, ...): rank() constant, strides in elements.
template <class M>
concept MdspanLike = Element<typename std::remove_cvref_t<M>::element_type> && requires(const M& m) {
  { std::integral_constant<std::size_t, std::remove_cvref_t<M>::rank()>::value };
  { m.extent(0) } -> std::convertible_to<std::int64_t>;
  { m.stride(0) } -> std::convertible_to<std::int64_t>;
  { m.data_handle() } -> std::convertible_to<const void*>;
};

template <class V>
concept View = ContiguousRange<V> || MdspanLike<V>;

namespace detail {

template <class V>
struct view_traits;
template <ContiguousRange V>
struct view_traits<V> {
  using element = std::remove_reference_t<std::ranges::range_reference_t<V>>;
  static constexpr std::size_t rank = 1;
};
template <class V>
  requires(MdspanLike<V> && !ContiguousRange<V>)
struct view_traits<V> {
  using element = typename std::remove_cvref_t<V>::element_type;
  static constexpr std::size_t rank = std::remove_cvref_t<V>::rank();
};

template <class V>
using element_t = typename view_traits<V>::element;
template <class V>
using value_t = std::remove_cv_t<element_t<V>>;
template <class V>
inline constexpr std::size_t rank_v = view_traits<V>::rank;

}  // namespace detail

template <class V>
concept WritableView = View<V> && !std::is_const_v<detail::element_t<V>>;

namespace detail {

// What the C functions want to know of a view.
template <std::size_t Rank>
struct c_array {
  void* data;
  leakyrelu_dtype dtype;
  std::array<std::int64_t, Rank> shape;
  std::array<std::int64_t, Rank> strides;

  leakyrelu_array get() const { return {data, dtype, static_cast<std::int32_t>(Rank), shape.data(), strides.data()}; }
};

template <class T>
void* untyped(T* data) {
  return const_cast<void*>(static_cast<const volatile void*>(data));
}

template <View V>
c_array<rank_v<V>> to_c(V& view) {
  c_array<rank_v<V>> c{};
  c.dtype = static_cast<leakyrelu_dtype>(dtype_of<value_t<V>>);
  if constexpr (ContiguousRange<V>) {
    c.data = untyped(std::ranges::data(view));
    c.shape[0] = static_cast<std::int64_t>(std::ranges::size(view));
    c.strides[0] = 1;
  } else {
    c.data = untyped(view.data_handle());
    for (std::size_t i = 0; i < rank_v<V>; ++i) {
      c.shape[i] = static_cast<std::int64_t>(view.extent(i));
      c.strides[i] = static_cast<std::int64_t>(view.stride(i));
    }
  }
  return c;
}

// What is wrong with a call, of which `in` is the input: the status's message or, of the mask's length, the figures. A
// mask that is NULL is one that the caller has made empty.
inline std::string message(leakyrelu_status status, const leakyrelu_array& in, std::size_t mask_bytes) {
  if (status != LEAKYRELU_ERROR_MASK_BYTES && status != LEAKYRELU_ERROR_NULL_MASK) {
    return leakyrelu_status_message(status);
  }
  std::uint64_t elements = 1;  // fits: the shape has been checked before the mask's length
  for (std::int32_t i = 0; i < in.ndim; ++i) elements *= static_cast<std::uint64_t>(in.shape[i]);
  return "mask has " + std::to_string(mask_bytes) + " bytes; " + std::to_string(elements) + " elements need " +
         std::to_string(leakyrelu_mask_bytes(static_cast<std::int64_t>(elements)));
}

inline void check(leakyrelu_status status, const leakyrelu_array& in, std::size_t mask_bytes) {
  if (status == LEAKYRELU_OK) return;
  if (status == LEAKYRELU_ERROR_EXECUTOR_FAILED) throw std::runtime_error(leakyrelu_status_message(status));
  throw std::invalid_argument(message(status, in, mask_bytes));
}

}  // namespace detail

// ceil(elements / 8).
inline std::size_t mask_bytes(std::size_t elements) {
  return leakyrelu_mask_bytes(static_cast<std::int64_t>(elements));
}

// y = x > 0 ? x : x * negative_slope and, unless `mask` is empty, bit i of `mask` = x_i > 0. y may be x.
template <View X, WritableView Y>
void forward(const X& x, Y&& y, std::span<std::uint8_t> mask, double negative_slope = 0.01,
             const leakyrelu_executor* executor = nullptr) {
  const auto in = detail::to_c(x);
  const auto out = detail::to_c(y);
  const leakyrelu_array c_in = in.get();
  const leakyrelu_array c_out = out.get();
  std::uint8_t* bits = mask.empty() ? nullptr : mask.data();
  detail::check(leakyrelu_forward(&c_in, &c_out, negative_slope, bits, mask.size(), executor), c_in, mask.size());
}

// The mask alone.
template <View X>
void forward(const X& x, std::nullptr_t, std::span<std::uint8_t> mask) {
  const auto in = detail::to_c(x);
  const leakyrelu_array c_in = in.get();
  std::uint8_t none = 0;
  std::uint8_t* bits = mask.empty() ? &none : mask.data();  // NULL would say that no mask is wanted
  detail::check(leakyrelu_forward(&c_in, nullptr, 0.0, bits, mask.size(), nullptr), c_in, mask.size());
}

// dx = x > 0 ? dy : dy * negative_slope, with x > 0 from the mask. dx may be dy.
template <View DY, WritableView DX>
void backward(const DY& dy, std::span<const std::uint8_t> mask, DX&& dx, double negative_slope = 0.01,
              const leakyrelu_executor* executor = nullptr) {
  const auto in = detail::to_c(dy);
  const auto out = detail::to_c(dx);
  const leakyrelu_array c_in = in.get();
  const leakyrelu_array c_out = out.get();
  detail::check(leakyrelu_backward(&c_in, mask.data(), mask.size(), &c_out, negative_slope, executor), c_in,
                mask.size());
}

// The bias of a fused call: any view of one dimension, whose elements must outlive the call; by default none.
class Bias {
 public:
  Bias() = default;
  template <View B>
    requires(detail::rank_v<B> == 1)
  Bias(const B& view) : array_(detail::to_c(view)), is_given_(true) {}  // NOLINT(misc-explicit-constructor)

  // Null if there is none.
  const leakyrelu_array* get(leakyrelu_array* array) const {
    *array = array_.get();
    return is_given_ ? array : nullptr;
  }

 private:
  detail::c_array<1> array_{};
  bool is_given_ = false;
};

// What the fused functions do beside LeakyReLU. As it is: nothing.
struct FusedOptions {
  // NOLINTNEXTLINE(readability-redundant-member-init): for initializers that leave it out
  Bias bias = {};
  std::int32_t dim = 1;  // of x, along which the bias runs
  double scale = 1.0;
  double clamp = std::numeric_limits<double>::infinity();
};

namespace detail {

// The C functions have one length for both masks.
inline void check_within(std::size_t within_bytes, std::size_t mask_bytes) {
  if (within_bytes == 0 || within_bytes == mask_bytes) return;
  throw std::invalid_argument("within has " + std::to_string(within_bytes) + " bytes; it must have as many as mask, " +
                              std::to_string(mask_bytes));
}

template <class Byte>
Byte* bits(std::span<Byte> mask) {
  return mask.empty() ? nullptr : mask.data();
}

}  // namespace detail

// t = x + bias; v = (t > 0 ? t : t * negative_slope) * scale; y = v between -clamp and clamp. Unless `mask` is empty,
// its bit i is t_i > 0, and with a clamp that of `within` is -clamp <= v_i <= clamp. y may be x.
template <View X, WritableView Y>
void fused_forward(const X& x, Y&& y, const FusedOptions& options, std::span<std::uint8_t> mask = {},
                   std::span<std::uint8_t> within = {}, double negative_slope = 0.01,
                   const leakyrelu_executor* executor = nullptr) {
  const auto in = detail::to_c(x);
  const auto out = detail::to_c(y);
  const leakyrelu_array c_in = in.get();
  const leakyrelu_array c_out = out.get();
  leakyrelu_array c_bias;
  const leakyrelu_fused fused = {options.bias.get(&c_bias), options.dim, options.scale, options.clamp};
  detail::check_within(within.size(), mask.size());
  detail::check(leakyrelu_fused_forward(&c_in, &c_out, &fused, negative_slope, detail::bits(mask), detail::bits(within),
                                        mask.size(), executor),
                c_in, mask.size());
}

// h = (within ? dy : 0) * scale; dx = t > 0 ? h : h * negative_slope, with both masks from fused_forward; `within` is
// empty without a clamp. dx may be dy. The bias of `options` is ignored: its gradient is a sum of dx.
template <View DY, WritableView DX>
void fused_backward(const DY& dy, std::span<const std::uint8_t> mask, std::span<const std::uint8_t> within, DX&& dx,
                    const FusedOptions& options, double negative_slope = 0.01,
                    const leakyrelu_executor* executor = nullptr) {
  const auto in = detail::to_c(dy);
  const auto out = detail::to_c(dx);
  const leakyrelu_array c_in = in.get();
  const leakyrelu_array c_out = out.get();
  const leakyrelu_fused fused = {nullptr, 0, options.scale, options.clamp};
  detail::check_within(within.size(), mask.size());
  detail::check(leakyrelu_fused_backward(&c_in, detail::bits(mask), detail::bits(within), mask.size(), &c_out, &fused,
                                         negative_slope, executor),
                c_in, mask.size());
}

// What m(x) returns for an mdspan: an array of its own in C order, or, in place, x again. Shaped like std::mdspan.
template <class T, std::size_t Rank>
class Array {
 public:
  using element_type = T;
  using value_type = T;

  // Fresh, its elements not yet written (std::vector would write each of them twice), by leakyrelu_alloc.
  explicit Array(const std::array<std::int64_t, Rank>& shape) : shape_(shape) {
    std::int64_t elements = 1;
    for (std::size_t i = Rank; i-- > 0;) {
      strides_[i] = elements;
      elements *= shape[i];
    }
    if (static_cast<std::size_t>(elements) > PTRDIFF_MAX / sizeof(T)) throw std::bad_alloc();
    owned_.reset(static_cast<T*>(leakyrelu_alloc(static_cast<std::size_t>(elements) * sizeof(T))));
    if (owned_ == nullptr) throw std::bad_alloc();
    data_ = owned_.get();
  }

  // The caller's memory.
  Array(T* data, const std::array<std::int64_t, Rank>& shape, const std::array<std::int64_t, Rank>& strides)
      : data_(data), shape_(shape), strides_(strides) {}

  static constexpr std::size_t rank() { return Rank; }
  std::int64_t extent(std::size_t i) const { return shape_[i]; }
  std::int64_t stride(std::size_t i) const { return strides_[i]; }
  T* data_handle() const { return data_; }

  template <std::convertible_to<std::int64_t>... Index>
    requires(sizeof...(Index) == Rank)
  T& operator()(Index... index) const {
    const std::array<std::int64_t, Rank> indices{static_cast<std::int64_t>(index)...};
    std::int64_t offset = 0;
    for (std::size_t i = 0; i < Rank; ++i) offset += indices[i] * strides_[i];
    return data_[offset];
  }

 private:
  struct Free {
    void operator()(T* memory) const { leakyrelu_free(memory); }
  };
  std::unique_ptr<T[], Free> owned_;  // null: the caller's memory
  T* data_;
  std::array<std::int64_t, Rank> shape_;
  std::array<std::int64_t, Rank> strides_;
};

// What m(x) returns for a range: the same with one dimension, and itself a contiguous range.
template <class T>
class Vector : public Array<T, 1> {
 public:
  using Array<T, 1>::Array;

  T* data() const { return this->data_handle(); }
  std::size_t size() const { return static_cast<std::size_t>(this->extent(0)); }
  T* begin() const { return data(); }
  T* end() const { return data() + size(); }
  T& operator[](std::size_t i) const { return data()[i]; }
  // NOLINTNEXTLINE(misc-explicit-constructor): std::vector<float> y = m(x) is what one writes
  operator std::vector<T>() const { return {begin(), end()}; }

  template <std::ranges::forward_range R>
  friend bool operator==(const Vector& a, const R& b) {
    return std::ranges::equal(a, b);
  }
};

// The module of the reference page: max(0, x) + negative_slope * min(0, x).
struct LeakyReLU {
  double negative_slope;
  bool inplace;  // m(x) writes over x

  explicit LeakyReLU(double negative_slope = 0.01, bool inplace = false)
      : negative_slope(negative_slope), inplace(inplace) {}
  // LeakyReLU(true) would be a slope of 1; what is meant is LeakyReLU(0.01, true).
  template <std::same_as<bool> B>
  explicit LeakyReLU(B, bool = false) = delete;

  // Into y, which may be x.
  template <View X, WritableView Y>
  void operator()(const X& x, Y&& y) const {
    forward(x, y, {}, negative_slope);
  }

  // A fresh array or, in place, x itself. A temporary that owns its elements is never done in place: it is gone when
  // the caller looks.
  template <class X>
    requires View<std::remove_cvref_t<X>>
  auto operator()(X&& x) const {
    using V = std::remove_reference_t<X>;
    using T = detail::value_t<V>;
    using Result = std::conditional_t<ContiguousRange<V>, Vector<T>, Array<T, detail::rank_v<V>>>;
    constexpr bool kOutlives = std::is_lvalue_reference_v<X> || std::ranges::borrowed_range<V> ||
                               (MdspanLike<V> && std::is_trivially_copyable_v<V>);
    const auto in = detail::to_c(x);
    if constexpr (!WritableView<V>) {
      if (inplace) throw std::invalid_argument("inplace is set, but x is const; pass a view of elements to write to");
    } else if constexpr (kOutlives) {
      if (inplace) {
        (*this)(x, x);
        return Result(static_cast<T*>(in.data), in.shape, in.strides);
      }
    }
    Result y(in.shape);
    (*this)(x, y);
    return y;
  }
};

}  // namespace leakyrelu

#endif  // LEAKYRELU_LEAKYRELU_HPP_
