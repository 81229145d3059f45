// Working memory for one call: taken from the device's allocator, returned at the end of the scope.
#pragma once

#include "aotiny/core/allocator.h"
#include "aotiny/core/sizes_strides.h"

namespace aotiny {

template <class T>
class Scratch {
 public:
  // `count` uninitialised elements, aligned to 64 bytes.
  explicit Scratch(int64_t count, Device device = kCPU)
      : allocator_(allocator(device.type)),
        device_(device),
        nbytes_(checked_nbytes(count, sizeof(T))),
        data_(static_cast<T*>(allocator_.allocate(nbytes_, device))) {}
  ~Scratch() { allocator_.deallocate(data_, nbytes_, device_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  T* data() const noexcept { return data_; }
  T& operator[](int64_t index) const noexcept { return data_[index]; }

 private:
  Allocator& allocator_;
  Device device_;
  size_t nbytes_;
  T* data_;
};

}  // namespace aotiny
