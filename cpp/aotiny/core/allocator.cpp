#include "aotiny/core/allocator.h"

#include <atomic>

#include "aotiny/core/cpu_allocator.h"
#include "aotiny/core/status.h"

namespace aotiny {
namespace {

// Never destroyed: tensors that outlive main() still return their memory.
CpuAllocator& cpu_allocator() {
  static CpuAllocator& instance = *new CpuAllocator;
  return instance;
}

std::atomic<Allocator*> g_cuda_allocator{nullptr};

}  // namespace

Allocator& allocator(DeviceType type) {
  if (type == DeviceType::CPU) [[likely]]
    return cpu_allocator();
  Allocator* found = g_cuda_allocator.load(std::memory_order_acquire);
  require(found != nullptr, Status::NotFound,
          "no CUDA allocator is registered: the CUDA library of aotiny is not loaded");
  return *found;
}

void register_allocator(DeviceType type, Allocator& allocator) {
  require(type == DeviceType::CUDA, Status::InvalidArgument,
          "the CPU allocator cannot be replaced");
  Allocator* none = nullptr;
  require(g_cuda_allocator.compare_exchange_strong(none, &allocator), Status::InvalidState,
          "a CUDA allocator is already registered");
}

}  // namespace aotiny
