// Read from Linux's files, which containers and virtual machines show as well. Each number is read once.

#include "machine.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <optional>
#include <string>

namespace leakyrelu {
namespace {

constexpr int64_t kUsualCacheBytes = int64_t{32} << 20;

// The number at the beginning of a file, with the K or M behind it. None for a file that is not there or says "max".
std::optional<int64_t> ReadBytes(const std::string& path) {
  std::ifstream file(path);
  int64_t number = 0;
  if (!(file >> number)) return std::nullopt;
  switch (file.get()) {
    case 'K':
      return number << 10;
    case 'M':
      return number << 20;
    default:
      return number;
  }
}

// The least of the limits of a control group and those that hold it. `group` is its path below `mount`, which may name
// directories that a container does not see; then what it sees counts.
int64_t LeastLimit(const std::string& mount, std::string group, const std::string& file) {
  int64_t least = std::numeric_limits<int64_t>::max();
  while (true) {
    std::string path = mount;
    path.append(group).append("/").append(file);
    least = std::min(least, ReadBytes(path).value_or(least));
    if (group.empty()) return least;
    group.erase(std::min(group.rfind('/'), group.size() - 1));
  }
}

}  // namespace

// Not sysconf(_SC_LEVEL3_CACHE_SIZE), which for AMD counts the caches that other cores have to themselves.
int64_t FindCacheBytes(const std::string& root) {
  int64_t level = 0;
  int64_t bytes = kUsualCacheBytes;
  for (int i = 0;; ++i) {
    const std::string index = root + "/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(i);
    const int64_t this_level = ReadBytes(index + "/level").value_or(0);
    if (this_level == 0) return bytes;
    const int64_t size = ReadBytes(index + "/size").value_or(0);
    if (this_level > level && size > 0) {
      level = this_level;
      bytes = size;
    }
  }
}

int64_t FindMemoryBytes(const std::string& root) {
  int64_t bytes = static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
  rlimit limit;
  if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur < static_cast<rlim_t>(bytes)) {
    bytes = static_cast<int64_t>(limit.rlim_cur);
  }
  // Lines "0::/path" (version 2) and "9:memory:/path" (version 1; memory has a hierarchy of its own there).
  std::ifstream groups(root + "/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const size_t controllers = line.find(':') + 1;
    const size_t path = line.find(':', controllers) + 1;
    if (controllers == 0 || path == 0) continue;
    const std::string names = line.substr(controllers, path - 1 - controllers);
    std::string group = line.substr(path);
    if (group == "/") group.clear();
    if (names.empty()) {
      bytes = std::min(bytes, LeastLimit(root + "/sys/fs/cgroup", group, "memory.max"));
    } else if (names == "memory") {
      bytes = std::min(bytes, LeastLimit(root + "/sys/fs/cgroup/memory", group, "memory.limit_in_bytes"));
    }
  }
  return bytes;
}

int64_t CacheBytes() {
  static const int64_t bytes = FindCacheBytes("");
  return bytes;
}

int64_t MemoryBytes() {
  static const int64_t bytes = FindMemoryBytes("");
  return bytes;
}

}  // namespace leakyrelu
