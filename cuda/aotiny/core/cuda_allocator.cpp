#include "aotiny/core/cuda_allocator.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "aotiny/core/check.h"
#include "aotiny/core/guard.h"
#include "aotiny/core/status.h"
#include "aotiny/core/stream.h"

namespace aotiny::cuda {
namespace {

cudaMemPool_t make_pool(int device) {
  cudaMemPoolProps properties{};
  properties.allocType = cudaMemAllocationTypePinned;
  properties.handleTypes = cudaMemHandleTypeNone;
  properties.location = {cudaMemLocationTypeDevice, device};
  cudaMemPool_t pool = nullptr;
  AOTINY_CUDA_CHECK(cudaMemPoolCreate(&pool, &properties));
  // Without this the pool returns its memory to the system at every synchronisation.
  uint64_t threshold = UINT64_MAX;
  AOTINY_CUDA_CHECK(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &threshold));
  return pool;
}

uint64_t reserved_bytes(cudaMemPool_t pool) {
  uint64_t reserved = 0;
  AOTINY_CUDA_CHECK(cudaMemPoolGetAttribute(pool, cudaMemPoolAttrReservedMemCurrent, &reserved));
  return reserved;
}

cudaError_t trim_and_retry(cudaMemPool_t pool, void** data, size_t nbytes, cudaStream_t stream) {
  (void)cudaGetLastError();
  AOTINY_CUDA_CHECK(cudaMemPoolTrimTo(pool, 0));
  return cudaMallocFromPoolAsync(data, nbytes, pool, stream);
}

}  // namespace

CudaAllocator::CudaAllocator() {
  for (int device = 0; device < device_count(); ++device)
    pools_.push_back(std::make_unique<Pool>());
}

CudaAllocator::~CudaAllocator() {
  for (const auto& pool : pools_) {
    if (pool->pool != nullptr) (void)cudaMemPoolDestroy(pool->pool);
  }
}

CudaAllocator::Pool& CudaAllocator::pool(Device device) const {
  check_device(device.index);
  return *pools_[static_cast<size_t>(device.index)];
}

void* CudaAllocator::allocate_at(Pool& pool, size_t nbytes, int device, cudaStream_t stream) {
  void* data = nullptr;
  cudaError_t code = cudaMallocFromPoolAsync(&data, nbytes, pool.pool, stream);
  // Cached blocks of other sizes, or blocks that a stream still works on, may be what is missing:
  // this stream, or another one.
  const bool may_wait = capture_id(stream) == kNoCapture;
  if (code == cudaErrorMemoryAllocation && may_wait) {
    (void)cudaGetLastError();
    AOTINY_CUDA_CHECK(cudaStreamSynchronize(stream));
    code = trim_and_retry(pool.pool, &data, nbytes, stream);
  }
  if (code == cudaErrorMemoryAllocation && may_wait && try_synchronize_device()) {
    code = trim_and_retry(pool.pool, &data, nbytes, stream);
  }
  if (code == cudaErrorMemoryAllocation) {
    (void)cudaGetLastError();
    size_t free_bytes = 0, total_bytes = 0;
    (void)cudaMemGetInfo(&free_bytes, &total_bytes);
    const std::lock_guard lock(pool.mutex);
    fail(Status::MemoryAllocationFailed, "cannot allocate ", nbytes, " bytes on cuda:", device,
         ": ", free_bytes, " of its ", total_bytes, " bytes are free, and aotiny has allocated ",
         pool.stats.allocated_bytes - nbytes);
  }
  AOTINY_CUDA_CHECK(code);
  return data;
}

void* CudaAllocator::allocate(size_t nbytes, Device device) {
  Pool& pool = this->pool(device);
  if (nbytes == 0) return nullptr;
  const DeviceGuard guard(device.index);
  const cudaStream_t stream = current_stream(device.index);
  {
    const std::lock_guard lock(pool.mutex);
    if (pool.pool == nullptr) pool.pool = make_pool(device.index);
    require(pool.limit == 0 ||
                (nbytes <= pool.limit && pool.stats.allocated_bytes <= pool.limit - nbytes),
            Status::MemoryAllocationFailed, "cannot allocate ", nbytes, " bytes on ", device, ": ",
            pool.stats.allocated_bytes, " bytes are allocated, and the limit is ", pool.limit);
    pool.stats.allocated_bytes += nbytes;  // taken now, so that two threads cannot both pass
  }
  Returned made{nullptr, {nbytes, stream, kNoCapture}};
  try {
    free_waiting(pool, device.index);
    made.block.capture = capture_id(stream);
    made.data = allocate_at(pool, nbytes, device.index, stream);
    const std::lock_guard lock(pool.mutex);
    const uint64_t reserved = reserved_bytes(pool.pool);
    pool.blocks[made.data] = made.block;
    AllocatorStats& stats = pool.stats;
    ++stats.num_allocations;
    if (reserved > stats.reserved_bytes) ++stats.num_system_allocations;
    stats.reserved_bytes = reserved;
    stats.peak_allocated_bytes = std::max(stats.peak_allocated_bytes, stats.allocated_bytes);
    return made.data;
  } catch (...) {
    if (made.data != nullptr) (void)free_block(made, device.index);
    const std::lock_guard lock(pool.mutex);
    pool.stats.allocated_bytes -= nbytes;
    throw;
  }
}

bool CudaAllocator::owns(const void* data, Device device) const {
  const Pool& pool = this->pool(device);
  const std::lock_guard lock(pool.mutex);
  return pool.blocks.contains(const_cast<void*>(data));
}

void CudaAllocator::deallocate(void* data, size_t /*nbytes*/, Device device) noexcept {
  if (data == nullptr) return;
  Pool& pool = *pools_[static_cast<size_t>(device.index)];
  Returned returned{data, {}};
  {
    const std::lock_guard lock(pool.mutex);
    const auto found = pool.blocks.find(data);
    if (found == pool.blocks.end()) return;
    returned.block = found->second;
    pool.blocks.erase(found);
    pool.stats.allocated_bytes -= returned.block.nbytes;
  }
  if (free_block(returned, device.index)) return;
  const std::lock_guard lock(pool.mutex);
  pool.waiting.push_back(returned);
}

bool CudaAllocator::free_block(const Returned& returned, int device) noexcept {
  try {
    const DeviceGuard guard(device);
    const Block& block = returned.block;
    const cudaStream_t current = current_stream(device);
    const uint64_t capture = capture_id(block.stream);
    const uint64_t current_capture = current == block.stream ? capture : capture_id(current);
    // A block of a capture that something has spoilt goes with its graph; by the time that the
    // stream can be used again its address may be another block's.
    if (block.capture != kNoCapture && capture == kForbidden) return true;
    const bool is_captured = capture != kNoCapture || current_capture != kNoCapture;
    if (is_captured && (capture != block.capture || current_capture != block.capture)) return false;
    wait_for_stream(device, block.stream, device, current);
    AOTINY_CUDA_CHECK(cudaFreeAsync(returned.data, block.stream));
  } catch (const Error&) {
    // Not during the process's end, when the driver is gone first, nor with a ruined context, nor
    // for a block of a graph that was never launched is there anything left to free.
  }
  return true;
}

void CudaAllocator::free_waiting(Pool& pool, int device) {
  std::vector<Returned> waiting;
  {
    const std::lock_guard lock(pool.mutex);
    if (pool.waiting.empty()) return;
    waiting.swap(pool.waiting);
  }
  for (const Returned& returned : waiting) {
    if (free_block(returned, device)) continue;
    const std::lock_guard lock(pool.mutex);
    pool.waiting.push_back(returned);
  }
}

AllocatorStats CudaAllocator::stats(Device device) const {
  const Pool& pool = this->pool(device);
  const DeviceGuard guard(device.index);
  const std::lock_guard lock(pool.mutex);
  AllocatorStats stats = pool.stats;
  if (pool.pool != nullptr) stats.reserved_bytes = reserved_bytes(pool.pool);
  return stats;
}

void CudaAllocator::empty_cache(Device device) {
  Pool& pool = this->pool(device);
  const DeviceGuard guard(device.index);
  require(capture_id(current_stream(device.index)) == kNoCapture, Status::InvalidState,
          "empty_cache waits for ", device, ", which is not possible during a capture");
  free_waiting(pool, device.index);
  synchronize_device();
  const std::lock_guard lock(pool.mutex);
  if (pool.pool == nullptr) return;
  AOTINY_CUDA_CHECK(cudaMemPoolTrimTo(pool.pool, 0));
  pool.stats.reserved_bytes = reserved_bytes(pool.pool);
}

void CudaAllocator::reset_peak(Device device) {
  Pool& pool = this->pool(device);
  const std::lock_guard lock(pool.mutex);
  pool.stats.peak_allocated_bytes = pool.stats.allocated_bytes;
}

void CudaAllocator::set_limit(Device device, uint64_t nbytes) {
  Pool& pool = this->pool(device);
  const std::lock_guard lock(pool.mutex);
  pool.limit = nbytes;
}

}  // namespace aotiny::cuda
