// Streams, events and graphs as the core knows them (core/device_stream.h).
#pragma once

#include <cuda_runtime.h>

#include <functional>
#include <memory>

#include "aotiny/core/device_stream.h"
#include "aotiny/core/stream.h"

namespace aotiny::cuda {

class OwnStream final : public DeviceStream {
 public:
  explicit OwnStream(int device) : stream_(device) {}
  void* get() const noexcept override { return stream_.get(); }

 private:
  Stream stream_;
};

// The streams that it is recorded in and blocks are those of one device.
class OwnEvent final : public DeviceEvent {
 public:
  explicit OwnEvent(int device) : device_(device), event_(device) {}
  void record(void* stream) override;
  void block(void* stream) override;
  void synchronize() override;

 private:
  int device_;
  Event event_;
};

// Records what `work` puts into the stream, which is current meanwhile. What other threads do goes
// on undisturbed, but for waits for a whole device: ours are put off, and where somebody else's
// spoils the recording, `work` is called again. Fails with InvalidState for a default stream or one
// that is being captured already.
std::unique_ptr<DeviceGraph> record_graph(int device, cudaStream_t stream,
                                          const std::function<void()>& work);

}  // namespace aotiny::cuda
