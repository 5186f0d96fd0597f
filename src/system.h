// All that differs between operating systems: what a process may use of the machine, pages, threads, fork. One file for
// each system implements it, with system_posix.cc for what Linux and macOS have in common.
#ifndef LEAKYRELU_SRC_SYSTEM_H_
#define LEAKYRELU_SRC_SYSTEM_H_

#include <cstddef>
#include <cstdint>

namespace leakyrelu {

// ---- The machine. Each number is found once; none of these throws.

// Bytes of the last-level cache that a core shares; kUsualCacheBytes if the machine does not tell.
int64_t CacheBytes() noexcept;
inline constexpr int64_t kUsualCacheBytes = int64_t{32} << 20;

// Bytes of memory that this process may use: the machine's, or less by control groups, a job object or RLIMIT_AS.
int64_t MemoryBytes() noexcept;

// Processors that this process may keep busy: those of its affinity, or less by the quota of CPU time of a control
// group or a job object, rounded up. At least 1. Found anew in a child of fork(), which may set an affinity of its own.
int32_t Cores() noexcept;

// ---- Pages: memory that does not come from the C library

inline constexpr size_t kHugePage = size_t{2} << 20;
inline constexpr size_t kBytesBeforePages = size_t{64} << 10;  // no system has larger ordinary pages

// Zeros at a multiple of kHugePage: `bytes` of them, on huge pages as far as the system has them and `bytes` fills
// them, and kBytesBeforePages before those that are on ordinary ones. Null if the system refuses. `bytes`: a multiple
// of kBytesBeforePages.
void* MapPages(size_t bytes) noexcept;

// Gives all of it back. `bytes`: as it was mapped, here and below.
void UnmapPages(void* memory, size_t bytes) noexcept;

// Lends the system the `bytes`, but not those before: whenever it is short of memory it takes them, and what they hold
// is lost. False if it would not take them, for they are locked or it does not know how.
bool LendPages(void* memory, size_t bytes) noexcept;

// Before lent pages are written to again, which ends the loan page by page.
void ReclaimPages(void* memory, size_t bytes) noexcept;

// ---- Threads and processes

// Runs body(context) on a new thread that takes no signals, which are for the program's own threads. False if the
// system refuses one. The library, or the plugin that holds it, stays loaded from then on: the thread may never end.
bool StartThread(void (*body)(void* context), void* context) noexcept;

// Calls `in_child` in the child of every fork() from now on. (Nothing where there is no fork.)
void AtForkInChild(void (*in_child)()) noexcept;

// Calls `before` and `after` around every fork() from now on, `after` in parent and child.
void AtFork(void (*before)(), void (*after)()) noexcept;

}  // namespace leakyrelu

#endif  // LEAKYRELU_SRC_SYSTEM_H_
