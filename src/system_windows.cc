// Windows, from version 8 on.

#ifndef NOMINMAX
#define NOMINMAX
#endif
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <new>

#include "system.h"

namespace leakyrelu {
namespace {

constexpr DWORD kMinMaxRate = 0x10;  // JOB_OBJECT_CPU_RATE_CONTROL_MIN_MAX_RATE, which MinGW's headers lack

int64_t FindCacheBytes() {
  DWORD bytes = 0;
  GetLogicalProcessorInformationEx(RelationCache, nullptr, &bytes);
  std::byte* const list = new (std::nothrow) std::byte[bytes];
  if (list == nullptr) return kUsualCacheBytes;
  int level = 0;
  int64_t size = kUsualCacheBytes;
  if (GetLogicalProcessorInformationEx(RelationCache, reinterpret_cast<SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX*>(list),
                                       &bytes) != 0) {
    for (DWORD at = 0; at < bytes;) {
      const auto* const entry = reinterpret_cast<const SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX*>(list + at);
      if (entry->Cache.Level > level && entry->Cache.CacheSize > 0) {
        level = entry->Cache.Level;
        size = entry->Cache.CacheSize;
      }
      at += entry->Size;
    }
  }
  delete[] list;
  return size;
}

// What the process's job object says; all zeros where it is in none.
template <class Information>
Information AskJob(JOBOBJECTINFOCLASS kind) {
  Information information = {};
  if (QueryInformationJobObject(nullptr, kind, &information, sizeof(information), nullptr) == 0) return {};
  return information;
}

int64_t FindMemoryBytes() {
  MEMORYSTATUSEX status = {};
  status.dwLength = sizeof(status);
  if (GlobalMemoryStatusEx(&status) == 0) return kUsualCacheBytes;
  uint64_t bytes = std::min(status.ullTotalPhys, status.ullTotalVirtual);
  const auto job = AskJob<JOBOBJECT_EXTENDED_LIMIT_INFORMATION>(JobObjectExtendedLimitInformation);
  const DWORD limits = job.BasicLimitInformation.LimitFlags;
  if ((limits & JOB_OBJECT_LIMIT_PROCESS_MEMORY) != 0) bytes = std::min<uint64_t>(bytes, job.ProcessMemoryLimit);
  if ((limits & JOB_OBJECT_LIMIT_JOB_MEMORY) != 0) bytes = std::min<uint64_t>(bytes, job.JobMemoryLimit);
  return static_cast<int64_t>(bytes);
}

int32_t FindCores() {
  const auto all = static_cast<int64_t>(GetActiveProcessorCount(ALL_PROCESSOR_GROUPS));
  DWORD_PTR mine = 0;
  DWORD_PTR machine = 0;
  // Both masks are 0 for a process in several groups, each of which has up to 64 processors.
  GetProcessAffinityMask(GetCurrentProcess(), &mine, &machine);
  int64_t cores = mine != 0 ? std::popcount(mine) : all;
  const auto job = AskJob<JOBOBJECT_CPU_RATE_CONTROL_INFORMATION>(JobObjectCpuRateControlInformation);
  if ((job.ControlFlags & JOB_OBJECT_CPU_RATE_CONTROL_ENABLE) != 0) {
    int64_t rate = 0;  // of all processors' time, in ten thousandths
    if ((job.ControlFlags & JOB_OBJECT_CPU_RATE_CONTROL_HARD_CAP) != 0) rate = job.CpuRate;
    if ((job.ControlFlags & kMinMaxRate) != 0) rate = job.CpuRate >> 16;  // where MaxRate lies
    if (rate > 0) cores = std::min(cores, (all * rate + 9999) / 10000);
  }
  return static_cast<int32_t>(std::max<int64_t>(1, cores));
}

// Whatever is unloaded, the code of the library's threads stays.
bool PinLibrary() {
  HMODULE module = nullptr;
  return GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_PIN | GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS,
                            reinterpret_cast<LPCWSTR>(&PinLibrary), &module) != 0;
}

struct Start {
  void (*body)(void*);
  void* context;
};

DWORD WINAPI RunThread(void* argument) {
  const Start own = *static_cast<Start*>(argument);
  delete static_cast<Start*>(argument);
  own.body(own.context);
  return 0;
}

}  // namespace

int64_t CacheBytes() noexcept {
  static const int64_t bytes = FindCacheBytes();
  return bytes;
}

int64_t MemoryBytes() noexcept {
  static const int64_t bytes = FindMemoryBytes();
  return bytes;
}

int32_t Cores() noexcept {
  static const int32_t cores = FindCores();
  return cores;
}

// Reserved address space costs nothing, so what is not needed to align the buffer stays reserved. Huge pages would need
// a privilege that few have.
void* MapPages(size_t bytes) noexcept {
  void* const reserved = VirtualAlloc(nullptr, kBytesBeforePages + bytes + kHugePage, MEM_RESERVE, PAGE_NOACCESS);
  if (reserved == nullptr) return nullptr;
  std::byte* const first = static_cast<std::byte*>(reserved) + kBytesBeforePages;
  std::byte* const memory = first + (kHugePage - reinterpret_cast<uintptr_t>(first) % kHugePage);
  if (VirtualAlloc(memory - kBytesBeforePages, kBytesBeforePages + bytes, MEM_COMMIT, PAGE_READWRITE) != nullptr) {
    return memory;
  }
  VirtualFree(reserved, 0, MEM_RELEASE);
  return nullptr;
}

void UnmapPages(void* memory, size_t /*bytes*/) noexcept {
  MEMORY_BASIC_INFORMATION information;
  if (VirtualQuery(memory, &information, sizeof(information)) != 0) {
    VirtualFree(information.AllocationBase, 0, MEM_RELEASE);
  }
}

bool LendPages(void* memory, size_t bytes) noexcept {
  return VirtualAlloc(memory, bytes, MEM_RESET, PAGE_READWRITE) != nullptr;
}

void ReclaimPages(void* /*memory*/, size_t /*bytes*/) noexcept {}

bool StartThread(void (*body)(void* context), void* context) noexcept {
  static const bool is_pinned = PinLibrary();
  Start* const start = is_pinned ? new (std::nothrow) Start{body, context} : nullptr;
  if (start == nullptr) return false;
  const HANDLE thread = CreateThread(nullptr, 0, RunThread, start, 0, nullptr);
  if (thread == nullptr) {
    delete start;
    return false;
  }
  CloseHandle(thread);
  return true;
}

void AtForkInChild(void (* /*in_child*/)()) noexcept {}

void AtFork(void (* /*before*/)(), void (* /*after*/)()) noexcept {}

}  // namespace leakyrelu
