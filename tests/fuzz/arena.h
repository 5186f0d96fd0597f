// The memory that fuzzed calls are about.
#ifndef LEAKYRELU_TESTS_FUZZ_ARENA_H_
#define LEAKYRELU_TESTS_FUZZ_ARENA_H_

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define LEAKYRELU_FUZZ_ASAN
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define LEAKYRELU_FUZZ_ASAN
#endif
#ifdef LEAKYRELU_FUZZ_ASAN
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, bytes) static_cast<void>(0)
#define ASAN_UNPOISON_MEMORY_REGION(address, bytes) static_cast<void>(0)
#endif

namespace fuzz {

__extension__ using Wide = __int128;

inline constexpr int64_t kLeast = std::numeric_limits<int64_t>::min();
inline constexpr int64_t kMost = std::numeric_limits<int64_t>::max();

// All memory that calls may name. Large calls, which threads share, have all of it, the others its beginning.
inline constexpr int64_t kArenaBytes = 640 << 10;
inline constexpr int64_t kSmallArenaBytes = 8192;
inline constexpr int64_t kMaxElements = 80'000;
inline constexpr int64_t kSmallMaxElements = 2048;
alignas(64) inline uint8_t arena[kArenaBytes];

inline void Require(bool is_right, const char* what, int64_t detail = 0) {
  if (is_right) return;
  std::fprintf(stderr, "fuzz: %s (%lld)\n", what, static_cast<long long>(detail));
  std::abort();
}

}  // namespace fuzz

#endif  // LEAKYRELU_TESTS_FUZZ_ARENA_H_
