// The caching CPU allocator.
//
// Blocks are rounded up to a size class (four classes a power of two, so at most 25 % is lost) and
// kept in a free list per class when they come back; a model that runs again and again then never
// reaches the system. Cached bytes are capped: past the cap a returned block goes back at once.
#pragma once

#include <array>
#include <mutex>
#include <vector>

#include "aotiny/core/allocator.h"

namespace aotiny {

class CpuAllocator final : public Allocator {
 public:
  static constexpr size_t kAlignment = 64;
  static constexpr size_t kMaxCachedBytes = size_t{256} << 20;

  CpuAllocator() = default;
  ~CpuAllocator() override { empty_cache(kCPU); }
  CpuAllocator(const CpuAllocator&) = delete;
  CpuAllocator& operator=(const CpuAllocator&) = delete;

  void* allocate(size_t nbytes, Device device) override;
  void deallocate(void* data, size_t nbytes, Device device) noexcept override;
  AllocatorStats stats(Device device) const override;
  void empty_cache(Device device) override;
  void reset_peak(Device device) override;

  // The size class of a request, and the bytes a block of that class has.
  static size_t size_class(size_t nbytes) noexcept;
  static size_t class_bytes(size_t size_class) noexcept;

 private:
  struct FreeBlock {
    FreeBlock* next;
  };
  static constexpr size_t kNumClasses = 4 * 58;

  mutable std::mutex mutex_;
  std::array<FreeBlock*, kNumClasses> free_{};
  size_t cached_bytes_ = 0;
  AllocatorStats stats_;
};

}  // namespace aotiny
