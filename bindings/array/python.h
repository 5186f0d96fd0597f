// What of Python's C API may run other people's code, and with it end the thread (see Barrier in gil.h).
#ifndef LEAKYRELU_BINDINGS_ARRAY_PYTHON_H_
#define LEAKYRELU_BINDINGS_ARRAY_PYTHON_H_

#include <nanobind/nanobind.h>

#include "gil.h"

namespace leakyrelu::arrays {

// The new reference that function() returns. Throws the error that it leaves behind instead.
template <class Function>
nanobind::object New(Function function) {
  PyObject* const result = BehindBarrier(function);
  if (result == nullptr) throw nanobind::python_error();
  return nanobind::steal(result);
}

// The number that function() returns, which is -1 where it leaves an error behind.
template <class Function>
auto Number(Function function) {
  const auto result = BehindBarrier(function);
  if (result == -1 && PyErr_Occurred() != nullptr) throw nanobind::python_error();
  return result;
}

inline bool IsTrue(nanobind::handle object) {
  return Number([&] { return PyObject_IsTrue(object.ptr()); }) != 0;
}

inline nanobind::object GetAttribute(nanobind::handle object, const char* name) {
  return New([&] { return PyObject_GetAttrString(object.ptr(), name); });
}

// Invalid where there is none.
inline nanobind::object FindAttribute(nanobind::handle object, const char* name) {
  try {
    return GetAttribute(object, name);
  } catch (const nanobind::python_error& error) {
    if (!error.matches(PyExc_AttributeError)) throw;
    return {};
  }
}

inline nanobind::object Call(nanobind::handle callable, nanobind::handle arguments = nanobind::tuple(),
                             nanobind::handle keywords = {}) {
  return New([&] { return PyObject_Call(callable.ptr(), arguments.ptr(), keywords.ptr()); });
}

inline nanobind::object Import(const char* module) {
  return New([&] { return PyImport_ImportModule(module); });
}

// Not nanobind's str, whose error where there is no memory is another.
inline nanobind::object ToText(const char* text) {
  return New([&] { return PyUnicode_FromString(text); });
}

// The module of that name if somebody has imported it; else invalid.
inline nanobind::object Imported(nanobind::handle name) {
  nanobind::object module = nanobind::steal(PyImport_GetModule(name.ptr()));
  if (!module.is_valid() && PyErr_Occurred() != nullptr) throw nanobind::python_error();
  return module;
}

// Whether `object` is of a class of a module that somebody has imported: who has such an object has done so.
inline bool IsInstanceOf(nanobind::handle object, const char* module, const char* name) {
  const nanobind::object imported = Imported(ToText(module));
  if (!imported.is_valid()) return false;
  const nanobind::object type = FindAttribute(imported, name);  // none in a module that is being imported
  return type.is_valid() && Number([&] { return PyObject_IsInstance(object.ptr(), type.ptr()); }) != 0;
}

// Raises an error of Python's, with a format of PyErr_Format's. Of objects it may have str alone (%U).
template <class... Arguments>
[[noreturn]] void Raise(PyObject* type, const char* format, const Arguments&... arguments) {
  PyErr_Format(type, format, arguments...);
  throw nanobind::python_error();
}

inline nanobind::object Text(nanobind::handle object) {
  return New([&] { return PyObject_Str(object.ptr()); });
}

inline nanobind::object TypeName(nanobind::handle object) { return Text(GetAttribute(object.type(), "__name__")); }

}  // namespace leakyrelu::arrays

#endif  // LEAKYRELU_BINDINGS_ARRAY_PYTHON_H_
