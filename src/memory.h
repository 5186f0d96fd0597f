// Large buffers: on huge pages, and kept for reuse instead of going back to the kernel. The functions are
// leakyrelu_alloc and those below it in leakyrelu.h.
//
// A fresh large output costs more in page faults than in arithmetic, and the C library gives large buffers back to the
// kernel at once. What is kept here is bounded (see leakyrelu_set_cache_limit) and goes back when nothing has used it
// for a while, before a fork() and when the kernel refuses memory.
#ifndef LEAKYRELU_SRC_MEMORY_H_
#define LEAKYRELU_SRC_MEMORY_H_

#include <cstddef>

#include "leakyrelu/leakyrelu.h"

namespace leakyrelu {

// Smaller buffers are the C library's: glibc maps and unmaps anew from here on and reuses what is below. Tests set it
// lower, so that they need less memory.
inline constexpr size_t kLargeBytes = size_t{32} << 20;
void SetLargeBytes(size_t bytes);

// How long an unused buffer is kept, at least; at most twice as long.
inline constexpr int kIdleSeconds = 5;

// Of a buffer from leakyrelu_alloc: at least as many bytes as were asked for.
size_t AllocatedBytes(void* memory);

}  // namespace leakyrelu

#endif  // LEAKYRELU_SRC_MEMORY_H_
