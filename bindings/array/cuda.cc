// Hands the memory of DLPack arrays on CUDA devices to the C functions, and fresh memory to other libraries.
//
// leakyrelu/_cuda.py is the only caller: it chooses the stream, and says what is wrong with one array. Whatever may
// wait for a device does so without the GIL, which what the device waits for may need.

#include "cuda.h"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "checked.h"
#include "cuda/device.h"
#include "dtypes.h"
#include "gil.h"
#include "leakyrelu/cuda.h"
#include "leakyrelu/leakyrelu.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace leakyrelu {
namespace {

using DType = nb::dlpack::dtype;
using Code = nb::dlpack::dtype_code;
constexpr DType kUInt8 = {static_cast<uint8_t>(Code::UInt), 8, 1};

// All that Python calls holds the GIL when these throw.
void Check(const cuda::Error& error) {
  if (error.message == nullptr) return;
  PyErr_Format(error.is_out_of_memory ? PyExc_MemoryError : PyExc_RuntimeError, "CUDA: %s", error.message);
  throw nb::python_error();
}

void Check(leakyrelu_status status, const leakyrelu_array& in, size_t mask_bytes) {
  if (status == LEAKYRELU_ERROR_CUDA) Check(cuda::Error{leakyrelu_cuda_error_message()});
  if (status != LEAKYRELU_OK) throw nb::value_error(detail::message(status, in, mask_bytes).c_str());
}

class CudaArray {
 public:
  // A view of what a DLPack capsule holds, which stays alive with it.
  static CudaArray FromDlpack(nb::handle capsule) {
    const bool can_tell = PyCapsule_IsValid(capsule.ptr(), "dltensor_versioned") != 0;
    nb::ndarray<> writable;  // is left alone where it may only be read
    if (nb::try_cast(capsule, writable)) return CudaArray(std::move(writable), can_tell);
    return CudaArray(nb::cast<nb::ndarray<nb::ro>>(capsule), false);
  }

  // Fresh memory on the device of `like`, in its dtype and shape; in its strides, or in C order.
  static CudaArray EmptyLike(const CudaArray& like, bool same_strides) {
    CudaArray array = Empty(like, like.dtype_, like.shape_);
    if (same_strides) array.strides_ = like.strides_;
    return array;
  }

  // Fresh memory on the device of `like` for so many bytes of uint8.
  static CudaArray EmptyBytes(const CudaArray& like, int64_t bytes) { return Empty(like, kUInt8, {bytes}); }

  // An object that speaks DLPack, for other libraries to take. What is in the memory must be complete by then.
  nb::ndarray<nb::array_api> Exported() const {
    const std::vector<size_t> shape(shape_.begin(), shape_.end());
    const nb::capsule owner(new std::shared_ptr<void>(memory_),
                            [](void* memory) noexcept { delete static_cast<std::shared_ptr<void>*>(memory); });
    return {data_, shape.size(), shape.data(), owner, strides_.data(), dtype_, device_type_, device_};
  }

  leakyrelu_array View() const {
    return {data_, DTypeCode(), static_cast<int32_t>(shape_.size()), shape_.data(), strides_.data()};
  }

  uint8_t* bytes() const { return static_cast<uint8_t*>(data_); }
  // Of an array of uint8 with one dim.
  size_t byte_count() const { return static_cast<size_t>(shape_[0]); }
  int device() const { return device_; }
  nb::tuple DlpackDevice() const { return nb::make_tuple(device_type_, device_); }
  bool writable() const { return writable_; }
  nb::tuple shape() const { return nb::tuple(nb::cast(shape_)); }
  int itemsize() const { return dtype_.bits / 8; }

  nb::tuple StridesInBytes() const {
    std::vector<int64_t> strides = strides_;
    for (int64_t& stride : strides) stride *= itemsize();
    return nb::tuple(nb::cast(strides));
  }

  std::string DTypeName() const {
    const char* const kNames[] = {"int", "uint", "float", "opaque", "bfloat", "complex", "bool"};
    if (dtype_.code >= std::size(kNames) || dtype_.lanes != 1) return "unknown to leakyrelu";
    if (dtype_.code == static_cast<uint8_t>(Code::Bool)) return "bool";
    return kNames[dtype_.code] + std::to_string(dtype_.bits);
  }

 private:
  CudaArray() = default;

  template <class Array>
  CudaArray(Array array, bool writable)
      : data_(const_cast<void*>(static_cast<const void*>(array.data()))),
        dtype_(array.dtype()),
        device_type_(array.device_type()),
        device_(array.device_id()),
        shape_(array.shape_ptr(), array.shape_ptr() + array.ndim()),
        strides_(array.stride_ptr(), array.stride_ptr() + array.ndim()),
        writable_(writable),
        memory_(std::make_shared<Array>(std::move(array))) {}

  // In C order.
  static CudaArray Empty(const CudaArray& like, DType dtype, std::vector<int64_t> shape) {
    CudaArray array;
    array.dtype_ = dtype;
    array.device_type_ = nb::device::cuda::value;
    array.device_ = like.device_;
    array.shape_ = std::move(shape);
    array.strides_.resize(array.shape_.size());
    int64_t bytes = array.itemsize();
    bool fits = true;
    for (size_t dim = array.shape_.size(); dim-- > 0;) {
      array.strides_[dim] = bytes / array.itemsize();
      fits = fits && Multiply(bytes, array.shape_[dim], &bytes);
    }
    Check(fits ? Allocate(&array, static_cast<size_t>(bytes)) : cuda::Error{"more bytes than there can be", true});
    array.writable_ = true;
    // What drops an array is Python, hence with the GIL.
    array.memory_ = std::shared_ptr<void>(array.data_, [](void* data) {
      const WithoutGil release;
      cuda::Free(data);
    });
    return array;
  }

  static cuda::Error Allocate(CudaArray* array, size_t bytes) {
    const WithoutGil release;
    const cuda::DeviceScope scope(array->device_);
    return scope.error().message != nullptr ? scope.error() : cuda::Allocate(bytes, &array->data_);
  }

  // None of the four (0) for any other; _cuda.py has seen to that.
  leakyrelu_dtype DTypeCode() const {
    const std::string name = DTypeName();
    const auto* const info = std::ranges::find(kDTypes, name, &DTypeInfo::name);
    return info != std::end(kDTypes) ? info->dtype : leakyrelu_dtype{};
  }

  void* data_ = nullptr;
  DType dtype_ = {};
  int device_type_ = 0;  // DLPack's
  int device_ = 0;
  std::vector<int64_t> shape_;
  std::vector<int64_t> strides_;  // in elements
  bool writable_ = false;         // and known to be
  std::shared_ptr<void> memory_;
};

// Calls launch(in, out, stream), which returns a status, with the device current; then waits, if asked to, for all that
// is enqueued on the stream. `mask_bytes` is the mask's length.
template <class Launch>
void OnDevice(const CudaArray& input, const CudaArray& output, size_t mask_bytes, uintptr_t stream_handle, bool wait,
              Launch launch) {
  // NOLINTNEXTLINE(performance-no-int-to-ptr): Python has handles as numbers
  const auto stream = reinterpret_cast<cudaStream_t>(stream_handle);
  const leakyrelu_array in = input.View();
  const leakyrelu_array out = output.View();
  leakyrelu_status status = LEAKYRELU_OK;
  cuda::Error error;
  {
    const WithoutGil release;
    const cuda::DeviceScope scope(input.device());
    error = scope.error();
    if (error.message == nullptr) {
      status = launch(&in, &out, stream);
      if (status == LEAKYRELU_OK && wait) error = cuda::Synchronize(stream);
    }
  }
  Check(error);
  Check(status, in, mask_bytes);
}

// All on one device; y may be x.
void Forward(const CudaArray& x, const CudaArray& y, double negative_slope, const CudaArray* mask, uintptr_t stream,
             bool wait) {
  uint8_t* bits = mask != nullptr ? mask->bytes() : nullptr;
  const size_t mask_bytes = mask != nullptr ? mask->byte_count() : 0;
  OnDevice(x, y, mask_bytes, stream, wait, [=](const auto* in, const auto* out, cudaStream_t cuda_stream) {
    return leakyrelu_cuda_forward(in, out, negative_slope, bits, mask_bytes, cuda_stream);
  });
}

void Backward(const CudaArray& grad, const CudaArray& mask, const CudaArray& out, double negative_slope,
              uintptr_t stream, bool wait) {
  const uint8_t* bits = mask.bytes();
  const size_t mask_bytes = mask.byte_count();
  OnDevice(grad, out, mask_bytes, stream, wait, [=](const auto* in, const auto* result, cudaStream_t cuda_stream) {
    return leakyrelu_cuda_backward(in, bits, mask_bytes, result, negative_slope, cuda_stream);
  });
}

}  // namespace

void BindCuda(nb::module_& module) {
  nb::class_<CudaArray>(module, "CudaArray")
      .def_static("from_dlpack", &CudaArray::FromDlpack, "capsule"_a)
      .def_static("empty_like", &CudaArray::EmptyLike, "like"_a, "same_strides"_a)
      .def_static("empty_bytes", &CudaArray::EmptyBytes, "like"_a, "bytes"_a)
      .def("exported", &CudaArray::Exported)
      .def_prop_ro("device", &CudaArray::DlpackDevice)
      .def_prop_ro("shape", &CudaArray::shape)
      .def_prop_ro("strides", &CudaArray::StridesInBytes)
      .def_prop_ro("itemsize", &CudaArray::itemsize)
      .def_prop_ro("writable", &CudaArray::writable)
      .def_prop_ro("dtype", &CudaArray::DTypeName);
  module.def("cuda_forward", &Forward, "x"_a, "y"_a, "negative_slope"_a, "mask"_a.none(), "stream"_a, "wait"_a);
  module.def("cuda_backward", &Backward, "grad"_a, "mask"_a, "out"_a, "negative_slope"_a, "stream"_a, "wait"_a);
}

}  // namespace leakyrelu
