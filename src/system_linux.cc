// Linux. What the machine has is read from its files, which containers and virtual machines show as well.

#include "system_linux.h"

#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <optional>
#include <string>

#include "system.h"

namespace leakyrelu {
namespace {

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

// Calls visit(directory) for a control group of the process that has the controller, and for those that hold it: the
// directories below `root` with the group's files. A container may not see all of them; then what it sees counts.
template <class Visit>
void ForEachGroup(const std::string& root, const std::string& controller, Visit visit) {
  // Lines "0::/path" (version 2) and "4:cpu,cpuacct:/path" (version 1, each controller in a hierarchy of its own).
  std::ifstream groups(root + "/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const size_t controllers = line.find(':') + 1;
    const size_t path = line.find(':', controllers) + 1;
    if (controllers == 0 || path == 0) continue;
    const std::string names = std::string(",").append(line, controllers, path - controllers - 1).append(",");
    std::string mount = root + "/sys/fs/cgroup/";
    if (names != ",,") {
      if (names.find(std::string(",").append(controller).append(",")) == std::string::npos) continue;
      mount.append(controller).append("/");
    }
    std::string group = line.substr(path);
    while (true) {
      visit(mount + group + "/");
      if (group.empty()) break;
      group.erase(std::min(group.rfind('/'), group.size() - 1));
    }
  }
}

// Never throws: `usual` where there is no memory to find it out.
template <class Function, class Number>
Number OrUsual(Function find, Number usual) noexcept {
  try {
    return find("");
  } catch (...) {
    return usual;
  }
}

// The processors of the affinity mask, however many the machine has.
int32_t CountAffinity() {
  for (int most = 1024;; most *= 2) {
    cpu_set_t* const set = CPU_ALLOC(static_cast<size_t>(most));
    if (set == nullptr) return 1;
    const size_t bytes = CPU_ALLOC_SIZE(static_cast<size_t>(most));
    const bool fits = sched_getaffinity(0, bytes, set) == 0;
    const int count = fits ? CPU_COUNT_S(bytes, set) : 0;
    CPU_FREE(set);
    if (fits || most >= 1 << 20) return std::max(1, count);
  }
}

std::atomic<int32_t> cores{0};  // 0: not found yet

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
  const auto take = [&bytes](const std::string& file) { bytes = std::min(bytes, ReadBytes(file).value_or(bytes)); };
  ForEachGroup(root, "memory", [&take](const std::string& group) {
    take(group + "memory.max");
    take(group + "memory.limit_in_bytes");
  });
  return bytes;
}

int32_t FindCores(const std::string& root) {
  int64_t cores = CountAffinity();
  ForEachGroup(root, "cpu", [&cores](const std::string& group) {
    int64_t quota = 0;   // CPU time, in microseconds,
    int64_t period = 0;  // in each period, likewise
    if (std::ifstream(group + "cpu.max") >> quota >> period ||
        (std::ifstream(group + "cpu.cfs_quota_us") >> quota && std::ifstream(group + "cpu.cfs_period_us") >> period)) {
      if (quota > 0 && period > 0) cores = std::min(cores, std::max<int64_t>(1, (quota - 1) / period + 1));
    }
  });
  return static_cast<int32_t>(cores);
}

int64_t CacheBytes() noexcept {
  static const int64_t bytes = OrUsual(FindCacheBytes, kUsualCacheBytes);
  return bytes;
}

int64_t MemoryBytes() noexcept {
  static const int64_t bytes = OrUsual(FindMemoryBytes, kUsualCacheBytes);
  return bytes;
}

int32_t Cores() noexcept {
  static const bool forks = (AtForkInChild([] { cores.store(0, std::memory_order_relaxed); }), true);
  int32_t found = cores.load(std::memory_order_relaxed);
  if (forks && found == 0) {
    found = OrUsual(FindCores, 1);
    cores.store(found, std::memory_order_relaxed);
  }
  return found;
}

}  // namespace leakyrelu
