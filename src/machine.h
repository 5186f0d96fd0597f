// What the machine tells of itself.
#ifndef LEAKYRELU_SRC_MACHINE_H_
#define LEAKYRELU_SRC_MACHINE_H_

#include <cstdint>
#include <string>

namespace leakyrelu {

// Bytes of the last-level cache that a core shares; 32 MiB if the machine does not tell.
int64_t CacheBytes();

// Bytes of memory that this process may use: the machine's, or less by control groups or RLIMIT_AS.
int64_t MemoryBytes();

// The same, read anew from files below `root` instead of those of the machine ("").
int64_t FindCacheBytes(const std::string& root);
int64_t FindMemoryBytes(const std::string& root);

}  // namespace leakyrelu

#endif  // LEAKYRELU_SRC_MACHINE_H_
