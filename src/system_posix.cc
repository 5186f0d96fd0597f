// What Linux and macOS have in common: pages, threads, fork.

#include <dlfcn.h>
#include <pthread.h>
#include <sys/mman.h>

#include <csignal>
#include <cstddef>
#include <cstdint>
#include <new>

#include "system.h"

namespace leakyrelu {
namespace {

// Whatever is unloaded, the code of the library's threads stays. (A program that holds the library is never unloaded.)
void PinLibrary() {
  Dl_info info;
  if (dladdr(reinterpret_cast<void*>(&PinLibrary), &info) != 0) {
    dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE);
  }
}

}  // namespace

// The mapping begins where the bytes before do, and ends where the last byte does, so that a buffer takes no more
// memory than it needs: what does not fill a huge page lies on ordinary ones.
void* MapPages(size_t bytes) noexcept {
  const size_t length = kBytesBeforePages + bytes;
  void* const reserved = mmap(nullptr, length + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (reserved == MAP_FAILED) return nullptr;
  std::byte* const first = static_cast<std::byte*>(reserved);
  const size_t skipped = kHugePage - (reinterpret_cast<uintptr_t>(first) + kBytesBeforePages) % kHugePage;
  std::byte* const base = first + skipped;
  munmap(first, skipped);
  if (skipped < kHugePage) munmap(base + length, kHugePage - skipped);
#ifdef MADV_HUGEPAGE
  madvise(base, length, MADV_HUGEPAGE);  // a kernel that refuses gives ordinary pages
#endif
  return base + kBytesBeforePages;
}

void UnmapPages(void* memory, size_t bytes) noexcept {
  munmap(static_cast<std::byte*>(memory) - kBytesBeforePages, kBytesBeforePages + bytes);
}

// macOS counts what it was lent by MADV_FREE as the process's own, but not what it was lent as reusable.
bool LendPages(void* memory, size_t bytes) noexcept {
#ifdef MADV_FREE_REUSABLE
  return madvise(memory, bytes, MADV_FREE_REUSABLE) == 0;
#else
  return madvise(memory, bytes, MADV_FREE) == 0;
#endif
}

void ReclaimPages([[maybe_unused]] void* memory, [[maybe_unused]] size_t bytes) noexcept {
#ifdef MADV_FREE_REUSE
  madvise(memory, bytes, MADV_FREE_REUSE);
#endif
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

void AtFork(void (*before)(), void (*after)()) noexcept { pthread_atfork(before, after, after); }

}  // namespace leakyrelu
