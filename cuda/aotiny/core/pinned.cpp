#include "aotiny/core/pinned.h"

#include <algorithm>
#include <utility>

#include "aotiny/core/check.h"
#include "aotiny/core/cpu_allocator.h"
#include "aotiny/core/driver.h"
#include "aotiny/core/guard.h"
#include "aotiny/core/status.h"

namespace aotiny::cuda {
namespace {

// Such memory belongs to no device, but asking for it makes a context on the current one.
int device_in_use() {
  int current = 0;
  AOTINY_CUDA_CHECK(cudaGetDevice(&current));
  if (is_in_use(current)) return current;
  for (int device = 0; device < device_count(); ++device) {
    if (is_in_use(device)) return device;
  }
  return current;
}

}  // namespace

PinnedAllocator::~PinnedAllocator() {
  try {
    empty_cache(kCPU);
  } catch (const Error&) {  // the driver may be gone already
  }
}

void* PinnedAllocator::allocate(size_t nbytes, Device) {
  if (nbytes == 0) return nullptr;
  require(nbytes <= static_cast<size_t>(INT64_MAX) / 2, Status::MemoryAllocationFailed, nbytes,
          " bytes are more than can be allocated");
  const size_t size_class = CpuAllocator::size_class(nbytes);
  const size_t bytes = CpuAllocator::class_bytes(size_class);
  const DeviceGuard guard(device_in_use());
  const std::lock_guard lock(mutex_);
  collect_done();
  void* data = nullptr;
  if (const auto cached = free_.find(size_class); cached != free_.end()) {
    data = cached->second;
    free_.erase(cached);
  } else {
    const cudaError_t code = cudaHostAlloc(&data, bytes, cudaHostAllocPortable);
    if (code == cudaErrorMemoryAllocation) {
      (void)cudaGetLastError();
      fail(Status::MemoryAllocationFailed, "cannot allocate ", bytes,
           " bytes of pinned host memory: ", stats_.allocated_bytes, " are allocated");
    }
    AOTINY_CUDA_CHECK(code);
    ++stats_.num_system_allocations;
    stats_.reserved_bytes += bytes;
  }
  used_[static_cast<const char*>(data)] = Block{size_class, {}};
  ++stats_.num_allocations;
  stats_.allocated_bytes += bytes;
  stats_.peak_allocated_bytes = std::max(stats_.peak_allocated_bytes, stats_.allocated_bytes);
  return data;
}

void PinnedAllocator::deallocate(void* data, size_t, Device) noexcept {
  if (data == nullptr) return;
  const std::lock_guard lock(mutex_);
  const auto found = used_.find(static_cast<const char*>(data));
  if (found == used_.end()) return;
  const size_t size_class = found->second.size_class;
  stats_.allocated_bytes -= CpuAllocator::class_bytes(size_class);
  if (found->second.uses.empty()) {
    free_.emplace(size_class, static_cast<char*>(data));
    used_.erase(found);
  } else {
    returned_.insert(used_.extract(found));
  }
}

void PinnedAllocator::collect_done() {
  for (auto it = returned_.begin(); it != returned_.end();) {
    std::vector<Event>& uses = it->second.uses;
    if (std::ranges::all_of(uses, [](const Event& use) { return use.is_done(); })) {
      free_.emplace(it->second.size_class, const_cast<char*>(it->first));
      it = returned_.erase(it);
    } else {
      ++it;
    }
  }
}

void PinnedAllocator::record_use(const void* address, int device, cudaStream_t stream) {
  const std::lock_guard lock(mutex_);
  const auto* wanted = static_cast<const char*>(address);
  auto found = used_.upper_bound(wanted);
  if (found == used_.begin()) return;
  --found;
  Block& block = found->second;
  if (wanted >= found->first + CpuAllocator::class_bytes(block.size_class)) return;
  const DeviceGuard guard(device);
  if (capture_id(stream) != kNoCapture) return;  // the memory has to live as long as the graph
  std::erase_if(block.uses, [](const Event& use) { return use.is_done(); });
  Event use(device);
  use.record(stream);
  block.uses.push_back(std::move(use));
}

AllocatorStats PinnedAllocator::stats(Device) const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

void PinnedAllocator::empty_cache(Device) {
  const DeviceGuard guard(device_in_use());
  const std::lock_guard lock(mutex_);
  for (const auto& [address, block] : returned_) {
    for (const Event& use : block.uses) use.synchronize();
  }
  collect_done();
  for (auto it = free_.begin(); it != free_.end(); it = free_.erase(it)) {
    AOTINY_CUDA_CHECK(cudaFreeHost(it->second));
    stats_.reserved_bytes -= CpuAllocator::class_bytes(it->first);
  }
}

void PinnedAllocator::reset_peak(Device) {
  const std::lock_guard lock(mutex_);
  stats_.peak_allocated_bytes = stats_.allocated_bytes;
}

}  // namespace aotiny::cuda
