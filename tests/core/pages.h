// Pages from the system, to be forbidden, touched sparsely, or asked whether they are there.
#ifndef LEAKYRELU_TESTS_CORE_PAGES_H_
#define LEAKYRELU_TESTS_CORE_PAGES_H_

#ifdef _WIN32
#ifndef NOMINMAX
#define NOMINMAX
#endif
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#undef MultiplyHigh  // a macro there, a function in checked.h
#else
#include <sys/mman.h>
#include <unistd.h>
#endif

#include <cstddef>
#include <cstdint>
#include <cstdlib>

namespace test_util {

#ifdef _WIN32

inline size_t PageBytes() {
  SYSTEM_INFO information;
  GetSystemInfo(&information);
  return information.dwPageSize;
}

inline void* MapZeros(size_t bytes) { return VirtualAlloc(nullptr, bytes, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE); }

// Windows promises memory for all that a program may touch: there is none of this kind.
inline void* MapSparsely(size_t /*bytes*/) { return nullptr; }

inline void Unmap(void* memory, size_t /*bytes*/) { VirtualFree(memory, 0, MEM_RELEASE); }

inline bool Forbid(void* memory, size_t bytes) {
  DWORD before = 0;
  return VirtualProtect(memory, bytes, PAGE_NOACCESS, &before) != 0;
}

inline bool IsMapped(const void* memory) {
  MEMORY_BASIC_INFORMATION information;
  return VirtualQuery(memory, &information, sizeof(information)) != 0 && information.State == MEM_COMMIT;
}

#else

inline size_t PageBytes() { return static_cast<size_t>(sysconf(_SC_PAGESIZE)); }

// Null if the system refuses.
inline void* MapZeros(size_t bytes) {
  void* const memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return memory != MAP_FAILED ? memory : nullptr;
}

inline void* MapSparsely(size_t bytes) {
  constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  void* const memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, kFlags, -1, 0);
  return memory != MAP_FAILED ? memory : nullptr;
}

inline void Unmap(void* memory, size_t bytes) { munmap(memory, bytes); }

inline bool Forbid(void* memory, size_t bytes) { return mprotect(memory, bytes, PROT_NONE) == 0; }

inline bool IsMapped(const void* memory) {
  const uintptr_t page = reinterpret_cast<uintptr_t>(memory) / PageBytes() * PageBytes();
  return msync(reinterpret_cast<void*>(page), 1, MS_ASYNC) == 0;
}

#endif

// Memory between two pages that nobody may touch.
class GuardedBuffer {
 public:
  explicit GuardedBuffer(size_t at_least) {
    const size_t page = PageBytes();
    size_ = (at_least + page - 1) / page * page;
    mapped_ = size_ + 2 * page;
    base_ = static_cast<std::byte*>(MapZeros(mapped_));
    if (base_ == nullptr || !Forbid(base_, page) || !Forbid(base_ + page + size_, page)) std::abort();
    begin_ = base_ + page;
  }
  ~GuardedBuffer() { Unmap(base_, mapped_); }
  GuardedBuffer(const GuardedBuffer&) = delete;
  GuardedBuffer& operator=(const GuardedBuffer&) = delete;

  std::byte* begin() const { return begin_; }        // right behind a guard page
  std::byte* end() const { return begin_ + size_; }  // right before one
  size_t size() const { return size_; }

 private:
  std::byte* base_;
  std::byte* begin_;
  size_t size_;
  size_t mapped_;
};

// Address space that takes memory only where it is touched; zeros. False if the system has none of this kind.
class Space {
 public:
  explicit Space(int64_t bytes) : bytes_(static_cast<size_t>(bytes)), data_(MapSparsely(bytes_)) {}
  ~Space() {
    if (data_ != nullptr) Unmap(data_, bytes_);
  }
  Space(const Space&) = delete;
  Space& operator=(const Space&) = delete;

  explicit operator bool() const { return data_ != nullptr; }
  std::byte* data() const { return static_cast<std::byte*>(data_); }

 private:
  size_t bytes_;
  void* data_;
};

}  // namespace test_util

#endif  // LEAKYRELU_TESTS_CORE_PAGES_H_
