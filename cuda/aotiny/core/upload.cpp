#include "aotiny/core/upload.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "aotiny/core/check.h"
#include "aotiny/core/guard.h"
#include "aotiny/core/status.h"
#include "aotiny/core/stream.h"

namespace aotiny::cuda {
namespace {

constexpr size_t kChunkBytes = size_t{4} << 20;
constexpr size_t kNumChunks = 3;

// Pinned memory for one chunk, and when the device has fetched what was last put there.
class Chunk {
 public:
  Chunk(PinnedAllocator& pinned, size_t nbytes, int device)
      : pinned_(pinned), nbytes_(nbytes), fetched_(device), data_(pinned.allocate(nbytes, kCPU)) {}
  // Waits for the device: where a later part fails, it may still be fetching this one.
  ~Chunk() {
    try {
      if (is_used_) fetched_.synchronize();
    } catch (const Error&) {  // the device is ruined, and fetches nothing any more
    }
    pinned_.deallocate(data_, nbytes_, kCPU);
  }
  Chunk(const Chunk&) = delete;
  Chunk& operator=(const Chunk&) = delete;

  void send(void* destination, const void* source, size_t nbytes, cudaStream_t stream) {
    if (is_used_) fetched_.synchronize();
    std::memcpy(data_, source, nbytes);
    AOTINY_CUDA_CHECK(cudaMemcpyAsync(destination, data_, nbytes, cudaMemcpyHostToDevice, stream));
    fetched_.record(stream);
    is_used_ = true;
  }

 private:
  PinnedAllocator& pinned_;
  size_t nbytes_;
  Event fetched_;
  void* data_;
  bool is_used_ = false;
};

}  // namespace

void upload_staged(void* destination, int device, const void* source, size_t nbytes,
                   PinnedAllocator& pinned) {
  if (nbytes == 0) return;
  const DeviceGuard guard(device);
  const cudaStream_t stream = current_stream(device);
  require(capture_id(stream) == kNoCapture, Status::InvalidState, "an upload of ", nbytes,
          " bytes waits for the stream, which is not possible while a "
          "stream is being captured");
  std::array<std::optional<Chunk>, kNumChunks> chunks;
  size_t index = 0;
  for (size_t done = 0; done < nbytes; done += kChunkBytes, index = (index + 1) % kNumChunks) {
    if (!chunks[index]) chunks[index].emplace(pinned, std::min(nbytes, kChunkBytes), device);
    chunks[index]->send(static_cast<char*>(destination) + done,
                        static_cast<const char*>(source) + done,
                        std::min(nbytes - done, kChunkBytes), stream);
  }
  AOTINY_CUDA_CHECK(cudaStreamSynchronize(stream));
}

}  // namespace aotiny::cuda
