// leakyrelu_alloc as torch wants to see an allocator, so that a tensor with such memory is like any other: it can be
// resized, shared, moved and freed anywhere.

#include "allocator.h"

#include <c10/core/CPUAllocator.h>

#include <cstring>

#include "leakyrelu/leakyrelu.h"

namespace leakyrelu::tensors {
namespace {

// A tensor of so few bytes is not large, whatever leakyrelu_memory_stats says.
constexpr size_t kNeverLarge = size_t{1} << 20;

bool IsLarge(size_t bytes) {
  return bytes >= kNeverLarge && bytes >= static_cast<size_t>(leakyrelu_get_memory_stats().large);
}

class LargeAllocator final : public c10::Allocator {
 public:
  // A storage asks its allocator again when it is resized, to any size.
  c10::DataPtr allocate(size_t bytes) override {
    void* data = IsLarge(bytes) ? leakyrelu_alloc(bytes) : nullptr;
    if (data == nullptr) return c10::GetDefaultCPUAllocator()->allocate(bytes);  // where there is none, torch says so
    c10::profiledCPUMemoryReporter().New(data, bytes);
    return {data, data, &Delete, c10::DeviceType::CPU};
  }

  void copy_data(void* target, const void* source, size_t bytes) const override { std::memcpy(target, source, bytes); }

 private:
  static void Delete(void* data) {
    c10::profiledCPUMemoryReporter().Delete(data);
    leakyrelu_free(data);
  }
};

}  // namespace

c10::Allocator* AllocatorFor(size_t bytes) {
  static LargeAllocator* const large = new LargeAllocator;  // tensors may outlive everything else
  c10::Allocator* const current = c10::GetCPUAllocator();
  return IsLarge(bytes) && current == c10::GetDefaultCPUAllocator() ? large : current;
}

}  // namespace leakyrelu::tensors
