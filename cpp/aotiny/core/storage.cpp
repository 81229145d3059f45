#include "aotiny/core/storage.h"

#include "aotiny/core/allocator.h"

namespace aotiny {
namespace {

void return_to_allocator(void* context, void* data, size_t nbytes, Device device) noexcept {
  static_cast<Allocator*>(context)->deallocate(data, nbytes, device);
}

}  // namespace

StorageRef StorageRef::allocate(size_t nbytes, Device device) {
  return allocate(nbytes, device, allocator(device.type));
}

StorageRef StorageRef::allocate(size_t nbytes, Device device, Allocator& source) {
  void* data = source.allocate(nbytes, device);
  try {
    return make(data, nbytes, device, Deleter{return_to_allocator, &source});
  } catch (...) {
    source.deallocate(data, nbytes, device);
    throw;
  }
}

}  // namespace aotiny
