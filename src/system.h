// All that differs between operating systems: what a process may use of the machine, threads, fork. One file for each
// system implements it.
#ifndef LEAKYRELU_SRC_SYSTEM_H_
#define LEAKYRELU_SRC_SYSTEM_H_

#include <cstdint>
#include <string>

namespace leakyrelu {

// ---- The machine. Each number is found once; none of these throws.

// Bytes of the last-level cache that a core shares; 32 MiB if the machine does not tell.
int64_t CacheBytes() noexcept;

// Bytes of memory that this process may use: the machine's, or less by control groups or RLIMIT_AS.
int64_t MemoryBytes() noexcept;

// Processors that this process may keep busy: those of its affinity, or less by a control group's quota of CPU time,
// rounded up. At least 1. Found anew in a child of fork(), which may set an affinity of its own.
int32_t Cores() noexcept;

// The same, read anew from files below `root` instead of those of the machine ("").
int64_t FindCacheBytes(const std::string& root);
int64_t FindMemoryBytes(const std::string& root);
int32_t FindCores(const std::string& root);

// ---- Threads

// Runs body(context) on a new thread that takes no signals, which are for the program's own threads. False if the
// system refuses one. The library, or the plugin that holds it, stays loaded from then on: the thread may never end.
bool StartThread(void (*body)(void* context), void* context) noexcept;

// Calls `in_child` in the child of every fork() from now on.
void AtForkInChild(void (*in_child)()) noexcept;

}  // namespace leakyrelu

#endif  // LEAKYRELU_SRC_SYSTEM_H_
