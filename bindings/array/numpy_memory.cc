// NumPy asks a "data memory handler" for the memory of new arrays (NEP 49), each array remembers its own, and there is
// a current one for each context. https://numpy.org/doc/stable/reference/c-api/data_memory.html

#include "numpy_memory.h"

#include <algorithm>
#include <cstring>

#define NPY_NO_DEPRECATED_API NPY_1_22_API_VERSION
#define NPY_TARGET_VERSION NPY_1_22_API_VERSION
#include <numpy/arrayobject.h>

#include "leakyrelu/leakyrelu.h"
#include "memory.h"

namespace nb = nanobind;

namespace leakyrelu {
namespace {

void* Allocate(void* /*context*/, size_t bytes) { return leakyrelu_alloc(bytes); }

void* AllocateZeros(void* /*context*/, size_t elements, size_t bytes) {
  if (bytes != 0 && elements > PTRDIFF_MAX / bytes) return nullptr;
  void* memory = leakyrelu_alloc(elements * bytes);
  if (memory != nullptr) std::memset(memory, 0, elements * bytes);
  return memory;
}

// ndarray.resize
void* Reallocate(void* /*context*/, void* memory, size_t bytes) {
  void* moved = leakyrelu_alloc(bytes);
  if (moved == nullptr || memory == nullptr) return moved;
  std::memcpy(moved, memory, std::min(bytes, AllocatedBytes(memory)));
  leakyrelu_free(memory);
  return moved;
}

void Free(void* /*context*/, void* memory, size_t /*bytes*/) { leakyrelu_free(memory); }

PyDataMem_Handler handler = {"leakyrelu", 1, {nullptr, Allocate, AllocateZeros, Reallocate, Free}};

// Makes a handler the current one and restores the one before.
class CurrentHandler {
 public:
  explicit CurrentHandler(nb::handle capsule) : before_(nb::steal(PyDataMem_SetHandler(capsule.ptr()))) {
    if (!before_.is_valid()) throw nb::python_error();
  }
  ~CurrentHandler() {
    nb::error_scope error;  // of make(), which must not be lost
    Py_XDECREF(PyDataMem_SetHandler(before_.ptr()));
  }
  CurrentHandler(const CurrentHandler&) = delete;
  CurrentHandler& operator=(const CurrentHandler&) = delete;

 private:
  nb::object before_;
};

// Not one that somebody has set.
bool IsNumpysOwn(nb::handle capsule) {
  const auto* current = static_cast<PyDataMem_Handler*>(PyCapsule_GetPointer(capsule.ptr(), "mem_handler"));
  if (current == nullptr) throw nb::python_error();
  return std::strcmp(current->name, "default_allocator") == 0;
}

}  // namespace

nb::object WithLibraryMemory(const nb::callable& make) {
  const nb::object present = nb::steal(PyDataMem_GetHandler());
  if (!present.is_valid()) throw nb::python_error();
  if (!IsNumpysOwn(present)) return make();
  const CurrentHandler current(nb::steal(PyCapsule_New(&handler, "mem_handler", nullptr)));
  return make();
}

void ImportNumpy() {
  if (_import_array() < 0) throw nb::python_error();
}

}  // namespace leakyrelu
