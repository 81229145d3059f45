// A block of memory shared by the tensors that view it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "aotiny/core/device.h"

namespace aotiny {

class Allocator;

// Called once, when the last reference to a storage goes; must not throw. `call` may be null, for
// memory that somebody else owns.
struct Deleter {
  void (*call)(void* context, void* data, size_t nbytes, Device device) noexcept = nullptr;
  void* context = nullptr;
};

class Storage {
 public:
  Storage(void* data, size_t nbytes, Device device, Deleter deleter) noexcept
      : device_(device), data_(data), nbytes_(nbytes), deleter_(deleter) {}
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  void* data() const noexcept { return data_; }
  size_t nbytes() const noexcept { return nbytes_; }
  Device device() const noexcept { return device_; }
  uint32_t use_count() const noexcept { return references_.load(std::memory_order_relaxed); }

 private:
  friend class StorageRef;
  ~Storage() {
    if (deleter_.call) deleter_.call(deleter_.context, data_, nbytes_, device_);
  }

  std::atomic<uint32_t> references_{1};
  Device device_;
  void* data_;
  size_t nbytes_;
  Deleter deleter_;
};

// A counted reference. Storages live on the heap and die with their last reference.
class StorageRef {
 public:
  StorageRef() = default;
  // New storage with this as its only reference.
  static StorageRef make(void* data, size_t nbytes, Device device, Deleter deleter = {}) {
    StorageRef reference;
    reference.storage_ = new Storage(data, nbytes, device, deleter);
    return reference;
  }
  // New uninitialised memory from the device's allocator.
  static StorageRef allocate(size_t nbytes, Device device);
  // The same, from an allocator of one's choice.
  static StorageRef allocate(size_t nbytes, Device device, Allocator& source);

  StorageRef(const StorageRef& other) noexcept : storage_(other.storage_) {
    if (storage_) storage_->references_.fetch_add(1, std::memory_order_relaxed);
  }
  StorageRef(StorageRef&& other) noexcept : storage_(std::exchange(other.storage_, nullptr)) {}
  StorageRef& operator=(StorageRef other) noexcept {
    std::swap(storage_, other.storage_);
    return *this;
  }
  ~StorageRef() {
    if (storage_ && storage_->references_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      delete storage_;
    }
  }

  explicit operator bool() const noexcept { return storage_ != nullptr; }
  const Storage* operator->() const noexcept { return storage_; }
  const Storage* get() const noexcept { return storage_; }

 private:
  Storage* storage_ = nullptr;
};

}  // namespace aotiny
