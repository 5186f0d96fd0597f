// leakyrelu._core: the functions on arrays, from the arguments to the result, and the library's state.
//
// leakyrelu/_array.py has their signatures and says what they do; array.h knows whose array is where. What is wrong
// between two arrays' memory, the C functions say.

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include "array.h"
#include "dtypes.h"
#include "gil.h"
#include "kernels.h"
#include "leakyrelu/leakyrelu.hpp"
#include "memory.h"
#include "on_cuda.h"
#include "python.h"

namespace nb = nanobind;

namespace leakyrelu::arrays {
namespace {

[[noreturn]] void RefuseSlope(nb::handle value) {
  Raise(PyExc_TypeError, "negative_slope must be a number, not %U", TypeName(value).ptr());
}

double ToSlope(nb::handle value) {
  if (PyFloat_CheckExact(value.ptr())) return PyFloat_AsDouble(value.ptr());
  if (PyBool_Check(value.ptr()) || IsNumpyBool(value)) {  // nearly always inplace=True in the wrong place
    const nb::object text = Text(value);
    Raise(PyExc_TypeError, "negative_slope must be a number, not %U; did you mean inplace=%U?", text.ptr(), text.ptr());
  }
  if (IsNumpyComplex(value)) RefuseSlope(value);  // NumPy would drop the imaginary part
  try {
    return Number([&] { return PyFloat_AsDouble(value.ptr()); });
  } catch (const nb::python_error& error) {
    if (error.matches(PyExc_OverflowError)) {
      Raise(PyExc_ValueError,
            "negative_slope is too large for float64; it must be at most 1.7976931348623157e308 in magnitude");
    }
    if (!error.matches(PyExc_TypeError) && !error.matches(PyExc_ValueError)) throw;
    RefuseSlope(value);
  }
}

// A tensor of PyTorch's has autograd to it, and is leakyrelu.torch's.
bool IsTensor(nb::handle x) { return !IsNumpy(x) && IsInstanceOf(x, "torch", "Tensor"); }

void RequireSame(nb::handle out, nb::handle x, const char* attribute, PyObject* error) {
  const nb::object out_has = GetAttribute(out, attribute);
  const nb::object x_has = GetAttribute(x, attribute);
  if (Number([&] { return PyObject_RichCompareBool(out_has.ptr(), x_has.ptr(), Py_EQ); }) != 0) return;
  Raise(error, "out has %s %U, the input has %U; they must be the same", attribute, Text(out_has).ptr(),
        Text(x_has).ptr());
}

nb::object OnTensor(nb::handle x, nb::handle out, const char* function, const nb::tuple& arguments) {
  if (!out.is_none()) {
    if (!IsTensor(out)) Raise(PyExc_TypeError, "out must be a tensor, as the input is, not %U", TypeName(out).ptr());
    RequireSame(out, x, "dtype", PyExc_TypeError);
    RequireSame(out, x, "shape", PyExc_ValueError);
  }
  return Call(GetAttribute(Import("leakyrelu.torch"), function), arguments);
}

nb::object Into(nb::handle out, const nb::object& tensor) {
  return out.is_none() ? tensor : Call(GetAttribute(out, "copy_"), nb::make_tuple(tensor));
}

// Calls function(), which returns a status, for an input and a mask of so many bytes. Letting the GIL go takes as long
// as some thousands of elements, so calls with fewer keep it.
template <class Function>
void Compute(const Place& place, Array* input, size_t mask_bytes, Function function) {
  constexpr int64_t kFew = 4096;
  std::optional<WithoutGil> release;
  if (place.is_cuda() || input->elements() > kFew) release.emplace();
  const leakyrelu_status status = function();
  release.reset();
  if (status == LEAKYRELU_OK) return;
  if constexpr (kHasCuda) {
    if (status == LEAKYRELU_ERROR_CUDA) ThrowCudaError();
  }
  throw nb::value_error(detail::message(status, input->View(), mask_bytes).c_str());
}

// y, and the mask or None.
std::pair<nb::object, nb::object> Forward(nb::handle x, nb::handle negative_slope, nb::handle out, const char* out_name,
                                          bool keep_mask) {
  const double slope = ToSlope(negative_slope);
  const Place place(x, "x", {out});
  Array input(x, "x", place, false);
  input.RequireInput();
  Array output = Array::Output(out, out_name, place, input);
  std::optional<Array> mask;
  const size_t mask_bytes = keep_mask ? leakyrelu_mask_bytes(input.elements()) : 0;
  if (keep_mask) mask.emplace(mask_bytes, place);
  const leakyrelu_array in = input.View();
  const leakyrelu_array y = output.View();
  uint8_t* const bits = keep_mask ? mask->bytes() : nullptr;
  Compute(place, &input, mask_bytes, [&] {
    if constexpr (kHasCuda) {
      if (place.is_cuda()) return CudaForward(in, y, slope, bits, mask_bytes, place);
    }
    return leakyrelu_forward(&in, &y, slope, bits, mask_bytes, nullptr);
  });
  return {out.is_none() ? output.Made(place) : nb::borrow(out), keep_mask ? mask->Made(place) : nb::none()};
}

nb::object LeakyReLU(nb::handle x, nb::handle negative_slope, nb::handle inplace, nb::handle out) {
  const bool is_inplace = IsTrue(inplace);
  if (is_inplace && !out.is_none()) throw nb::value_error("inplace=True and out are both given; give one of them");
  if (IsTensor(x)) return Into(out, OnTensor(x, out, "leaky_relu", nb::make_tuple(x, negative_slope, is_inplace)));
  return is_inplace ? Forward(x, negative_slope, x, "x", false).first
                    : Forward(x, negative_slope, out, "out", false).first;
}

nb::object LeakyReLUWithMask(nb::handle x, nb::handle negative_slope, nb::handle out) {
  if (IsTensor(x)) {
    const nb::object both = OnTensor(x, out, "leaky_relu_with_mask", nb::make_tuple(x, negative_slope));
    return nb::make_tuple(Into(out, both[0]), both[1]);
  }
  const auto [y, mask] = Forward(x, negative_slope, out, "out", true);
  return nb::make_tuple(y, mask);
}

nb::object LeakyReLUBackward(nb::handle grad, nb::handle mask, nb::handle negative_slope, nb::handle out) {
  if (IsTensor(grad)) {
    return Into(out, OnTensor(grad, out, "leaky_relu_backward", nb::make_tuple(grad, mask, negative_slope)));
  }
  const double slope = ToSlope(negative_slope);
  const Place place(grad, "grad", {mask, out});
  Array input(grad, "grad", place, false);
  input.RequireInput();
  Array bits(mask, "mask", place, false);
  Array output = Array::Output(out, "out", place, input);
  const leakyrelu_array in = input.View();
  const leakyrelu_array dx = output.View();
  bits.View();
  bits.RequireMask();  // not before: opening the output may run code that changes the mask
  const auto mask_bytes = static_cast<size_t>(bits.elements());
  Compute(place, &input, mask_bytes, [&] {
    if constexpr (kHasCuda) {
      if (place.is_cuda()) return CudaBackward(in, bits.bytes(), mask_bytes, dx, slope, place);
    }
    return leakyrelu_backward(&in, bits.bytes(), mask_bytes, &dx, slope, nullptr);
  });
  return out.is_none() ? output.Made(place) : nb::borrow(out);
}

nb::dict DTypes() {
  nb::dict codes;
  for (const DTypeInfo& info : kDTypes) codes[info.name] = static_cast<int32_t>(info.dtype);
  return codes;
}

// (compiled in, supported here, chosen): names of instruction sets, best first.
nb::tuple Targets() {
  nb::list compiled;
  for (const char* name : CompiledTargets()) compiled.append(name);
  nb::list supported;
  for (const Kernels* kernels : SupportedKernels()) supported.append(kernels->target);
  return nb::make_tuple(compiled, supported, ActiveKernels().target);
}

// As Python sees environment variables, whatever bytes they hold; None where there is none to ignore.
nb::object IgnoredTargetName() {
  const char* const name = IgnoredTarget();
  return name != nullptr ? nb::steal(PyUnicode_DecodeFSDefault(name)) : nb::none();
}

nb::dict MemoryStats() {
  const leakyrelu_memory_stats stats = leakyrelu_get_memory_stats();
  nb::dict result;
  result["in_use"] = stats.in_use;
  result["cached"] = stats.cached;
  result["limit"] = stats.limit;
  result["large"] = stats.large;
  result["reused"] = stats.reused;
  result["fresh"] = stats.fresh;
  return result;
}

NB_MODULE(_core, module) {
  ImportNumpy();
  module.attr("__version__") = leakyrelu_version();
  module.attr("DTYPES") = DTypes();
  module.attr("SUPPORTED") = SupportedDTypes();
  module.attr("HAS_CUDA") = kHasCuda;
  // No names of arguments: leakyrelu/_array.py has them, and positions are looked at faster.
  const auto any = [] { return nb::arg().none(); };
  module.def("leaky_relu", &LeakyReLU, any(), any(), any(), any());
  module.def("leaky_relu_with_mask", &LeakyReLUWithMask, any(), any(), any());
  module.def("leaky_relu_backward", &LeakyReLUBackward, any(), any(), any(), any());
  module.def("to_slope", &ToSlope, any());
  module.def("targets", &Targets);
  module.def("ignored_target", &IgnoredTargetName);
  module.def("set_large_bytes", &SetLargeBytes);
  module.def("empty_cache", &leakyrelu_empty_cache, nb::call_guard<WithoutGil>());
  module.def("set_cache_limit", &leakyrelu_set_cache_limit, nb::call_guard<WithoutGil>());
  module.def("memory_stats", &MemoryStats);
#ifdef LEAKYRELU_CUDA
  module.def("cuda_devices", &CudaDevices);
#endif
  module.def("mask_bytes", &leakyrelu_mask_bytes);
  module.def("get_num_threads", &leakyrelu_get_num_threads);
  module.def("set_num_threads", [](int32_t num_threads) {
    const leakyrelu_status status = leakyrelu_set_num_threads(num_threads);
    if (status != LEAKYRELU_OK) throw nb::value_error(leakyrelu_status_message(status));
  });
}

}  // namespace
}  // namespace leakyrelu::arrays
