// Linux. What the machine has is read from its files, which containers and virtual machines show as well.

#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <fstream>
#include <new>
#include <optional>
#include <string>

#include "system.h"

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

// Whatever is unloaded, the code of the library's threads stays. (A program that holds the library is never unloaded.)
void PinLibrary() {
  Dl_info info;
  if (dladdr(reinterpret_cast<void*>(&PinLibrary), &info) != 0) {
    dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE);
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

bool StartThread(void (*body)(void* context), void* context) noexcept {
  static const bool pinned = (PinLibrary(), true);
  struct Start {
    void (*body)(void*);
    void* context;
  };
  pthread_attr_t attributes;
  Start* const start = pinned ? new (std::nothrow) Start{body, context} : nullptr;
  if (start == nullptr || pthread_attr_init(&attributes) != 0) {
    delete start;
    return false;
  }
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);  // the thread inherits it
  pthread_t thread;
  const auto run = [](void* argument) -> void* {
    const Start own = *static_cast<Start*>(argument);
    delete static_cast<Start*>(argument);
    own.body(own.context);
    return nullptr;
  };
  const bool started = pthread_create(&thread, &attributes, run, start) == 0;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_attr_destroy(&attributes);
  if (!started) delete start;
  return started;
}

void AtForkInChild(void (*in_child)()) noexcept { pthread_atfork(nullptr, nullptr, in_child); }

}  // namespace leakyrelu
