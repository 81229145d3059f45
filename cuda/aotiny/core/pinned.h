// Pinned host memory, cached: a copy between it and a device needs no staging, and can run while
// the host goes on.
//
// Asking the system for such memory takes long, so blocks are kept by size class (CpuAllocator's).
// A block that comes back while a copy still uses it waits until that copy is done.
#pragma once

#include <cuda_runtime.h>

#include <map>
#include <mutex>
#include <vector>

#include "aotiny/core/allocator.h"
#include "aotiny/core/stream.h"

namespace aotiny::cuda {

class PinnedAllocator final : public Allocator {
 public:
  PinnedAllocator() = default;
  ~PinnedAllocator() override;

  // The devices are all kCPU.
  void* allocate(size_t nbytes, Device device) override;
  void deallocate(void* data, size_t nbytes, Device device) noexcept override;
  AllocatorStats stats(Device device) const override;
  // Waits for the copies that still use returned blocks.
  void empty_cache(Device device) override;
  void reset_peak(Device device) override;

  // What is in `stream` by now, of this device, uses the block that holds this address; nothing
  // happens if no block does.
  void record_use(const void* address, int device, cudaStream_t stream);

 private:
  struct Block {
    size_t size_class;
    std::vector<Event> uses;  // not known to be done
  };
  using Blocks = std::map<const char*, Block>;

  void collect_done();  // moves returned blocks that no copy uses any more to free_

  mutable std::mutex mutex_;
  Blocks used_;                        // handed out, by address
  Blocks returned_;                    // came back while in use
  std::multimap<size_t, char*> free_;  // by size class
  AllocatorStats stats_;
};

}  // namespace aotiny::cuda
