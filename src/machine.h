// What the machine tells of itself.
#ifndef LEAKYRELU_SRC_MACHINE_H_
#define LEAKYRELU_SRC_MACHINE_H_

#include <cstdint>

namespace leakyrelu {

// Bytes of the last-level cache that a core shares; 32 MiB if the machine does not tell.
int64_t CacheBytes();

// Bytes of memory that this process may use: the machine's, or less by control groups or RLIMIT_AS.
int64_t MemoryBytes();

}  // namespace leakyrelu

#endif  // LEAKYRELU_SRC_MACHINE_H_
