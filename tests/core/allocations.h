// Counts what a program asks memory for, and refuses it what a test wants refused. Include this in one file of a
// program, last: it replaces malloc and its kin, or where that cannot be (sanitizers, other C libraries) operator new.
#ifndef LEAKYRELU_TESTS_CORE_ALLOCATIONS_H_
#define LEAKYRELU_TESTS_CORE_ALLOCATIONS_H_

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <new>

#include "sanitizers.h"

namespace allocations {

inline constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

inline std::atomic<int64_t> asked{0};               // requests since Refuse
inline std::atomic<int64_t> first_refused{kNever};  // of these
inline std::atomic<int64_t> last_refused{kNever};
inline std::atomic<int64_t> live{0};  // given and not given back

// From here on the `n`-th request of any thread is refused and all that follow, or it alone. The first one is 1.
inline void Refuse(int64_t n, bool only_that) {
  asked = 0;
  last_refused = only_that ? n : kNever;
  first_refused = n;
}

// Ends that. Returns how many requests there have been.
inline int64_t Allow() {
  first_refused = kNever;
  return asked;
}

inline bool IsRefused() {
  const int64_t number = ++asked;
  return number >= first_refused && number <= last_refused;
}

#if defined(LEAKYRELU_TESTS_ASAN) || defined(LEAKYRELU_TESTS_TSAN) || !defined(__GLIBC__)
#define LEAKYRELU_TESTS_FOREIGN_MALLOC 1
inline constexpr bool kCountsMalloc = false;
#else
inline constexpr bool kCountsMalloc = true;
#endif

}  // namespace allocations

#if defined(LEAKYRELU_TESTS_FOREIGN_MALLOC)

void* operator new(size_t bytes) {
  void* const memory = allocations::IsRefused() ? nullptr : std::malloc(bytes);
  if (memory == nullptr) throw std::bad_alloc();
  ++allocations::live;
  return memory;
}
void* operator new(size_t bytes, const std::nothrow_t& /*tag*/) noexcept {
  void* const memory = allocations::IsRefused() ? nullptr : std::malloc(bytes);
  if (memory != nullptr) ++allocations::live;
  return memory;
}
void operator delete(void* memory) noexcept {
  if (memory != nullptr) --allocations::live;
  std::free(memory);
}
void operator delete(void* memory, size_t) noexcept { operator delete(memory); }

#else

extern "C" {
void* __libc_malloc(size_t bytes);
void* __libc_calloc(size_t count, size_t bytes);
void* __libc_realloc(void* memory, size_t bytes);
void* __libc_memalign(size_t alignment, size_t bytes);
void __libc_free(void* memory);
}

namespace allocations {

// What give() gives, unless that is refused.
template <class Give>
void* Asked(Give give) {
  void* const memory = IsRefused() ? nullptr : give();
  if (memory != nullptr) {
    ++live;
  } else {
    errno = ENOMEM;
  }
  return memory;
}

}  // namespace allocations

extern "C" {
void* malloc(size_t bytes) {
  return allocations::Asked([=] { return __libc_malloc(bytes); });
}
void* calloc(size_t count, size_t bytes) {
  return allocations::Asked([=] { return __libc_calloc(count, bytes); });
}
void* realloc(void* memory, size_t bytes) {
  if (memory == nullptr) return malloc(bytes);
  if (allocations::IsRefused()) {
    errno = ENOMEM;
    return nullptr;
  }
  return __libc_realloc(memory, bytes);
}
void* memalign(size_t alignment, size_t bytes) {
  return allocations::Asked([=] { return __libc_memalign(alignment, bytes); });
}
void* aligned_alloc(size_t alignment, size_t bytes) { return memalign(alignment, bytes); }
int posix_memalign(void** memory, size_t alignment, size_t bytes) {
  void* const given = memalign(alignment, bytes);
  if (given == nullptr) return ENOMEM;
  *memory = given;
  return 0;
}
void free(void* memory) {
  if (memory != nullptr) --allocations::live;
  __libc_free(memory);
}
}

#endif

#endif  // LEAKYRELU_TESTS_CORE_ALLOCATIONS_H_
