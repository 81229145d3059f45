#include "aotiny/core/cpu_allocator.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <utility>

#include "aotiny/core/status.h"

// Under AddressSanitizer, cached blocks and what a class has beyond its request are out of bounds;
// otherwise these do nothing.
#if __has_include(<sanitizer/asan_interface.h>)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#endif

namespace aotiny {
namespace {

void allow_only(void* block, size_t nbytes, size_t bytes) noexcept {
  ASAN_UNPOISON_MEMORY_REGION(block, nbytes);
  ASAN_POISON_MEMORY_REGION(static_cast<char*>(block) + nbytes, bytes - nbytes);
}

}  // namespace

// Requests are multiples of 64 bytes; class 4·p + q then holds (4 + q)·2^p·16 bytes.
size_t CpuAllocator::size_class(size_t nbytes) noexcept {
  const size_t aligned = (std::max<size_t>(nbytes, 1) + kAlignment - 1) / kAlignment * kAlignment;
  const size_t units = aligned / 16;
  const auto power = static_cast<size_t>(std::bit_width(units) - 3);  // units in [4, 8)·2^power
  const size_t quarters = ((units - 1) >> power) + 1;                 // units / 2^power, rounded up
  return 4 * power + (quarters - 4);
}

size_t CpuAllocator::class_bytes(size_t size_class) noexcept {
  const size_t bytes = ((4 + size_class % 4) << (size_class / 4)) * 16;
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

void* CpuAllocator::allocate(size_t nbytes, Device) {
  if (nbytes == 0) return nullptr;
  require(nbytes <= static_cast<size_t>(INT64_MAX) / 2, Status::MemoryAllocationFailed, nbytes,
          " bytes are more than can be allocated");
  const size_t index = size_class(nbytes);
  const size_t bytes = class_bytes(index);
  {
    const std::lock_guard lock(mutex_);
    if (FreeBlock* block = free_[index]) {
      allow_only(block, bytes, bytes);
      free_[index] = block->next;
      cached_bytes_ -= bytes;
      ++stats_.num_allocations;
      stats_.allocated_bytes += bytes;
      stats_.peak_allocated_bytes = std::max(stats_.peak_allocated_bytes, stats_.allocated_bytes);
      allow_only(block, nbytes, bytes);
      return block;
    }
  }
  void* data = std::aligned_alloc(kAlignment, bytes);
  if (data == nullptr) {  // cached blocks may be what is missing
    empty_cache(kCPU);
    data = std::aligned_alloc(kAlignment, bytes);
  }
  require(data != nullptr, Status::MemoryAllocationFailed, "cannot allocate ", bytes,
          " bytes of CPU memory");
  const std::lock_guard lock(mutex_);
  ++stats_.num_allocations;
  ++stats_.num_system_allocations;
  stats_.reserved_bytes += bytes;
  stats_.allocated_bytes += bytes;
  stats_.peak_allocated_bytes = std::max(stats_.peak_allocated_bytes, stats_.allocated_bytes);
  allow_only(data, nbytes, bytes);
  return data;
}

void CpuAllocator::deallocate(void* data, size_t nbytes, Device) noexcept {
  if (data == nullptr) return;
  const size_t index = size_class(nbytes);
  const size_t bytes = class_bytes(index);
  allow_only(data, bytes, bytes);
  {
    const std::lock_guard lock(mutex_);
    stats_.allocated_bytes -= bytes;
    if (cached_bytes_ + bytes <= kMaxCachedBytes) {
      FreeBlock* block = static_cast<FreeBlock*>(data);
      block->next = free_[index];
      free_[index] = block;
      cached_bytes_ += bytes;
      allow_only(block, sizeof(FreeBlock), bytes);  // leak detection follows the list
      return;
    }
    stats_.reserved_bytes -= bytes;
  }
  std::free(data);
}

AllocatorStats CpuAllocator::stats(Device) const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

void CpuAllocator::empty_cache(Device) {
  std::array<FreeBlock*, kNumClasses> blocks{};
  {
    const std::lock_guard lock(mutex_);
    blocks.swap(free_);
    stats_.reserved_bytes -= cached_bytes_;
    cached_bytes_ = 0;
  }
  for (FreeBlock* block : blocks) {
    while (block != nullptr) {
      std::free(std::exchange(block, block->next));
    }
  }
}

void CpuAllocator::reset_peak(Device) {
  const std::lock_guard lock(mutex_);
  stats_.peak_allocated_bytes = stats_.allocated_bytes;
}

}  // namespace aotiny
