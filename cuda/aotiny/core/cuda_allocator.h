// Device memory, stream-ordered: one cudaMemPool a device.
//
// A block is allocated at the current stream of its device and can be used there at once. When it
// comes back, the pool may hand it out again as soon as the stream it was allocated at, and the
// stream that is current by then, are past what they hold. Nothing waits on the host.
//
// While a stream is captured into a graph, its allocations and deallocations become nodes of that
// graph. A block from outside that comes back during a capture is kept until the capture is over.
// A stream must not be destroyed before the memory that was allocated at it has come back.
#pragma once

#include <cuda_runtime.h>

#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "aotiny/core/allocator.h"

namespace aotiny::cuda {

class CudaAllocator final : public Allocator {
 public:
  CudaAllocator();
  ~CudaAllocator() override;

  void* allocate(size_t nbytes, Device device) override;
  // Whether allocate() returned this address for this device, and it has not come back.
  bool owns(const void* data, Device device) const;
  void deallocate(void* data, size_t nbytes, Device device) noexcept override;
  AllocatorStats stats(Device device) const override;
  // Waits for the device, then returns what is cached. Fails with InvalidState during a capture.
  void empty_cache(Device device) override;
  void reset_peak(Device device) override;

  // allocate() fails where allocated_bytes would exceed this; 0 for no limit.
  void set_limit(Device device, uint64_t nbytes);

 private:
  struct Block {
    size_t nbytes;
    cudaStream_t stream;  // where it was allocated
    uint64_t capture;     // and the capture that this was part of
  };
  struct Returned {
    void* data;
    Block block;
  };
  struct Pool {
    mutable std::mutex mutex;
    cudaMemPool_t pool = nullptr;
    AllocatorStats stats;
    uint64_t limit = 0;
    std::unordered_map<void*, Block> blocks;  // handed out
    std::vector<Returned> waiting;            // came back during a capture
  };

  Pool& pool(Device device) const;
  void* allocate_at(Pool& pool, size_t nbytes, int device, cudaStream_t stream);
  // False if the block has to wait for the end of a capture.
  static bool free_block(const Returned& returned, int device) noexcept;
  static void free_waiting(Pool& pool, int device);

  std::vector<std::unique_ptr<Pool>> pools_;  // one a device
};

}  // namespace aotiny::cuda
