#include "array.h"

#define NPY_NO_DEPRECATED_API NPY_1_22_API_VERSION
#define NPY_TARGET_VERSION NPY_1_22_API_VERSION
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <numpy/arrayobject.h>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "checked.h"
#include "dlpack.h"
#include "dtypes.h"
#include "gil.h"
#include "leakyrelu/leakyrelu.h"
#include "on_cuda.h"
#include "python.h"

namespace nb = nanobind;

namespace leakyrelu::arrays {
namespace {

using DType = nb::dlpack::dtype;
using Code = nb::dlpack::dtype_code;

constexpr DType kUInt8 = {static_cast<uint8_t>(Code::UInt), 8, 1};
constexpr char kReadOnly[] = "%s is read-only; it must be writable";

static_assert(sizeof(npy_intp) == sizeof(int64_t));

// NumPy's number for each dtype. -1 for one that a package adds to NumPy (ml_dtypes), until an array of it comes.
int numpy_types[kNumDTypes];

PyArrayObject* AsNumpy(nb::handle array) { return reinterpret_cast<PyArrayObject*>(array.ptr()); }
PyObject* AsPython(PyArray_Descr* descriptor) { return reinterpret_cast<PyObject*>(descriptor); }

DType ToDlpack(const DTypeInfo& info) {
  const Code code = info.name[0] == 'b' ? Code::Bfloat : Code::Float;
  return {static_cast<uint8_t>(code), static_cast<uint8_t>(8 * info.bytes), 1};
}

// Null for a dtype that is not supported.
const DTypeInfo* Find(DType dtype) {
  const auto* const info = std::ranges::find(kDTypes, dtype, ToDlpack);
  return info != std::end(kDTypes) ? info : nullptr;
}

DType ToDlpack(PyArray_Descr* descriptor) {
  const int type = descriptor->type_num;
  if (type == NPY_UINT8) return kUInt8;
  if (!PyArray_ISNBO(descriptor->byteorder)) return {};
  for (size_t i = 0; i < kNumDTypes; ++i) {
    if (numpy_types[i] == type && type >= 0) return ToDlpack(kDTypes[i]);
  }
  const nb::object name = Text(GetAttribute(AsPython(descriptor), "name"));
  for (size_t i = 0; i < kNumDTypes; ++i) {
    if (PyUnicode_CompareWithASCIIString(name.ptr(), kDTypes[i].name) != 0) continue;
    if (type >= NPY_USERDEF) numpy_types[i] = type;
    return ToDlpack(kDTypes[i]);
  }
  return {};
}

// A NumPy array over `data` that holds `base`, or over memory of its own. Takes the descriptor over. Strides are in
// bytes, null for C order.
nb::object NewNumpy(PyArray_Descr* descriptor, int ndim, const npy_intp* shape, const npy_intp* strides,
                    void* data = nullptr, nb::object base = {}) {
  nb::object array = New([&] {
    return PyArray_NewFromDescr(&PyArray_Type, descriptor, ndim, shape, strides, data,
                                data != nullptr ? NPY_ARRAY_CARRAY : 0, nullptr);
  });
  if (data != nullptr && PyArray_SetBaseObject(AsNumpy(array), base.release().ptr()) != 0) throw nb::python_error();
  return array;
}

// A capsule with the memory of an array of another library.
nb::object CapsuleOf(nb::handle x, const Place& place) {
  const nb::object options = New([] { return PyDict_New(); });
  if (place.is_cuda()) options["stream"] = place.stream();
  const nb::object method = GetAttribute(x, "__dlpack__");
  try {
    const nb::object with_version = New([&] { return PyDict_Copy(options.ptr()); });
    with_version["max_version"] = nb::make_tuple(1, 0);
    return Call(method, nb::tuple(), with_version);
  } catch (const nb::python_error& error) {
    if (!error.matches(PyExc_TypeError)) throw;  // else it does not know of versions
  }
  return Call(method, nb::tuple(), options);
}

// What ask() tells of an array's memory. Whatever goes wrong there, but for a lack of memory, becomes a TypeError that
// names the array.
template <class Ask>
auto Asked(const char* name, Ask ask) {
  try {
    return ask();
  } catch (nb::python_error& error) {
    if (!error.matches(PyExc_Exception) || error.matches(PyExc_MemoryError)) throw;
    const nb::object reason = Text(error.value());
    nb::raise_from(error, PyExc_TypeError, "%s does not give access to its memory by DLPack: %U", name, reason.ptr());
  }
}

}  // namespace

void ImportNumpy() {
  if (_import_array() < 0) throw nb::python_error();
  for (size_t i = 0; i < kNumDTypes; ++i) {
    PyArray_Descr* descriptor = nullptr;
    const nb::object name = ToText(kDTypes[i].name);
    numpy_types[i] = PyArray_DescrConverter(name.ptr(), &descriptor) != 0 ? descriptor->type_num : -1;
    PyErr_Clear();
    Py_XDECREF(AsPython(descriptor));
  }
}

bool IsNumpy(nb::handle object) { return PyArray_Check(object.ptr()) || PyArray_CheckScalar(object.ptr()); }
bool IsNumpyBool(nb::handle object) { return PyArray_IsScalar(object.ptr(), Bool); }
bool IsNumpyComplex(nb::handle object) {
  return PyArray_IsScalar(object.ptr(), ComplexFloating) ||
         (PyArray_Check(object.ptr()) && PyArray_ISCOMPLEX(AsNumpy(object)));
}

std::string SupportedDTypes() {
  std::string names = kDTypes[0].name;
  for (size_t i = 1; i < kNumDTypes; ++i) names.append(i + 1 < kNumDTypes ? ", " : " and ").append(kDTypes[i].name);
  return names;
}

Array::Array(nb::handle object, const char* name, const Place& place, bool writable) : name_(name) {
  if (!place.is_cuda() && PyArray_Check(object.ptr())) {
    OpenNumpy(nb::borrow(object), writable);
  } else if (!place.is_cuda() && !writable && PyArray_CheckScalar(object.ptr())) {
    OpenNumpy(New([&] { return PyArray_FromScalar(object.ptr(), nullptr); }), false);  // as NumPy makes of 0-d arrays
  } else {
    OpenForeign(object, place, writable);
  }
}

void Array::OpenNumpy(nb::object array, bool writable) {
  owner_ = std::move(array);
  is_numpy_ = true;
  if (!PyArray_CheckExact(AsNumpy(owner_)) && IsInstanceOf(owner_, "numpy.ma", "MaskedArray")) {
    Raise(PyExc_TypeError, "%s is a masked array, whose mask would be lost; pass %s.data or %s.filled()", name_, name_,
          name_);
  }
  ReadNumpy();
  if (writable && !PyArray_ISWRITEABLE(AsNumpy(owner_))) Raise(PyExc_ValueError, kReadOnly, name_);
}

void Array::ReadNumpy() {
  PyArrayObject* const array = AsNumpy(owner_);
  dtype_ = ToDlpack(PyArray_DESCR(array));  // first, for it may run code of Python's
  data_ = PyArray_DATA(array);
  ndim_ = PyArray_NDIM(array);
  shape_ = own_shape_;
  std::copy_n(PyArray_DIMS(array), ndim_, own_shape_);
  strides_ = PyArray_IS_C_CONTIGUOUS(array) ? nullptr : own_strides_;
  if (strides_ == nullptr || dtype_.bits == 0) return;
  for (int i = 0; i < ndim_; ++i) {
    const int64_t item_size = dtype_.bits / 8;
    const int64_t stride = own_shape_[i] != 1 ? PyArray_STRIDES(array)[i] : item_size;  // NumPy's may be any there
    if (stride % item_size != 0) {
      Raise(PyExc_ValueError,
            "%s has strides that are not multiples of its element size (a field of a packed structure?); copy it with "
            "numpy.ascontiguousarray",
            name_);
    }
    own_strides_[i] = stride / item_size;
  }
}

void Array::OpenForeign(nb::handle object, const Place& place, bool writable) {
  if (!place.is_cuda() && !FindAttribute(object.type(), "__dlpack__").is_valid()) {
    Raise(PyExc_TypeError, "%s must be a NumPy array or one that speaks DLPack, not %U; numpy.asarray makes one", name_,
          TypeName(object).ptr());
  }
  if (IsInstanceOf(object, "jax.core", "Tracer")) {
    Raise(PyExc_TypeError,
          "%s is being traced by JAX (jax.jit, jax.grad, jax.vmap) and has no memory yet; call leakyrelu by "
          "jax.pure_callback, and inside a jax.custom_vjp for the gradient, as the README of leakyrelu shows",
          name_);
  }
  const nb::object gradient = FindAttribute(object, "requires_grad");
  if (gradient.is_valid() && IsTrue(gradient)) {
    Raise(PyExc_TypeError, "%s requires a gradient, which would be lost; pass %s.detach()", name_, name_);
  }
  CurrentDevice current;
  if (place.is_cuda()) {
    place.Require(Asked(name_, [&] { return DeviceOf(object); }), name_);
    current.SetTo(object);
  }
  const nb::object capsule = Asked(name_, [&] { return CapsuleOf(object, place); });
  const Offer offer = OfferOf(capsule, name_, kMaxDims);
  const nb::dlpack::dltensor& tensor = *offer.tensor;
  place.Require({tensor.device.device_type, tensor.device.device_id}, name_);
  // Memory that is not said to be writable is read-only, as it is for NumPy.
  const bool is_writable = offer.tells_writable ? offer.is_writable : place.is_cupy();
  if (writable && !is_writable) Raise(PyExc_ValueError, kReadOnly, name_);
  taken_ = Take(capsule);
  // NOLINTNEXTLINE(performance-no-int-to-ptr): from a null pointer, where there is no element, C++ counts no bytes
  data_ = reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(tensor.data) + tensor.byte_offset);
  dtype_ = tensor.dtype;
  ndim_ = tensor.ndim;
  shape_ = tensor.shape;
  strides_ = tensor.strides;
}

Array Array::Output(nb::handle object, const char* name, const Place& place, const Array& input) {
  if (object.is_none()) return Array(input, place);
  return Array(object, name, place, input);
}

Array::Array(nb::handle object, const char* name, const Place& place, const Array& input)
    : Array(object, name, place, true) {
  RequireInput();
  if (dtype_ != input.dtype_) {
    Raise(PyExc_TypeError, "%s has dtype %s, %s has %s; they must be the same", name_, Find(dtype_)->name, input.name_,
          Find(input.dtype_)->name);
  }
  if (!std::equal(shape_, shape_ + ndim_, input.shape_, input.shape_ + input.ndim_)) {
    Raise(PyExc_ValueError, "%s has shape %U, %s has %U; they must be the same", name_, ShapeText().ptr(), input.name_,
          input.ShapeText().ptr());
  }
}

Array::Array(const Array& input, const Place& place)
    : name_("a fresh array"), dtype_(input.dtype_), ndim_(input.ndim_), shape_(input.shape_) {
  const bool same_order = input.strides_ != nullptr && input.elements() != 0 && input.IsDense();
  if (place.is_cupy()) {
    nb::dict order;
    order["order"] = same_order ? "K" : "C";
    TakeCupy(place, Call(GetAttribute(Import("cupy"), "empty_like"), nb::make_tuple(place.x()), order));
    return;
  }
  PyArray_Descr* descriptor = nullptr;
  if (input.is_numpy_) {
    descriptor = PyArray_DESCR(AsNumpy(input.owner_));
    Py_INCREF(AsPython(descriptor));
  } else {  // what NumPy does not have are words to it
    const int kWords[] = {NPY_UINT8, NPY_UINT16, NPY_UINT32, NPY_UINT64};
    const DTypeInfo& info = *Find(dtype_);
    const int known = numpy_types[DTypeIndex(info.dtype)];
    descriptor = PyArray_DescrFromType(known >= 0 ? known : kWords[std::bit_width(info.bytes) - 1]);
  }
  Allocate(place, AsPython(descriptor), same_order ? input.strides_ : nullptr);
}

Array::Array(size_t count, const Place& place) : name_("a fresh mask"), dtype_(kUInt8), ndim_(1), shape_(own_shape_) {
  own_shape_[0] = static_cast<int64_t>(count);
  if (place.is_cupy()) {
    const nb::object cupy = Import("cupy");
    TakeCupy(place, Call(GetAttribute(cupy, "empty"), nb::make_tuple(count, GetAttribute(cupy, "uint8"))));
    return;
  }
  Allocate(place, AsPython(PyArray_DescrFromType(NPY_UINT8)), nullptr);
}

void Array::TakeCupy(const Place& place, nb::object fresh) {
  OpenForeign(fresh, place, true);
  cupy_ = std::move(fresh);
}

// For the shape. Takes the descriptor over. Large outputs have memory that is kept for the next ones when it is freed.
void Array::Allocate(const Place& place, PyObject* descriptor, const int64_t* strides) {
  const nb::object held = nb::steal(descriptor);
  const int64_t item_size = dtype_.bits / 8;
  int64_t bytes = 0;
  const bool fits = Multiply(elements(), item_size, &bytes);
  if (place.is_cuda()) {
    strides_ = strides;
    if constexpr (kHasCuda) owner_ = CudaMemory(place.device().number, fits ? bytes : -1, &data_);
    return;
  }
  npy_intp byte_strides[kMaxDims];
  if (strides != nullptr) {
    std::transform(strides, strides + ndim_, shape_, byte_strides, [&](int64_t stride, int64_t extent) {
      return extent == 1 ? item_size : stride * item_size;  // for an extent of 1 it may be any, too long in bytes too
    });
  }
  constexpr int64_t kNeverLarge = 1 << 20;  // spares the question
  void* data = nullptr;                     // NumPy's
  nb::object base;
  if (fits && bytes >= kNeverLarge && bytes >= leakyrelu_get_memory_stats().large) {
    std::unique_ptr<void, decltype(&leakyrelu_free)> large(leakyrelu_alloc(static_cast<size_t>(bytes)), leakyrelu_free);
    data = large.get();
    if (data != nullptr) base = nb::capsule(data, [](void* freed) noexcept { leakyrelu_free(freed); });
    [[maybe_unused]] void* const given = large.release();  // to the capsule
    // An array between the two, for NumPy asks the last base but none that is a capsule whether it may be written to.
    if (data != nullptr) base = NewNumpy(PyArray_DescrFromType(NPY_UINT8), 1, &bytes, nullptr, data, base);
  }
  owner_ = NewNumpy(reinterpret_cast<PyArray_Descr*>(nb::handle(held).inc_ref().ptr()), ndim_, shape_,
                    strides != nullptr ? byte_strides : nullptr, data, base);
  is_numpy_ = true;
  ReadNumpy();
}

leakyrelu_array Array::View() {
  if (is_numpy_) ReadNumpy();
  const DTypeInfo* const info = Find(dtype_);
  return {data_, info != nullptr ? info->dtype : leakyrelu_dtype{}, ndim_, shape_, strides_};
}

void Array::RequireInput() const {
  if (Find(dtype_) != nullptr) return;
  const bool is_swapped = is_numpy_ && PyArray_ISBYTESWAPPED(AsNumpy(owner_));
  const char* const order = NPY_BYTE_ORDER == NPY_LITTLE_ENDIAN ? " in big-endian order" : " in little-endian order";
  Raise(PyExc_TypeError, "%s has dtype %U%s; supported are %s, in native byte order", name_, DTypeName().ptr(),
        is_swapped ? order : "", SupportedDTypes().c_str());
}

void Array::RequireMask() const {
  if (dtype_ != kUInt8) {
    Raise(PyExc_TypeError, "mask has dtype %U; it must be uint8, as leaky_relu_with_mask returns it",
          DTypeName().ptr());
  }
  if (ndim_ != 1) {
    Raise(PyExc_ValueError, "mask has shape %U; it must have one dimension, as leaky_relu_with_mask returns it",
          ShapeText().ptr());
  }
  if (strides_ != nullptr && strides_[0] != 1 && shape_[0] > 1) {
    Raise(PyExc_ValueError, "mask is not contiguous; a copy of it would be");
  }
}

int64_t Array::elements() const {
  int64_t product = 1;
  bool fits = true;
  for (int i = 0; i < ndim_; ++i) {
    if (shape_[i] == 0) return 0;
    fits = fits && Multiply(product, shape_[i], &product);
  }
  return fits ? product : std::numeric_limits<int64_t>::max();
}

// Whether the elements lie one behind the other, in some order of the dims.
bool Array::IsDense() const {
  std::vector<std::pair<int64_t, int64_t>> dims;  // stride, extent
  for (int i = 0; i < ndim_; ++i) {
    if (shape_[i] != 1) dims.emplace_back(strides_[i], shape_[i]);
  }
  std::ranges::sort(dims);
  int64_t expected = 1;
  return std::ranges::all_of(
      dims, [&](const auto& dim) { return dim.first == expected && Multiply(expected, dim.second, &expected); });
}

nb::object Array::DTypeName() const {
  if (is_numpy_) return Text(AsPython(PyArray_DESCR(AsNumpy(owner_))));
  const char* const kNames[] = {"int", "uint", "float", "opaque", "bfloat", "complex", "bool"};
  if (dtype_.code < std::size(kNames) && dtype_.lanes == 1) {
    const bool is_bool = dtype_.code == static_cast<uint8_t>(Code::Bool);
    return ToText((kNames[dtype_.code] + (is_bool ? "" : std::to_string(dtype_.bits))).c_str());
  }
  return New([&] {
    return PyUnicode_FromFormat("(%d, %d, %d) in DLPack's code, bits and lanes", dtype_.code, dtype_.bits,
                                dtype_.lanes);
  });
}

nb::object Array::ShapeText() const {
  const nb::object shape = New([&] { return PyTuple_New(ndim_); });
  for (int i = 0; i < ndim_; ++i) {
    nb::object extent = New([&] { return PyLong_FromLongLong(shape_[i]); });
    PyTuple_SetItem(shape.ptr(), i, extent.release().ptr());
  }
  return Text(shape);
}

nb::object Array::Made(const Place& place) const {
  if (place.is_cupy()) return cupy_;
  if (IsNumpy(place.x())) return owner_;
  if (place.from_dlpack().is_valid()) {
    const std::vector<size_t> shape(shape_, shape_ + ndim_);
    const nb::ndarray<nb::array_api> exporter(data_, shape.size(), shape.data(), owner_, strides_, dtype_,
                                              place.is_cuda() ? nb::device::cuda::value : nb::device::cpu::value,
                                              place.device().number);
    return Call(place.from_dlpack(), nb::make_tuple(exporter));
  }
  const DTypeInfo* const info = Find(dtype_);
  if (info == nullptr || PyArray_TYPE(AsNumpy(owner_)) == numpy_types[DTypeIndex(info->dtype)]) return owner_;
  const nb::object package = Import("ml_dtypes");  // NumPy itself has no such dtype
  return Call(GetAttribute(owner_, "view"), nb::make_tuple(GetAttribute(package, info->name)));
}

}  // namespace leakyrelu::arrays
