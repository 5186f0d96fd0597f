// Large buffers: on huge pages, and kept for reuse instead of going back to the system. The functions are
// leakyrelu_alloc and those below it in leakyrelu.h.
//
// A fresh large output costs more in page faults than in arithmetic, and the C library gives large buffers back to the
// system at once. What is kept here is bounded (see leakyrelu_set_cache_limit) and lent to the system meanwhile, which
// takes it when it is short of memory. It goes back for good at the next call when nothing has used it for a while,
// before a fork() and when the system refuses memory.
#ifndef LEAKYRELU_SRC_MEMORY_H_
#define LEAKYRELU_SRC_MEMORY_H_

#include <cstddef>

#include "leakyrelu/leakyrelu.h"

namespace leakyrelu {

// Smaller buffers are the C library's: glibc maps and unmaps anew from here on, and mostly reuses what is below. Tests
// set it lower, so that they need less memory.
inline constexpr size_t kLargeBytes = size_t{32} << 20;
void SetLargeBytes(size_t bytes);

// A buffer that has been kept unused for longer goes back at the next call.
inline constexpr int kIdleSeconds = 5;

}  // namespace leakyrelu

#endif  // LEAKYRELU_SRC_MEMORY_H_
