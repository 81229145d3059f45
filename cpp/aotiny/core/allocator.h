// Where tensors get their memory: one interface, one allocator a device type.
#pragma once

#include <cstddef>
#include <cstdint>

#include "aotiny/core/device.h"

namespace aotiny {

struct AllocatorStats {
  uint64_t allocated_bytes = 0;         // handed out and not yet returned
  uint64_t peak_allocated_bytes = 0;    // the largest allocated_bytes so far
  uint64_t reserved_bytes = 0;          // taken from the system, cached blocks included
  uint64_t num_allocations = 0;         // calls of allocate so far
  uint64_t num_system_allocations = 0;  // calls that a cached block could not serve
};

class Allocator {
 public:
  virtual ~Allocator() = default;

  // At least `nbytes` bytes, uninitialised and aligned to 64; nullptr for 0 bytes. Fails with
  // MemoryAllocationFailed.
  virtual void* allocate(size_t nbytes, Device device) = 0;
  // Takes back what allocate(nbytes, device) returned.
  virtual void deallocate(void* data, size_t nbytes, Device device) noexcept = 0;
  virtual AllocatorStats stats(Device device) const = 0;
  // Returns cached blocks to the system.
  virtual void empty_cache(Device device) = 0;
  // Makes peak_allocated_bytes the present allocated_bytes.
  virtual void reset_peak(Device device) = 0;
};

// The allocator of a device type; the CPU's is always there. For another type its library is
// opened, which fails as device_interface() does.
Allocator& allocator(DeviceType type);

}  // namespace aotiny
