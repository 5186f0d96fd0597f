// What system_linux.cc reads of a machine, for tests with files of other machines.
#ifndef LEAKYRELU_SRC_SYSTEM_LINUX_H_
#define LEAKYRELU_SRC_SYSTEM_LINUX_H_

#include <cstdint>
#include <string>

namespace leakyrelu {

// CacheBytes, MemoryBytes and Cores, read anew from files below `root` instead of those of the machine ("").
int64_t FindCacheBytes(const std::string& root);
int64_t FindMemoryBytes(const std::string& root);
int32_t FindCores(const std::string& root);

}  // namespace leakyrelu

#endif  // LEAKYRELU_SRC_SYSTEM_LINUX_H_
