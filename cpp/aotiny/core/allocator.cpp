#include "aotiny/core/allocator.h"

#include "aotiny/core/cpu_allocator.h"
#include "aotiny/core/device_interface.h"

namespace aotiny {
namespace {

// Never destroyed: tensors that outlive main() still return their memory.
CpuAllocator& cpu_allocator() {
  static CpuAllocator& instance = *new CpuAllocator;
  return instance;
}

}  // namespace

Allocator& allocator(DeviceType type) {
  if (type == DeviceType::CPU) [[likely]]
    return cpu_allocator();
  return device_interface(type).allocator();
}

}  // namespace aotiny
