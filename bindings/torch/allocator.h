// Where the memory of fresh tensors comes from.
#ifndef LEAKYRELU_BINDINGS_TORCH_ALLOCATOR_H_
#define LEAKYRELU_BINDINGS_TORCH_ALLOCATOR_H_

#include <c10/core/Allocator.h>

#include <cstddef>

namespace leakyrelu::tensors {

// leakyrelu_alloc for large tensors, torch's own for others, and for all if torch has been given another than the one
// it comes with.
c10::Allocator* AllocatorFor(size_t bytes);

}  // namespace leakyrelu::tensors

#endif  // LEAKYRELU_BINDINGS_TORCH_ALLOCATOR_H_
