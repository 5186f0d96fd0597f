// leakyrelu._core: hands NumPy arrays to the C functions, and other libraries' arrays to NumPy and back by DLPack.
//
// No arithmetic and no stride logic. leakyrelu/_array.py is the only caller and says what is wrong with one array (kind,
// dtype, read-only); what is wrong between two of them, or with memory, the C functions say.

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <memory>
#include <string>
#include <vector>

#include "dtypes.h"
#include "kernels.h"
#include "leakyrelu/leakyrelu.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace leakyrelu {
namespace {

using Input = nb::ndarray<nb::ro, nb::device::cpu>;
using Output = nb::ndarray<nb::device::cpu>;
using InputMask = nb::ndarray<const uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using OutputMask = nb::ndarray<uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

// The dtype is told apart from the array: NumPy knows no bfloat16, such an array comes as uint16.
template <class Array>
leakyrelu_array View(const Array& array, int32_t dtype) {
  return {const_cast<void*>(static_cast<const void*>(array.data())), static_cast<leakyrelu_dtype>(dtype),
          static_cast<int32_t>(array.ndim()), array.shape_ptr(), array.stride_ptr()};
}

void Check(leakyrelu_status status) {
  if (status != LEAKYRELU_OK) throw nb::value_error(leakyrelu_status_message(status));
}

// y, mask: None for none.
void Forward(const Input& x, const Output& y, double negative_slope, const OutputMask& mask, int32_t dtype) {
  const leakyrelu_array x_view = View(x, dtype);
  const leakyrelu_array y_view = y.is_valid() ? View(y, dtype) : leakyrelu_array{};
  uint8_t* bits = mask.is_valid() ? mask.data() : nullptr;
  Check([&] {
    nb::gil_scoped_release release;
    return leakyrelu_forward(&x_view, y.is_valid() ? &y_view : nullptr, negative_slope, bits, nullptr);
  }());
}

void Backward(const Input& grad, const InputMask& mask, const Output& out, double negative_slope, int32_t dtype) {
  const leakyrelu_array grad_view = View(grad, dtype);
  const leakyrelu_array out_view = View(out, dtype);
  Check([&] {
    nb::gil_scoped_release release;
    return leakyrelu_backward(&grad_view, mask.data(), &out_view, negative_slope, nullptr);
  }());
}

constexpr nb::dlpack::dtype kBFloat16 = {static_cast<uint8_t>(nb::dlpack::dtype_code::Bfloat), 16, 1};

// A NumPy array over the memory of an object that speaks DLPack, bfloat16 as uint16, and whether it was bfloat16.
template <class Array, class NumpyArray>
nb::tuple FromDlpack(const Array& source) {
  const bool is_bfloat16 = source.dtype() == kBFloat16;
  const std::vector<size_t> shape(source.shape_ptr(), source.shape_ptr() + source.ndim());
  auto keep = std::make_unique<Array>(source);  // the exporter's memory lives as long as this
  auto* data = source.data();
  const nb::capsule owner(keep.release(), [](void* array) noexcept { delete static_cast<Array*>(array); });
  const NumpyArray view(data, source.ndim(), shape.data(), owner, source.stride_ptr(),
                        is_bfloat16 ? nb::dtype<uint16_t>() : source.dtype());
  return nb::make_tuple(nb::cast(view), is_bfloat16);
}

// An object that exports the memory of a uint16 array as bfloat16 by DLPack.
nb::ndarray<nb::array_api> BFloat16ToDlpack(const nb::ndarray<uint16_t, nb::device::cpu>& array, nb::handle owner) {
  const std::vector<size_t> shape(array.shape_ptr(), array.shape_ptr() + array.ndim());
  return {array.data(), array.ndim(), shape.data(), owner, array.stride_ptr(), kBFloat16};
}

nb::dict DTypes() {
  nb::dict codes;
  for (const DTypeInfo& info : kDTypes) codes[info.name] = static_cast<int32_t>(info.dtype);
  return codes;
}

// (compiled in, supported here, chosen): names of instruction sets, best first.
nb::tuple Targets() {
  std::vector<std::string> supported;
  for (const Kernels* kernels : SupportedKernels()) supported.emplace_back(kernels->target);
  return nb::make_tuple(CompiledTargets(), supported, std::string(ActiveKernels().target));
}

NB_MODULE(_core, module) {
  module.attr("__version__") = LEAKYRELU_VERSION;
  module.attr("DTYPES") = DTypes();
  module.def("forward", &Forward, "x"_a.noconvert(), "y"_a.noconvert().none(), "negative_slope"_a,
             "mask"_a.noconvert().none(), "dtype"_a);
  module.def("backward", &Backward, "grad"_a.noconvert(), "mask"_a.noconvert(), "out"_a.noconvert(),
             "negative_slope"_a, "dtype"_a);
  module.def("readable_from_dlpack", &FromDlpack<Input, nb::ndarray<nb::ro, nb::numpy>>, "source"_a.noconvert());
  module.def("writable_from_dlpack", &FromDlpack<Output, nb::ndarray<nb::numpy>>, "source"_a.noconvert());
  module.def("bfloat16_to_dlpack", &BFloat16ToDlpack, "array"_a.noconvert(), "owner"_a);
  module.def("targets", &Targets);
  module.def("get_num_threads", &leakyrelu_get_num_threads);
  module.def("set_num_threads", [](int32_t num_threads) { Check(leakyrelu_set_num_threads(num_threads)); });
}

}  // namespace
}  // namespace leakyrelu
