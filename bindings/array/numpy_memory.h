// Memory for NumPy arrays from leakyrelu_alloc.
#ifndef LEAKYRELU_BINDINGS_ARRAY_NUMPY_MEMORY_H_
#define LEAKYRELU_BINDINGS_ARRAY_NUMPY_MEMORY_H_

#include <nanobind/nanobind.h>

namespace leakyrelu {

// Returns make(); arrays that it makes have memory from leakyrelu_alloc and own it, as they own NumPy's. Where somebody
// has set another handler of NumPy's memory, that one serves.
nanobind::object WithLibraryMemory(const nanobind::callable& make);

// Before any call of the above. Throws ImportError where NumPy is not what this was built for.
void ImportNumpy();

}  // namespace leakyrelu

#endif  // LEAKYRELU_BINDINGS_ARRAY_NUMPY_MEMORY_H_
