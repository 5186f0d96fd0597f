#include "place.h"

#include <nanobind/nanobind.h>

#include <algorithm>
#include <string>

#include "array.h"
#include "on_cuda.h"
#include "python.h"

namespace nb = nanobind;

namespace leakyrelu::arrays {
namespace {

bool IsCupy(nb::handle x) { return IsInstanceOf(x, "cupy", "ndarray"); }

// As a module's attribute, so that a test can be without.
bool IsBuiltWithCuda() { return kHasCuda && IsTrue(GetAttribute(Import("leakyrelu._core"), "HAS_CUDA")); }

nb::object FromDlpackOf(nb::handle x) {
  nb::object library;
  if (const nb::object method = FindAttribute(x, "__array_namespace__"); method.is_valid()) {
    library = Call(method);
  } else {
    const nb::object module = GetAttribute(x.type(), "__module__");
    const nb::object names = New([&] { return PyUnicode_Split(module.ptr(), ToText(".").ptr(), 1); });
    library = Imported(PyList_GetItem(names.ptr(), 0));
  }
  return library.is_valid() ? FindAttribute(library, "from_dlpack") : library;
}

}  // namespace

void CurrentDevice::SetTo(nb::handle x) {
  if (!IsCupy(x)) return;
  const nb::object device = GetAttribute(x, "device");
  Call(GetAttribute(device, "__enter__"));
  device_ = device;
}

CurrentDevice::~CurrentDevice() {
  if (!device_.is_valid()) return;
  const nb::error_scope kept;
  Py_XDECREF(
      BehindBarrier([&] { return PyObject_CallMethod(device_.ptr(), "__exit__", "OOO", Py_None, Py_None, Py_None); }));
}

Device DeviceOf(nb::handle x) {
  const nb::object device = Call(GetAttribute(x, "__dlpack_device__"));
  const auto number = [&](int i) {
    const nb::object item = New([&] { return PySequence_GetItem(device.ptr(), i); });
    const nb::object integer = New([&] { return PyNumber_Long(item.ptr()); });
    return static_cast<int>(Number([&] { return PyLong_AsLong(integer.ptr()); }));
  };
  return {number(0), number(1)};
}

Place::Place(nb::handle x, const char* name, std::initializer_list<nb::handle> others) : x_(x), name_(name) {
  if (IsNumpy(x)) return;
  try {
    device_ = DeviceOf(x);
  } catch (const nb::python_error& error) {
    if (!error.matches(PyExc_Exception) || error.matches(PyExc_MemoryError)) throw;
    // Else it is asked again, where its memory is needed.
  }
  if (is_cuda() && !IsBuiltWithCuda()) {
    Raise(
        PyExc_TypeError,
        "%s is in the memory of a CUDA device, and this leakyrelu was built without CUDA; with nvcc (12.8 or newer) in "
        "PATH, pip install --no-build-isolation --force-reinstall --no-deps --no-binary leakyrelu leakyrelu builds it "
        "anew",
        name);
  }
  from_dlpack_ = FromDlpackOf(x);
  if (!is_cuda()) return;
  current_.SetTo(x);
  is_cupy_ =
      IsCupy(x) && std::ranges::all_of(others, [](nb::handle other) { return other.is_none() || IsCupy(other); });
  if (!is_cupy_) return;
  const nb::object stream = Call(GetAttribute(GetAttribute(Import("cupy"), "cuda"), "get_current_stream"));
  const auto handle = nb::cast<uintptr_t>(GetAttribute(stream, "ptr"));
  if (handle != 0) stream_ = handle;
}

void Place::Require(Device device, const char* name) const {
  if (is_cuda() ? device.is_cuda() && device.number == device_.number : device.is_cpu()) return;
  const std::string here = is_cuda() ? "CUDA device (2, " + std::to_string(device_.number) + "), as " + name_
                                     : "the CPU, (1, 0), or all on one CUDA device";
  Raise(PyExc_TypeError, "%s is on DLPack device (%d, %d); it must be on %s", name, device.type, device.number,
        here.c_str());
}

}  // namespace leakyrelu::arrays
