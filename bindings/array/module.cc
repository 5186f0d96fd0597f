// leakyrelu._core: hands NumPy arrays to the C functions, and other libraries' arrays to NumPy and back by DLPack.
//
// No arithmetic and no stride logic. leakyrelu/_array.py is the only caller and says what is wrong with one array
// (kind, dtype, read-only); what is wrong between two of them, or with memory, the C functions say.

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <string>
#include <vector>

#include "cuda.h"
#include "dtypes.h"
#include "gil.h"
#include "kernels.h"
#include "leakyrelu/leakyrelu.hpp"
#include "memory.h"
#include "numpy_memory.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace leakyrelu {
namespace {

// A NumPy array's memory, held by the buffer protocol (which hands over any dtype as long as nobody asks for its name).
class Buffer {
 public:
  Buffer(nb::handle array, int flags) {
    if (array.is_none()) return;
    if (PyObject_GetBuffer(array.ptr(), &buffer_, flags | PyBUF_STRIDES) != 0) throw nb::python_error();
    for (int i = 0; i < buffer_.ndim; ++i) {
      if (buffer_.strides[i] % buffer_.itemsize != 0) {
        PyBuffer_Release(&buffer_);
        throw nb::value_error(
            "an array's strides are not multiples of its element size (a field of a packed structure?); copy it with "
            "numpy.ascontiguousarray");
      }
      strides_[i] = buffer_.strides[i] / buffer_.itemsize;
    }
  }
  ~Buffer() { PyBuffer_Release(&buffer_); }  // does nothing for None
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  uint8_t* bytes() const { return static_cast<uint8_t*>(buffer_.buf); }
  size_t byte_count() const { return static_cast<size_t>(buffer_.len); }

  leakyrelu_array View(int32_t dtype) const {
    static_assert(sizeof(Py_ssize_t) == sizeof(int64_t));
    return {buffer_.buf, static_cast<leakyrelu_dtype>(dtype), buffer_.ndim,
            reinterpret_cast<const int64_t*>(buffer_.shape), strides_};
  }

 private:
  Py_buffer buffer_ = {};
  int64_t strides_[PyBUF_MAX_NDIM];
};

void Check(leakyrelu_status status, const leakyrelu_array& in, const Buffer& mask) {
  if (status != LEAKYRELU_OK) throw nb::value_error(detail::message(status, in, mask.byte_count()).c_str());
}

// y, mask: None for none.
void Forward(nb::handle x, nb::handle y, double negative_slope, nb::handle mask, int32_t dtype) {
  const Buffer x_buffer(x, PyBUF_SIMPLE);
  const Buffer y_buffer(y, PyBUF_WRITABLE);
  const Buffer mask_buffer(mask, PyBUF_WRITABLE);
  const leakyrelu_array x_view = x_buffer.View(dtype);
  const leakyrelu_array y_view = y_buffer.View(dtype);
  const leakyrelu_status status = [&] {
    const WithoutGil release;
    return leakyrelu_forward(&x_view, y.is_none() ? nullptr : &y_view, negative_slope, mask_buffer.bytes(),
                             mask_buffer.byte_count(), nullptr);
  }();
  Check(status, x_view, mask_buffer);
}

void Backward(nb::handle grad, nb::handle mask, nb::handle out, double negative_slope, int32_t dtype) {
  const Buffer grad_buffer(grad, PyBUF_SIMPLE);
  const Buffer mask_buffer(mask, PyBUF_SIMPLE);
  const Buffer out_buffer(out, PyBUF_WRITABLE);
  const leakyrelu_array grad_view = grad_buffer.View(dtype);
  const leakyrelu_array out_view = out_buffer.View(dtype);
  const leakyrelu_status status = [&] {
    const WithoutGil release;
    return leakyrelu_backward(&grad_view, mask_buffer.bytes(), mask_buffer.byte_count(), &out_view, negative_slope,
                              nullptr);
  }();
  Check(status, grad_view, mask_buffer);
}

constexpr nb::dlpack::dtype kBFloat16 = {static_cast<uint8_t>(nb::dlpack::dtype_code::Bfloat), 16, 1};

// A NumPy array over the memory of an object that speaks DLPack, bfloat16 as uint16, and whether it was bfloat16.
template <class Array, class NumpyArray>
nb::tuple FromDlpack(const Array& source) {
  const bool is_bfloat16 = source.dtype() == kBFloat16;
  const std::vector<size_t> shape(source.shape_ptr(), source.shape_ptr() + source.ndim());
  // The exporter's memory lives as long as this copy of the handle.
  const nb::capsule owner(new Array(source), [](void* array) noexcept { delete static_cast<Array*>(array); });
  const NumpyArray view(source.data(), source.ndim(), shape.data(), owner, source.stride_ptr(),
                        is_bfloat16 ? nb::dtype<uint16_t>() : source.dtype());
  return nb::make_tuple(nb::cast(view), is_bfloat16);
}

// Only DLPack 1.0 can say that memory may be written to; an exporter that speaks less is read-only, as it is for NumPy.
nb::tuple WritableFromDlpack(nb::handle source) {
  const nb::object capsule = source.attr("__dlpack__")("max_version"_a = nb::make_tuple(1, 0));
  if (!PyCapsule_IsValid(capsule.ptr(), "dltensor_versioned")) throw nb::type_error("not DLPack 1.0");
  return FromDlpack<nb::ndarray<nb::device::cpu>, nb::ndarray<nb::numpy>>(
      nb::cast<nb::ndarray<nb::device::cpu>>(capsule));
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
  module.def("forward", &Forward, "x"_a, "y"_a.none(), "negative_slope"_a, "mask"_a.none(), "dtype"_a);
  module.def("backward", &Backward, "grad"_a, "mask"_a, "out"_a, "negative_slope"_a, "dtype"_a);
  module.def("readable_from_dlpack", &FromDlpack<nb::ndarray<nb::ro, nb::device::cpu>, nb::ndarray<nb::ro, nb::numpy>>,
             "source"_a.noconvert());
  module.def("writable_from_dlpack", &WritableFromDlpack, "source"_a);
  module.def("bfloat16_to_dlpack", &BFloat16ToDlpack, "array"_a.noconvert(), "owner"_a);
  module.def("targets", &Targets);
  module.def("ignored_target", &IgnoredTargetName);
  module.def("set_large_bytes", &SetLargeBytes);
  module.def("with_library_memory", &WithLibraryMemory, "make"_a);
  module.def("empty_cache", &leakyrelu_empty_cache, nb::call_guard<WithoutGil>());
  module.def("set_cache_limit", &leakyrelu_set_cache_limit, nb::call_guard<WithoutGil>());
  module.def("memory_stats", &MemoryStats);
  module.def("mask_bytes", &leakyrelu_mask_bytes, "elements"_a);
  module.def("get_num_threads", &leakyrelu_get_num_threads);
  module.def("set_num_threads", [](int32_t num_threads) {
    const leakyrelu_status status = leakyrelu_set_num_threads(num_threads);
    if (status != LEAKYRELU_OK) throw nb::value_error(leakyrelu_status_message(status));
  });
#ifdef LEAKYRELU_CUDA
  BindCuda(module);
#endif
}

}  // namespace
}  // namespace leakyrelu
