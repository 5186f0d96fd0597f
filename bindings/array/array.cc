#include "array.h"

#define NPY_NO_DEPRECATED_API NPY_1_22_API_VERSION
#define NPY_TARGET_VERSION NPY_1_22_API_VERSION
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <numpy/arrayobject.h>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <string>
#include <vector>

#include "checked.h"
#include "dtypes.h"
#include "gil.h"
#include "leakyrelu/leakyrelu.h"
#include "on_cuda.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace leakyrelu::arrays {
namespace {

using DType = nb::dlpack::dtype;
using Code = nb::dlpack::dtype_code;
using std::string;

constexpr char kReadOnly[] = "%s is read-only; it must be writable";

static_assert(sizeof(npy_intp) == sizeof(int64_t));

// NumPy's number for each dtype. -1 for one that a package adds to NumPy (ml_dtypes), until an array of it comes.
int numpy_types[kNumDTypes];

nb::object Steal(PyObject* result) {
  if (result == nullptr) throw nb::python_error();
  return nb::steal(result);
}

// With a format of PyErr_Format's: %S is an object's str(), %R its repr().
template <class... Arguments>
[[noreturn]] void Raise(PyObject* type, const char* format, const Arguments&... arguments) {
  PyErr_Format(type, format, arguments...);
  throw nb::python_error();
}

PyArrayObject* AsNumpy(nb::handle array) { return reinterpret_cast<PyArrayObject*>(array.ptr()); }
PyObject* AsPython(PyArray_Descr* descriptor) { return reinterpret_cast<PyObject*>(descriptor); }

leakyrelu_dtype DTypeNamed(const string& name) {
  const auto* const info = std::ranges::find(kDTypes, name, &DTypeInfo::name);
  return info != std::end(kDTypes) ? info->dtype : leakyrelu_dtype{};
}

leakyrelu_dtype DTypeOf(PyArray_Descr* descriptor) {
  if (!PyArray_ISNBO(descriptor->byteorder)) return {};
  for (size_t i = 0; i < kNumDTypes; ++i) {
    if (numpy_types[i] == descriptor->type_num) return kDTypes[i].dtype;
  }
  const leakyrelu_dtype dtype = DTypeNamed(nb::str(GetAttribute(AsPython(descriptor), "name")).c_str());
  if (dtype != leakyrelu_dtype{} && descriptor->type_num >= NPY_USERDEF) {
    numpy_types[DTypeIndex(dtype)] = descriptor->type_num;
  }
  return dtype;
}

string NameOf(DType dtype) {
  const char* const kNames[] = {"int", "uint", "float", "opaque", "bfloat", "complex", "bool"};
  if (dtype.code >= std::size(kNames) || dtype.lanes != 1) return "unknown to leakyrelu";
  if (dtype.code == static_cast<uint8_t>(Code::Bool)) return "bool";
  return kNames[dtype.code] + std::to_string(dtype.bits);
}

bool IsCupy(nb::handle x) { return IsInstanceOf(x, "cupy", "ndarray"); }
nb::object Cupy() { return Steal(PyImport_ImportModule("cupy")); }

struct Device {
  int type;  // DLPack's
  int number;
  bool is_cuda() const { return type == nb::device::cuda::value || type == nb::device::cuda_managed::value; }
};

Device DeviceOf(nb::handle x) {
  const nb::object device = CallPython(GetAttribute(x, "__dlpack_device__"), nb::tuple());
  const auto number = [&](int i) {
    const nb::object item = Steal(PySequence_GetItem(device.ptr(), i));
    const long value = PyLong_AsLong(Steal(PyNumber_Long(item.ptr())).ptr());
    if (value == -1 && PyErr_Occurred() != nullptr) throw nb::python_error();
    return static_cast<int>(value);
  };
  return {number(0), number(1)};
}

// As a module's attribute, so that a test can be without.
bool IsBuiltWithCuda() {
  return kHasCuda && nb::cast<bool>(GetAttribute(Steal(PyImport_ImportModule("leakyrelu._core")), "HAS_CUDA"));
}

// A capsule with the memory of an array of another library.
nb::object CapsuleOf(nb::handle x, const Place& place) {
  nb::dict options;
  if (place.is_cuda()) options["stream"] = place.stream();
  const nb::object method = GetAttribute(x, "__dlpack__");
  try {
    const nb::object with_version = Steal(PyDict_Copy(options.ptr()));
    with_version["max_version"] = nb::make_tuple(1, 0);
    return CallPython(method, nb::tuple(), with_version);
  } catch (const nb::python_error& error) {
    if (!error.matches(PyExc_TypeError)) throw;  // else it does not know of versions
  }
  return CallPython(method, nb::tuple(), options);
}

// What ask() tells of an array's memory. Whatever goes wrong there becomes a TypeError that names the array.
template <class Ask>
auto Asked(const char* name, Ask ask) {
  try {
    return ask();
  } catch (nb::python_error& error) {
    if (!error.matches(PyExc_Exception)) throw;
    nb::raise_from(error, PyExc_TypeError, "%s does not give access to its memory by DLPack: %S", name,
                   error.value().ptr());
  }
}

// The from_dlpack of the library that `x` is from; invalid where that has none.
nb::object FromDlpackOf(nb::handle x) {
  nb::object library;
  if (const nb::object method = FindAttribute(x, "__array_namespace__"); method.is_valid()) {
    library = CallPython(method, nb::tuple());
  } else {
    const string module = nb::str(GetAttribute(x.type(), "__module__")).c_str();
    library = nb::steal(PyImport_GetModule(nb::str(module.substr(0, module.find('.')).c_str()).ptr()));
  }
  return library.is_valid() ? FindAttribute(library, "from_dlpack") : library;
}

}  // namespace

void ImportNumpy() {
  if (_import_array() < 0) throw nb::python_error();
  for (size_t i = 0; i < kNumDTypes; ++i) {
    PyArray_Descr* descriptor = nullptr;
    const nb::str name(kDTypes[i].name);
    numpy_types[i] = PyArray_DescrConverter(name.ptr(), &descriptor) != 0 ? descriptor->type_num : -1;
    PyErr_Clear();
    Py_XDECREF(AsPython(descriptor));
  }
}

string SupportedDTypes() {
  string names = kDTypes[0].name;
  for (size_t i = 1; i < kNumDTypes; ++i) names.append(i + 1 < kNumDTypes ? ", " : " and ").append(kDTypes[i].name);
  return names;
}

nb::object CallPython(nb::handle callable, nb::handle arguments, nb::handle keywords) {
  return Steal(BehindBarrier([&] { return PyObject_Call(callable.ptr(), arguments.ptr(), keywords.ptr()); }));
}

nb::object GetAttribute(nb::handle object, const char* name) {
  return Steal(BehindBarrier([&] { return PyObject_GetAttrString(object.ptr(), name); }));
}

nb::object FindAttribute(nb::handle object, const char* name) {
  const nb::object found = nb::steal(BehindBarrier([&] { return PyObject_GetAttrString(object.ptr(), name); }));
  if (found.is_valid()) return found;
  if (PyErr_ExceptionMatches(PyExc_AttributeError) == 0) throw nb::python_error();
  PyErr_Clear();
  return found;
}

bool IsInstanceOf(nb::handle object, const char* module, const char* name) {
  const nb::object imported = nb::steal(PyImport_GetModule(nb::str(module).ptr()));
  if (!imported.is_valid()) return false;
  const nb::object type = FindAttribute(imported, name);  // none in a module that is being imported
  const int is = type.is_valid() ? BehindBarrier([&] { return PyObject_IsInstance(object.ptr(), type.ptr()); }) : 0;
  if (is < 0) throw nb::python_error();
  return is != 0;
}

bool IsNumpy(nb::handle object) { return PyArray_Check(object.ptr()) || PyArray_CheckScalar(object.ptr()); }
bool IsNumpyBool(nb::handle object) { return PyArray_IsScalar(object.ptr(), Bool); }

void CurrentDevice::SetTo(nb::handle x) {
  if (!IsCupy(x)) return;
  device_ = GetAttribute(x, "device");
  CallPython(GetAttribute(device_, "__enter__"), nb::tuple());
}

CurrentDevice::~CurrentDevice() {
  if (!device_.is_valid()) return;
  const nb::error_scope kept;
  Py_XDECREF(
      BehindBarrier([&] { return PyObject_CallMethod(device_.ptr(), "__exit__", "OOO", Py_None, Py_None, Py_None); }));
}

Place::Place(nb::handle x, const char* name, std::initializer_list<nb::handle> others) : x_(x), name_(name) {
  if (IsNumpy(x)) return;
  try {
    const Device device = DeviceOf(x);
    is_cuda_ = device.is_cuda();
    device_ = device.number;
  } catch (const nb::python_error& error) {
    if (!error.matches(PyExc_Exception)) throw;
    return;  // asked again, where its memory is needed
  }
  if (!is_cuda_) return;
  if (!IsBuiltWithCuda()) {
    Raise(
        PyExc_TypeError,
        "%s is in the memory of a CUDA device, and this leakyrelu was built without CUDA; with nvcc (12.8 or newer) in "
        "PATH, pip install --no-build-isolation --force-reinstall --no-deps --no-binary leakyrelu leakyrelu builds it "
        "anew",
        name);
  }
  current_.SetTo(x);
  is_cupy_ =
      IsCupy(x) && std::ranges::all_of(others, [](nb::handle other) { return other.is_none() || IsCupy(other); });
  if (!is_cupy_) return;
  const nb::object stream = CallPython(GetAttribute(GetAttribute(Cupy(), "cuda"), "get_current_stream"), nb::tuple());
  const auto handle = nb::cast<uintptr_t>(GetAttribute(stream, "ptr"));
  if (handle != 0) stream_ = handle;
}

void Place::Require(int device_type, int device, const char* name) const {
  const bool is_here =
      is_cuda_ ? Device{device_type, device}.is_cuda() && device == device_ : device_type == nb::device::cpu::value;
  if (is_here) return;
  const string here = is_cuda_ ? "CUDA device (2, " + std::to_string(device_) + "), as " + name_
                               : string("the CPU, (1, 0), or all on one CUDA device");
  Raise(PyExc_TypeError, "%s is on DLPack device (%d, %d); it must be on %s", name, device_type, device, here.c_str());
}

Array::Array(nb::handle object, const char* name, const Place& place, bool writable) : name_(name) {
  if (!place.is_cuda() && PyArray_Check(object.ptr())) {
    owner_ = nb::borrow(object);
    OpenNumpy(writable);
  } else if (!place.is_cuda() && !writable && PyArray_CheckScalar(object.ptr())) {
    owner_ = Steal(PyArray_FromScalar(object.ptr(), nullptr));  // what NumPy makes of 0-d arrays on the way
    OpenNumpy(writable);
  } else {
    OpenForeign(object, place, writable);
  }
}

void Array::OpenNumpy(bool writable) {
  PyArrayObject* const array = AsNumpy(owner_);
  if (!PyArray_CheckExact(array) && IsInstanceOf(owner_, "numpy.ma", "MaskedArray")) {
    Raise(PyExc_TypeError, "%s is a masked array, whose mask would be lost; pass %s.data or %s.filled()", name_, name_,
          name_);
  }
  is_numpy_ = true;
  data_ = PyArray_DATA(array);
  is_uint8_ = PyArray_TYPE(array) == NPY_UINT8;
  if (!is_uint8_) dtype_ = DTypeOf(PyArray_DESCR(array));
  ndim_ = PyArray_NDIM(array);
  shape_ = reinterpret_cast<const int64_t*>(PyArray_DIMS(array));
  if (writable && !PyArray_ISWRITEABLE(array)) Raise(PyExc_ValueError, kReadOnly, name_);
  if (PyArray_IS_C_CONTIGUOUS(array)) return;
  strides_ = own_strides_;
  const int64_t item_size = dtype_ != leakyrelu_dtype{} ? static_cast<int64_t>(kDTypes[DTypeIndex(dtype_)].bytes) : 1;
  for (int i = 0; i < ndim_; ++i) {
    const int64_t stride = PyArray_STRIDES(array)[i];
    if (stride % item_size != 0) {
      Raise(PyExc_ValueError,
            "an array's strides are not multiples of its element size (a field of a packed structure?); copy it with "
            "numpy.ascontiguousarray");
    }
    own_strides_[i] = stride / item_size;
  }
}

void Array::OpenForeign(nb::handle object, const Place& place, bool writable) {
  if (!place.is_cuda() && !FindAttribute(object.type(), "__dlpack__").is_valid()) {
    Raise(PyExc_TypeError, "%s must be a NumPy array or one that speaks DLPack, not %S; numpy.asarray makes one", name_,
          GetAttribute(object.type(), "__name__").ptr());
  }
  if (IsInstanceOf(object, "jax.core", "Tracer")) {
    Raise(PyExc_TypeError,
          "%s is being traced by JAX (jax.jit, jax.grad, jax.vmap) and has no memory yet; call leakyrelu by "
          "jax.pure_callback, and inside a jax.custom_vjp for the gradient, as its README shows",
          name_);
  }
  const nb::object gradient = FindAttribute(object, "requires_grad");
  if (gradient.is_valid() && PyObject_IsTrue(gradient.ptr()) == 1) {
    Raise(PyExc_TypeError, "%s requires a gradient, which would be lost; pass %s.detach()", name_, name_);
  }
  CurrentDevice current;
  if (place.is_cuda()) {
    const Device device = Asked(name_, [&] { return DeviceOf(object); });
    place.Require(device.type, device.number, name_);
    current.SetTo(object);
  }
  const nb::object capsule = Asked(name_, [&] { return CapsuleOf(object, place); });
  // Only DLPack 1.0 can say that memory may be written to; what speaks less is read-only, as it is for NumPy.
  const bool can_tell = PyCapsule_IsValid(capsule.ptr(), "dltensor_versioned") != 0;
  nb::ndarray<> writable_array;
  nb::ndarray<nb::ro> array;
  const bool is_writable = nb::try_cast(capsule, writable_array);
  if (is_writable) {
    array = nb::ndarray<nb::ro>(writable_array);
  } else if (!nb::try_cast(capsule, array)) {
    Raise(PyExc_TypeError, "%s does not give access to its memory by DLPack: its __dlpack__ returns %R", name_,
          capsule.ptr());
  }
  place.Require(array.device_type(), array.device_id(), name_);
  if (writable && !(is_writable && (can_tell || place.is_cupy()))) Raise(PyExc_ValueError, kReadOnly, name_);
  data_ = const_cast<void*>(array.data());
  foreign_dtype_ = array.dtype();
  dtype_ = DTypeNamed(NameOf(foreign_dtype_));
  is_uint8_ = foreign_dtype_ == nb::dtype<uint8_t>();
  ndim_ = static_cast<int32_t>(array.ndim());
  shape_ = array.shape_ptr();
  strides_ = array.stride_ptr();
  owner_ = nb::capsule(new nb::ndarray<nb::ro>(array), [](void* held) noexcept {  // with all that the pointers point to
    delete static_cast<nb::ndarray<nb::ro>*>(held);
  });
}

Array::Array(const Array& input, const Place& place)
    : name_("a fresh array"), dtype_(input.dtype_), ndim_(input.ndim_), shape_(input.shape_) {
  const bool same_order = input.strides_ != nullptr && input.elements() != 0 && input.IsDense();
  if (same_order) strides_ = input.strides_;
  if (place.is_cupy()) {
    const nb::dict order;
    order["order"] = same_order ? "K" : "C";
    const nb::object fresh = CallPython(GetAttribute(Cupy(), "empty_like"), nb::make_tuple(place.x()), order);
    OpenForeign(fresh, place, true);
    cupy_ = fresh;
    return;
  }
  const DTypeInfo& info = kDTypes[DTypeIndex(dtype_)];
  PyArray_Descr* descriptor = nullptr;
  if (input.is_numpy_) {
    descriptor = PyArray_DESCR(AsNumpy(input.owner_));
    Py_INCREF(AsPython(descriptor));
  } else {  // what NumPy does not have are words to it
    const int kWords[] = {NPY_UINT8, NPY_UINT16, NPY_UINT32, NPY_UINT64};
    const int known = numpy_types[DTypeIndex(dtype_)];
    descriptor = PyArray_DescrFromType(known >= 0 ? known : kWords[std::bit_width(info.bytes) - 1]);
  }
  Allocate(place, AsPython(descriptor));
}

Array::Array(size_t count, const Place& place)
    : name_("a fresh mask"), is_uint8_(true), ndim_(1), shape_(own_shape_), own_shape_{static_cast<int64_t>(count)} {
  if (place.is_cupy()) {
    const nb::object cupy = Cupy();
    const nb::object fresh =
        CallPython(GetAttribute(cupy, "empty"), nb::make_tuple(count, GetAttribute(cupy, "uint8")));
    OpenForeign(fresh, place, true);
    cupy_ = fresh;
    return;
  }
  Allocate(place, AsPython(PyArray_DescrFromType(NPY_UINT8)));
}

// Of the descriptor, which it takes over, and the shape; with the strides if there are some. Large outputs have memory
// that is kept for the next ones when it is freed.
void Array::Allocate(const Place& place, PyObject* descriptor) {
  const nb::object held = nb::steal(descriptor);
  const auto item_size = static_cast<int64_t>(DlpackDType().bits / 8);
  int64_t bytes = 0;
  const bool fits = Multiply(elements(), item_size, &bytes);
  if (place.is_cuda()) {
    if constexpr (kHasCuda) owner_ = CudaMemory(place.device(), fits ? bytes : -1, &data_);
    return;
  }
  npy_intp byte_strides[kMaxDims];
  const bool in_order = strides_ != nullptr && ndim_ <= kMaxDims;  // NumPy says so where there are too many dims
  for (int i = 0; in_order && i < ndim_; ++i) byte_strides[i] = strides_[i] * item_size;
  constexpr int64_t kNeverLarge = 1 << 20;  // spares the question
  nb::object memory;
  void* data = nullptr;  // NumPy's
  if (fits && bytes >= kNeverLarge && static_cast<size_t>(bytes) >= leakyrelu_get_memory_stats().large) {
    data = leakyrelu_alloc(static_cast<size_t>(bytes));
    if (data != nullptr) memory = nb::capsule(data, [](void* freed) noexcept { leakyrelu_free(freed); });
  }
  Py_INCREF(descriptor);
  owner_ = Steal(PyArray_NewFromDescr(&PyArray_Type, reinterpret_cast<PyArray_Descr*>(descriptor), ndim_,
                                      reinterpret_cast<const npy_intp*>(shape_), in_order ? byte_strides : nullptr,
                                      data, data != nullptr ? NPY_ARRAY_CARRAY : 0, nullptr));
  is_numpy_ = true;
  data_ = PyArray_DATA(AsNumpy(owner_));
  if (data != nullptr && PyArray_SetBaseObject(AsNumpy(owner_), memory.release().ptr()) != 0) throw nb::python_error();
}

void Array::RequireInput() const {
  if (dtype_ != leakyrelu_dtype{}) return;
  const bool is_swapped = is_numpy_ && PyArray_ISBYTESWAPPED(AsNumpy(owner_));
  const char* const order = NPY_BYTE_ORDER == NPY_LITTLE_ENDIAN ? " in big-endian order" : " in little-endian order";
  Raise(PyExc_TypeError, "%s has dtype %S%s; supported are %s, in native byte order", name_, DTypeName().ptr(),
        is_swapped ? order : "", SupportedDTypes().c_str());
}

void Array::RequireOutputOf(const Array& input) const {
  RequireInput();
  if (dtype_ != input.dtype_) {
    Raise(PyExc_TypeError, "%s has dtype %s, %s has %s; they must be the same", name_, kDTypes[DTypeIndex(dtype_)].name,
          input.name_, kDTypes[DTypeIndex(input.dtype_)].name);
  }
  if (!std::equal(shape_, shape_ + ndim_, input.shape_, input.shape_ + input.ndim_)) {
    Raise(PyExc_ValueError, "%s has shape %S, %s has %S; they must be the same", name_, Shape().ptr(), input.name_,
          input.Shape().ptr());
  }
}

void Array::RequireMask() const {
  if (!is_uint8_) {
    Raise(PyExc_TypeError, "mask has dtype %S; it must be uint8, as leaky_relu_with_mask returns it",
          DTypeName().ptr());
  }
  if (ndim_ != 1) {
    Raise(PyExc_ValueError, "mask has shape %S; it must have one dimension, as leaky_relu_with_mask returns it",
          Shape().ptr());
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
  return std::ranges::all_of(dims, [&](const auto& dim) {
    const bool is_next = dim.first == expected;
    expected *= dim.second;
    return is_next;
  });
}

DType Array::DlpackDType() const {
  if (is_uint8_) return nb::dtype<uint8_t>();
  const DTypeInfo& info = kDTypes[DTypeIndex(dtype_)];
  const Code code = info.name[0] == 'b' ? Code::Bfloat : Code::Float;
  return {static_cast<uint8_t>(code), static_cast<uint8_t>(8 * info.bytes), 1};
}

nb::object Array::DTypeName() const {
  if (is_numpy_) return nb::borrow(AsPython(PyArray_DESCR(AsNumpy(owner_))));
  return nb::str(NameOf(foreign_dtype_).c_str());
}

nb::tuple Array::Shape() const {
  nb::list shape;
  for (int i = 0; i < ndim_; ++i) shape.append(shape_[i]);
  return nb::tuple(shape);
}

nb::object Array::Made(const Place& place) const {
  if (place.is_cupy()) return cupy_;
  if (IsNumpy(place.x())) return owner_;
  const nb::object from_dlpack = FromDlpackOf(place.x());
  if (from_dlpack.is_valid()) {
    const std::vector<size_t> shape(shape_, shape_ + ndim_);
    const nb::ndarray<nb::array_api> exporter(data_, shape.size(), shape.data(), owner_, strides_, DlpackDType(),
                                              place.is_cuda() ? nb::device::cuda::value : nb::device::cpu::value,
                                              place.device());
    return CallPython(from_dlpack, nb::make_tuple(exporter));
  }
  if (place.is_cuda()) {
    Raise(PyExc_TypeError, "the library of %S takes no arrays by DLPack (it has no from_dlpack); pass out",
          place.x().type().ptr());
  }
  if (is_uint8_ || PyArray_TYPE(AsNumpy(owner_)) == numpy_types[DTypeIndex(dtype_)]) return owner_;
  const char* const name = kDTypes[DTypeIndex(dtype_)].name;
  const nb::object package = Steal(PyImport_ImportModule("ml_dtypes"));  // NumPy itself has no such dtype
  return CallPython(GetAttribute(owner_, "view"), nb::make_tuple(GetAttribute(package, name)));
}

}  // namespace leakyrelu::arrays
