// A list of kept buffers behind one lock, and a thread that wakes every few seconds as long as there are any.

#include "memory.h"

#include <dlfcn.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <mutex>
#include <system_error>

#include "system.h"

namespace leakyrelu {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kMaxPage = size_t{64} << 10;   // the largest of ordinary pages, on any machine
constexpr size_t kSizeStep = size_t{64} << 10;  // of large buffers, so that one serves for slightly different sizes
constexpr size_t kMaxKept = 64;
constexpr size_t kMaxLoose = 64;
constexpr int64_t kKeptOfLargest = 2;  // as many of the largest buffer
constexpr int64_t kMaxLimit = int64_t{1} << 30;
constexpr int64_t kLimitShare = 8;  // of the machine's memory

// ---- Buffers from the system and back

// Right before each buffer.
struct alignas(64) Header {
  void* base;     // of the mapping, or of the C library's block
  size_t bytes;   // of the buffer
  size_t used;    // that were asked for, rounded up
  bool is_plain;  // it is the C library's
};

Header* HeaderOf(void* memory) { return static_cast<Header*>(memory) - 1; }

size_t RoundUp(size_t bytes, size_t step) { return (bytes + step - 1) / step * step; }

void* AllocatePlain(size_t bytes) {
  void* base = std::aligned_alloc(alignof(Header), RoundUp(bytes + sizeof(Header), alignof(Header)));
  if (base == nullptr) return nullptr;
  void* memory = static_cast<Header*>(base) + 1;
  *HeaderOf(memory) = {base, bytes, bytes, true};
  return memory;
}

// `bytes`: a multiple of kSizeStep. What is left behind the last whole huge page lies on ordinary ones, so that a
// buffer takes no more memory than it needs.
void* Map(size_t bytes) {
  const size_t length = kMaxPage + bytes;  // the header has a page of its own, before the first huge one
  const size_t reserved = length + kHugePage;
  void* const mapping = mmap(nullptr, reserved, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED) return nullptr;
  std::byte* const first = static_cast<std::byte*>(mapping);
  const size_t address = reinterpret_cast<uintptr_t>(first);
  const size_t skipped = RoundUp(address + kMaxPage, kHugePage) - kMaxPage - address;
  std::byte* const base = first + skipped;
  if (skipped > 0) munmap(first, skipped);
  if (skipped < kHugePage) munmap(base + length, kHugePage - skipped);
  madvise(base, length, MADV_HUGEPAGE);  // a kernel that refuses gives ordinary pages
  void* const memory = base + kMaxPage;
  *HeaderOf(memory) = {base, bytes, bytes, false};
  return memory;
}

void Unmap(void* memory) {
  const Header header = *HeaderOf(memory);
  munmap(header.base, kMaxPage + header.bytes);
}

// Gives back what nobody asked for.
void UnmapUnused(void* memory) {
  Header* const header = HeaderOf(memory);
  munmap(static_cast<std::byte*>(memory) + header->used, header->bytes - header->used);
  header->bytes = header->used;
}

// ---- What is kept

constexpr int64_t kIdleMilliseconds = int64_t{1000} * kIdleSeconds;

int64_t Now() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return int64_t{1000} * now.tv_sec + now.tv_nsec / 1000000;
}

int64_t DefaultLimit() {
  if (const char* text = std::getenv("LEAKYRELU_CACHE_LIMIT")) {
    int64_t bytes = 0;
    const char* const end = text + std::strlen(text);
    const auto [rest, error] = std::from_chars(text, end, bytes);
    if (rest == end && error == std::errc() && bytes >= 0) return bytes;
  }
  try {
    return std::min(kMaxLimit, MemoryBytes() / kLimitShare);
  } catch (...) {  // out of memory
    return 0;
  }
}

// Sleeps and trims until nothing is kept.
void* TrimmerThread(void* /*unused*/);

// The thread must not lose its code when a plugin that holds this library is unloaded. (The program itself never is, so
// that nothing is pinned there does not matter.) Not under the cache's lock, for it takes the dynamic loader's, and a
// plugin that is being loaded may use the cache.
void PinLibrary() {
  [[maybe_unused]] static const bool is_pinned = [] {
    Dl_info info;
    return dladdr(reinterpret_cast<void*>(&TrimmerThread), &info) != 0 &&
           dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE) != nullptr;
  }();
}

bool StartTrimmer() {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);  // the thread inherits it: signals are for the program's own threads
  pthread_t thread;
  const bool started = pthread_create(&thread, nullptr, TrimmerThread, nullptr) == 0;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (started) pthread_detach(thread);
  return started;
}

class Cache {
 public:
  // The smallest kept buffer of `bytes` or more; null if there is none. One that is more than an eighth too large is
  // handed out "loose": what nobody asked for goes back as soon as fresh memory is needed. So a sequence of sizes, each
  // freed before the next, is served by the largest, and none takes more memory than it needs when memory grows.
  void* Take(size_t bytes) {
    const std::lock_guard<std::mutex> lock(mutex_);
    size_t best = kept_count_;
    for (size_t i = 0; i < kept_count_; ++i) {
      // Of equals the one freed last, which a cache is likeliest to hold.
      if (kept_[i].bytes >= bytes && (best == kept_count_ || kept_[i].bytes <= kept_[best].bytes)) best = i;
    }
    if (best == kept_count_) return nullptr;
    const bool is_loose = kept_[best].bytes - bytes > bytes / 8;
    if (is_loose && loose_count_ == kMaxLoose) return nullptr;
    const Kept taken = Remove(best);
    HeaderOf(taken.memory)->used = bytes;
    if (is_loose) loose_[loose_count_++] = taken.memory;
    Use(taken.bytes);
    ++reused_;
    return taken.memory;
  }

  // Counts a fresh buffer as in use and gives back what is then too much.
  void MakeRoom(size_t bytes) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      for (; loose_count_ > 0; --loose_count_) {
        void* const memory = loose_[loose_count_ - 1];
        in_use_ -= static_cast<int64_t>(HeaderOf(memory)->bytes - HeaderOf(memory)->used);
        UnmapUnused(memory);
      }
      Use(bytes);
      ++fresh_;
    }
    UnmapSurplus();
  }

  // There was no fresh buffer after all.
  void TakeBack(size_t bytes) {
    const std::lock_guard<std::mutex> lock(mutex_);
    in_use_ -= static_cast<int64_t>(bytes);
    --fresh_;
  }

  // A buffer is no longer in use. Keeps it if it may.
  void Release(void* memory) {
    PinLibrary();
    if (!Keep(memory)) Unmap(memory);
    UnmapSurplus();
  }

  // And forgets how much was in use.
  void Empty() {
    UnmapAll([] { return true; });
    const std::lock_guard<std::mutex> lock(mutex_);
    lately_ = earlier_ = {in_use_, 0};
  }

  void SetLimit(int64_t bytes) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      limit_ = bytes >= 0 ? bytes : default_limit_;
    }
    UnmapSurplus();
  }

  // No lock for small buffers, of which many threads may want one at once.
  bool IsFor(size_t bytes) {
    if (bytes < large_bytes_.load(std::memory_order_relaxed)) return false;
    const std::lock_guard<std::mutex> lock(mutex_);
    return limit_ > 0;
  }

  void SetLargeBytes(size_t bytes) { large_bytes_.store(bytes, std::memory_order_relaxed); }

  // Of what has been unused for long, and of what is more than was in use lately. False, and the trimmer is taken for
  // gone, if then nothing is kept.
  bool Trim() {
    UnmapAll([this] { return kept_[0].since + kIdleMilliseconds <= Now() || cached_ > Room(); });
    const std::lock_guard<std::mutex> lock(mutex_);
    has_trimmer_ = kept_count_ > 0;
    return has_trimmer_;
  }

  leakyrelu_memory_stats Stats() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return {in_use_, cached_, limit_, static_cast<int64_t>(large_bytes_.load(std::memory_order_relaxed)),
            reused_, fresh_};
  }

  // A child would share what is kept with its parent until one of them writes to it, and then pay for a copy of what
  // nobody needs.
  void BeforeFork() {
    mutex_.lock();
    while (kept_count_ > 0) Unmap(Remove(0).memory);
  }
  void AfterForkInParent() { mutex_.unlock(); }
  void AfterForkInChild() {
    has_trimmer_ = false;
    mutex_.unlock();
  }

 private:
  struct Kept {
    void* memory;
    size_t bytes;
    int64_t since;  // Now()
  };

  bool Keep(void* memory) {
    const std::lock_guard<std::mutex> lock(mutex_);
    RollPeak();
    loose_count_ = static_cast<size_t>(std::remove(loose_, loose_ + loose_count_, memory) - loose_);
    const size_t bytes = HeaderOf(memory)->bytes;
    in_use_ -= static_cast<int64_t>(bytes);
    if (static_cast<int64_t>(bytes) > limit_ || kept_count_ == kMaxKept) return false;
    if (!has_trimmer_) has_trimmer_ = StartTrimmer();
    if (!has_trimmer_) return false;  // it would be kept for ever
    kept_[kept_count_++] = {memory, bytes, Now()};
    cached_ += static_cast<int64_t>(bytes);
    return true;
  }

  // Unmaps kept buffers, the oldest first, as long as the condition holds. Each outside the lock, for it takes long.
  template <class Condition>
  void UnmapAll(Condition condition) {
    while (true) {
      void* memory = nullptr;
      {
        const std::lock_guard<std::mutex> lock(mutex_);
        RollPeak();
        if (kept_count_ == 0 || !condition()) return;
        memory = Remove(0).memory;
      }
      Unmap(memory);
    }
  }

  void UnmapSurplus() {
    UnmapAll([this] { return cached_ > Room(); });
  }

  Kept Remove(size_t i) {
    const Kept removed = kept_[i];
    --kept_count_;
    std::memmove(&kept_[i], &kept_[i + 1], (kept_count_ - i) * sizeof(Kept));
    cached_ -= static_cast<int64_t>(removed.bytes);
    return removed;
  }

  void Use(size_t bytes) {
    RollPeak();
    const auto signed_bytes = static_cast<int64_t>(bytes);
    in_use_ += signed_bytes;
    lately_ = {std::max(lately_.in_use, in_use_), std::max(lately_.largest, signed_bytes)};
  }

  // Forgets what was in use before the last kIdleSeconds, or up to twice as many.
  void RollPeak() {
    const int64_t now = Now();
    if (now < lately_since_ + kIdleMilliseconds) return;
    earlier_ = now < lately_since_ + 2 * kIdleMilliseconds ? lately_ : Peak{in_use_, 0};
    lately_ = {in_use_, 0};
    lately_since_ = now;
  }

  // How much may be kept: with what is in use no more than was in use at once lately, so that no process needs more
  // memory than without; and no more than a loop over one operation needs, forward and backward, since all else in the
  // process has no use for it.
  int64_t Room() const {
    return std::min({limit_, std::max(lately_.in_use, earlier_.in_use) - in_use_,
                     kKeptOfLargest * std::max(lately_.largest, earlier_.largest)});
  }

  // The most that was in use at once, and the largest buffer.
  struct Peak {
    int64_t in_use;
    int64_t largest;
  };

  std::mutex mutex_;
  Kept kept_[kMaxKept];  // the first kept_count_, oldest first
  size_t kept_count_ = 0;
  void* loose_[kMaxLoose];  // buffers in use that are larger than their users need
  size_t loose_count_ = 0;
  bool has_trimmer_ = false;
  int64_t cached_ = 0;  // the sum of kept_'s bytes
  int64_t in_use_ = 0;
  Peak lately_ = {0, 0};   // since lately_since_
  Peak earlier_ = {0, 0};  // in the kIdleSeconds before
  int64_t lately_since_ = 0;
  std::atomic<size_t> large_bytes_ = kLargeBytes;
  const int64_t default_limit_ = DefaultLimit();
  int64_t limit_ = default_limit_;
  int64_t reused_ = 0;
  int64_t fresh_ = 0;
};

// Never destroyed: buffers are freed, and the trimmer runs, until the process has ended.
Cache& TheCache() {
  static Cache& cache = *new Cache;
  return cache;
}

void* TrimmerThread(void* /*unused*/) {
  do {
    sleep(kIdleSeconds);
  } while (TheCache().Trim());
  return nullptr;
}

void BeforeFork() noexcept { TheCache().BeforeFork(); }
void AfterForkInParent() noexcept { TheCache().AfterForkInParent(); }
void AfterForkInChild() noexcept { TheCache().AfterForkInChild(); }

[[maybe_unused]] const int registered = pthread_atfork(BeforeFork, AfterForkInParent, AfterForkInChild);

}  // namespace

void SetLargeBytes(size_t bytes) { TheCache().SetLargeBytes(bytes); }

size_t AllocatedBytes(void* memory) { return HeaderOf(memory)->used; }

}  // namespace leakyrelu

using leakyrelu::TheCache;

void* leakyrelu_alloc(size_t bytes) {
  using namespace leakyrelu;
  if (bytes > PTRDIFF_MAX - 2 * kHugePage) return nullptr;
  if (!TheCache().IsFor(bytes)) return AllocatePlain(bytes);
  const size_t rounded = RoundUp(bytes, kSizeStep);
  if (void* kept = TheCache().Take(rounded)) return kept;
  TheCache().MakeRoom(rounded);
  void* fresh = Map(rounded);
  if (fresh == nullptr) {
    TheCache().Empty();
    fresh = Map(rounded);
  }
  if (fresh != nullptr) return fresh;
  TheCache().TakeBack(rounded);
  return AllocatePlain(bytes);
}

void leakyrelu_free(void* memory) {
  using namespace leakyrelu;
  if (memory == nullptr) return;
  const Header* const header = HeaderOf(memory);
  if (header->is_plain) return std::free(header->base);
  TheCache().Release(memory);
}

void leakyrelu_empty_cache(void) { TheCache().Empty(); }

void leakyrelu_set_cache_limit(int64_t bytes) { TheCache().SetLimit(bytes); }

leakyrelu_memory_stats leakyrelu_get_memory_stats(void) { return TheCache().Stats(); }
