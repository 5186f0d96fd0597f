// macOS: what the machine has, by sysctl.

#include <sys/resource.h>
#include <sys/sysctl.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "system.h"

namespace leakyrelu {
namespace {

// The number of that name; 0 if there is none.
int64_t Ask(const char* name) {
  int64_t number = 0;  // little-endian: right too where the system writes 4 bytes
  size_t bytes = sizeof(number);
  return sysctlbyname(name, &number, &bytes, nullptr, 0) == 0 ? number : 0;
}

}  // namespace

// Apple's processors have no third level that a program is told of; of the second, each kind of core has its own.
int64_t CacheBytes() noexcept {
  static const int64_t bytes = [] {
    for (const char* name : {"hw.l3cachesize", "hw.perflevel0.l2cachesize", "hw.l2cachesize"}) {
      if (const int64_t size = Ask(name); size > 0) return size;
    }
    return kUsualCacheBytes;
  }();
  return bytes;
}

int64_t MemoryBytes() noexcept {
  static const int64_t bytes = [] {
    const int64_t all = std::max(Ask("hw.memsize"), kUsualCacheBytes);
    rlimit limit;
    if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur > static_cast<rlim_t>(all)) return all;
    return static_cast<int64_t>(limit.rlim_cur);
  }();
  return bytes;
}

// There is no affinity and no quota.
int32_t Cores() noexcept {
  static const auto cores = static_cast<int32_t>(std::max<int64_t>(1, Ask("hw.activecpu")));
  return cores;
}

}  // namespace leakyrelu
