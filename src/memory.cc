// A list of kept buffers behind one lock.

#include "memory.h"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <system_error>
#include <utility>

#include "system.h"

namespace leakyrelu {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kSizeStep = size_t{64} << 10;  // of large buffers, so that one serves for slightly different sizes
constexpr int64_t kKeptOfLargest = 2;           // as many of the largest buffer
constexpr int64_t kMaxLimit = int64_t{1} << 30;
constexpr int64_t kLimitShare = 8;  // of the memory that the process may use

// Right before each buffer.
struct alignas(64) Header {
  size_t bytes;             // of the buffer
  void* block;              // of the C library, that holds a small buffer; null for one on pages of its own
  Header* next;             // of a kept buffer: the one freed before it
  Clock::time_point freed;  // when it was
};
static_assert(sizeof(Header) <= kBytesBeforePages);

Header* HeaderOf(void* memory) { return static_cast<Header*>(memory) - 1; }

void* AllocatePlain(size_t bytes) {
  void* const block = std::malloc(bytes + 2 * sizeof(Header));
  if (block == nullptr) return nullptr;
  const size_t unaligned = reinterpret_cast<uintptr_t>(block) % alignof(Header);
  Header* const header = reinterpret_cast<Header*>(static_cast<std::byte*>(block) + sizeof(Header) - unaligned);
  return new (header) Header{bytes, block, nullptr, {}} + 1;
}

int64_t DefaultLimit() {
  if (const char* text = std::getenv("LEAKYRELU_CACHE_LIMIT")) {
    int64_t bytes = 0;
    const char* const end = text + std::strlen(text);
    const auto [rest, error] = std::from_chars(text, end, bytes);
    if (rest == end && error == std::errc() && bytes >= 0) return bytes;
  }
  return std::min(kMaxLimit, MemoryBytes() / kLimitShare);
}

// All but large_bytes is the mutex's.
struct Cache {
  std::mutex mutex;
  Header* newest = nullptr;  // kept buffer
  int64_t cached = 0;        // bytes of those kept
  int64_t in_use = 0;
  int64_t peak = 0;     // of in_use
  int64_t largest = 0;  // buffer that was in use
  int64_t reused = 0;
  int64_t fresh = 0;
  const int64_t default_limit = DefaultLimit();
  int64_t limit = default_limit;
  std::atomic<size_t> large_bytes = kLargeBytes;

  // The smallest kept buffer of `bytes` or up to an eighth more. Of equals the one freed last, which a processor's
  // cache is likeliest to hold.
  Header* Take(size_t bytes) {
    Header** best = nullptr;
    for (Header** link = &newest; *link != nullptr; link = &(*link)->next) {
      const size_t size = (*link)->bytes;
      if (size >= bytes && size - bytes <= bytes / 8 && (best == nullptr || size < (*best)->bytes)) best = link;
    }
    if (best == nullptr) return nullptr;
    Header* const taken = std::exchange(*best, (*best)->next);
    cached -= static_cast<int64_t>(taken->bytes);
    ReclaimPages(taken + 1, taken->bytes);
    ++reused;
    return taken;
  }

  Header* MapFresh(size_t bytes) {
    void* memory = MapPages(bytes);
    if (memory == nullptr) {
      Trim(0);
      memory = MapPages(bytes);
    }
    if (memory == nullptr) return nullptr;
    ++fresh;
    return new (HeaderOf(memory)) Header{bytes, nullptr, nullptr, {}};
  }

  // Keeps the newest buffers: those that have been freed lately, in `room` bytes.
  void Trim(int64_t room) {
    const Clock::time_point expired = Clock::now() - std::chrono::seconds(kIdleSeconds);
    Header** link = &newest;
    for (cached = 0; *link != nullptr && (*link)->freed > expired; link = &(*link)->next) {
      const auto bytes = static_cast<int64_t>((*link)->bytes);
      if (bytes > room - cached) break;
      cached += bytes;
    }
    for (Header* older = std::exchange(*link, nullptr); older != nullptr;) {
      Header* const next = older->next;
      UnmapPages(older + 1, older->bytes);
      older = next;
    }
  }

  // Keeps no more than, with what is in use, was in use at once before, so that no process needs more memory than
  // without; and no more than a loop over one operation needs, forward and backward, since all else in the process has
  // no use for it.
  void Trim() { Trim(std::min({limit, peak - in_use, kKeptOfLargest * largest})); }
};

// A child would share what is kept with its parent until one of them writes to it, and then pay for a copy of what
// nobody needs.
void BeforeFork();
void AfterFork();

// Never destroyed: buffers are freed until the process has ended.
Cache& TheCache() noexcept {
  alignas(Cache) static std::byte storage[sizeof(Cache)];
  static Cache& cache = *new (storage) Cache;
  [[maybe_unused]] static const bool registered = (AtFork(BeforeFork, AfterFork), true);
  return cache;
}

void BeforeFork() {
  TheCache().mutex.lock();
  TheCache().Trim(0);
}

void AfterFork() { TheCache().mutex.unlock(); }

void* AllocateLarge(size_t bytes) {
  Cache& cache = TheCache();
  const std::lock_guard<std::mutex> lock(cache.mutex);
  if (cache.limit == 0) return nullptr;
  const size_t rounded = (bytes + kSizeStep - 1) / kSizeStep * kSizeStep;
  Header* buffer = cache.Take(rounded);
  if (buffer == nullptr) buffer = cache.MapFresh(rounded);
  if (buffer == nullptr) return nullptr;
  const auto taken = static_cast<int64_t>(buffer->bytes);
  cache.in_use += taken;
  cache.peak = std::max(cache.peak, cache.in_use);
  cache.largest = std::max(cache.largest, taken);
  cache.Trim();
  return buffer + 1;
}

void FreeLarge(void* memory) {
  Cache& cache = TheCache();
  Header* const buffer = HeaderOf(memory);
  // What the system may not take is not kept, for nothing might ever be called again.
  const bool is_lent = LendPages(memory, buffer->bytes);
  const std::lock_guard<std::mutex> lock(cache.mutex);
  cache.in_use -= static_cast<int64_t>(buffer->bytes);
  if (is_lent && static_cast<int64_t>(buffer->bytes) <= cache.limit) {
    buffer->freed = Clock::now();
    buffer->next = std::exchange(cache.newest, buffer);
  } else {
    UnmapPages(memory, buffer->bytes);
  }
  cache.Trim();
}

}  // namespace

void SetLargeBytes(size_t bytes) { TheCache().large_bytes.store(bytes, std::memory_order_relaxed); }

}  // namespace leakyrelu

using namespace leakyrelu;

void* leakyrelu_alloc(size_t bytes) {
  if (bytes > PTRDIFF_MAX - 2 * kHugePage) return nullptr;
  void* memory = nullptr;
  if (bytes >= TheCache().large_bytes.load(std::memory_order_relaxed)) memory = AllocateLarge(bytes);
  if (memory == nullptr) memory = AllocatePlain(bytes);
  if (memory != nullptr) return memory;
  leakyrelu_empty_cache();
  return AllocatePlain(bytes);
}

void leakyrelu_free(void* memory) {
  if (memory == nullptr) return;
  void* const block = HeaderOf(memory)->block;
  if (block == nullptr) return FreeLarge(memory);
  std::free(block);
}

// And forgets how much was in use.
void leakyrelu_empty_cache(void) {
  Cache& cache = TheCache();
  const std::lock_guard<std::mutex> lock(cache.mutex);
  cache.Trim(0);
  cache.peak = cache.in_use;
  cache.largest = 0;
}

void leakyrelu_set_cache_limit(int64_t bytes) {
  Cache& cache = TheCache();
  const std::lock_guard<std::mutex> lock(cache.mutex);
  cache.limit = bytes >= 0 ? bytes : cache.default_limit;
  cache.Trim();
}

leakyrelu_memory_stats leakyrelu_get_memory_stats(void) {
  Cache& cache = TheCache();
  const std::lock_guard<std::mutex> lock(cache.mutex);
  cache.Trim();
  return {cache.in_use, cache.cached,
          cache.limit,  static_cast<int64_t>(cache.large_bytes.load(std::memory_order_relaxed)),
          cache.reused, cache.fresh};
}
