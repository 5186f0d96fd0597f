// leakyrelu._torch: the operators, and a CPython function that reaches them without torch's argument parser.
//
// leaky_relu(input, negative_slope=0.01, inplace=False) decides within nanoseconds whether the library takes the call.
// What it does not take (anything but a plain tensor and a plain number, or with a mode at work) goes, unchanged, to
// the Python function that leakyrelu/torch.py has given by set_fallback.

#include <ATen/PythonTorchFunctionTLS.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/record_function.h>
#include <torch/csrc/Exceptions.h>
#include <torch/csrc/PyInterpreter.h>
#include <torch/csrc/autograd/python_cpp_function.h>
#include <torch/csrc/autograd/python_variable.h>

#include <exception>
#include <optional>

#include "gil.h"
#include "ops.h"

namespace leakyrelu::tensors {
namespace {

// Below as many elements on the CPU, letting go of the GIL costs more than the work. On a CUDA device memory may have
// to be waited for, and by another thread that needs the GIL to free it.
constexpr int64_t kGilElements = 16384;

PyObject* fallback = nullptr;
PyObject* default_device_mode = nullptr;

struct Arguments {
  PyObject* input = nullptr;
  PyObject* negative_slope = nullptr;  // null: the default
  PyObject* inplace = nullptr;         // likewise
};

// False if the arguments are not what the signature says; the fallback then finds the words for it.
bool Parse(PyObject* const* args, Py_ssize_t nargs, PyObject* names, Arguments* result) {
  PyObject** const slots[] = {&result->input, &result->negative_slope, &result->inplace};
  if (nargs > 3) return false;
  for (Py_ssize_t i = 0; i < nargs; ++i) *slots[i] = args[i];
  const Py_ssize_t named = names != nullptr ? PyTuple_GET_SIZE(names) : 0;
  for (Py_ssize_t i = 0; i < named; ++i) {
    PyObject* name = PyTuple_GET_ITEM(names, i);
    PyObject** slot = PyUnicode_CompareWithASCIIString(name, "negative_slope") == 0 ? slots[1]
                      : PyUnicode_CompareWithASCIIString(name, "inplace") == 0      ? slots[2]
                      : PyUnicode_CompareWithASCIIString(name, "input") == 0        ? slots[0]
                                                                                    : nullptr;
    if (slot == nullptr || *slot != nullptr) return false;
    *slot = args[nargs + i];
  }
  return result->input != nullptr;
}

// Exact floats, and ints that are exact as such; everything else that torch takes for a number is left to torch.
std::optional<double> Number(PyObject* object) {
  if (object == nullptr) return 0.01;
  if (PyFloat_CheckExact(object)) return PyFloat_AS_DOUBLE(object);
  if (!PyLong_CheckExact(object)) return std::nullopt;
  int overflow = 0;
  const long long value = PyLong_AsLongLongAndOverflow(object, &overflow);
  constexpr long long kLargest = 1LL << 53;
  if (overflow != 0 || value < -kLargest || value > kLargest) return std::nullopt;
  return static_cast<double>(value);
}

// Whether torch's functions go to a mode's first. The one that sets a default device does not count: it concerns
// functions that make tensors of nothing.
bool IsModeActive() {
  using Modes = at::impl::PythonTorchFunctionTLS;
  if (!at::impl::torch_function_mode_enabled()) return false;
  for (int64_t i = 0; i < Modes::stack_len(); ++i) {
    PyObject* const mode = Modes::get_stack_at(i)->ptr(getPyInterpreter());
    if (reinterpret_cast<PyObject*>(Py_TYPE(mode)) != default_device_mode) return true;
  }
  return false;
}

bool IsObserved() { return at::getStepCallbacksUnlessEmpty(at::RecordScope::FUNCTION).has_value(); }

// By way of the dispatcher where a profiler listens, so that it sees the call.
at::Tensor Recorded(const at::Tensor& input, double slope) {
  if (!IsObserved()) return EagerLeakyRelu(input, slope);
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("leakyrelu::leaky_relu", "")
                             .typed<at::Tensor(const at::Tensor&, const at::Scalar&)>();
  return op.call(input, slope);
}

void RecordedInPlace(const at::Tensor& input, double slope) {
  if (!IsObserved()) return EagerLeakyReluInPlace(input, slope);
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("leakyrelu::leaky_relu_", "")
                             .typed<at::Tensor&(at::Tensor&, const at::Scalar&)>();
  at::Tensor self = input;
  op.call(self, slope);
}

// Calls function(input) without the GIL, where that is worth it.
template <class Function>
auto Call(const at::Tensor& input, Function function) {
  if (input.numel() < kGilElements && input.is_cpu()) return function(input);
  // While Python's object has one more reference, torch adds and drops its own without the GIL, which it would take.
  const at::Tensor kept = input;  // NOLINT(performance-unnecessary-copy-initialization): the copy is the reference
  const WithoutGil release;
  return function(kept);
}

// torch's translation asks for memory, and throws where there is none.
void Translate(const std::exception_ptr& exception) {
  try {
    torch::translate_exception_to_python(exception);
  } catch (const std::exception&) {
    PyErr_NoMemory();
  }
}

PyObject* LeakyRelu(PyObject* /*module*/, PyObject* const* args, Py_ssize_t nargs, PyObject* names) {
  // Not HANDLE_TH_ERRORS, which makes Python's warnings of C++'s: that takes 50 ns, and nothing here warns.
  try {
    Arguments arguments;
    if (Parse(args, nargs, names, &arguments) && THPVariable_CheckExact(arguments.input) &&
        (arguments.inplace == nullptr || PyBool_Check(arguments.inplace)) && !IsModeActive()) {
      const std::optional<double> slope = Number(arguments.negative_slope);
      const at::Tensor& input = THPVariable_Unpack(arguments.input);
      if (slope && arguments.inplace != Py_True && CanTake(input)) {
        return THPVariable_Wrap(Call(input, [&](const at::Tensor& x) { return Recorded(x, *slope); }));
      }
      if (slope && arguments.inplace == Py_True && CanTakeInPlace(input)) {
        Call(input, [&](const at::Tensor& x) { RecordedInPlace(x, *slope); });
        return Py_NewRef(arguments.input);
      }
    }
  } catch (const std::exception&) {  // all that torch throws; not the end of a thread, see gil.h
    Translate(std::current_exception());
    return nullptr;
  }
  return PyObject_Vectorcall(fallback, args, static_cast<size_t>(nargs), names);
}

PyObject* SetFallback(PyObject* /*module*/, PyObject* function) {
  Py_XSETREF(fallback, Py_NewRef(function));
  Py_RETURN_NONE;
}

PyObject* SetDefaultDeviceMode(PyObject* /*module*/, PyObject* mode) {
  Py_XSETREF(default_device_mode, Py_NewRef(mode));
  Py_RETURN_NONE;
}

PyMethodDef methods[] = {
    {"leaky_relu", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(LeakyRelu)),
     METH_FASTCALL | METH_KEYWORDS,
     "leaky_relu(input, negative_slope=0.01, inplace=False)\n--\n\nSee leakyrelu.torch.leaky_relu."},
    {"set_fallback", SetFallback, METH_O, "Sets the function that takes what leaky_relu does not."},
    {"set_default_device_mode", SetDefaultDeviceMode, METH_O, "Sets the class of the mode that leaky_relu may ignore."},
    {nullptr, nullptr, 0, nullptr},
};

PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "leakyrelu._torch", nullptr, -1, methods, nullptr, nullptr, nullptr, nullptr};

// The Python type of a result's grad_fn; without one it would be the nameless CppFunction.
PyObject* MakeNodeType(PyTypeObject& type, const char* name, const std::type_info& node) {
  torch::autograd::_initFunctionPyTypeObject(type, name, /*function_properties=*/nullptr,
                                             /*function_methods=*/nullptr);
  torch::autograd::registerCppFunction(node, &type);
  return reinterpret_cast<PyObject*>(&type);
}

PyTypeObject mask_node_type = {PyVarObject_HEAD_INIT(nullptr, 0)};
PyTypeObject fused_node_type = {PyVarObject_HEAD_INIT(nullptr, 0)};

}  // namespace
}  // namespace leakyrelu::tensors

// NOLINTNEXTLINE(bugprone-reserved-identifier): the name that Python looks for
PyMODINIT_FUNC PyInit__torch() {
  PyObject* module = PyModule_Create(&leakyrelu::tensors::definition);
  if (module == nullptr) return nullptr;
  using namespace leakyrelu::tensors;
  const auto add_node = [module](PyTypeObject& type, const char* name, const std::type_info& node) {
    return PyModule_AddObjectRef(module, name, MakeNodeType(type, name, node)) == 0;
  };
  if (!add_node(mask_node_type, "LeakyReluMaskBackward", NodeType()) ||
      !add_node(fused_node_type, "FusedLeakyReluBackward", FusedNodeType()) ||
      PyModule_AddObjectRef(module, "HAS_CUDA", leakyrelu::tensors::HasCuda() ? Py_True : Py_False) != 0) {
    Py_DECREF(module);
    return nullptr;
  }
  return module;
}
