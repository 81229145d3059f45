// What orders the work of a device: streams, points in them, and graphs of recorded work.
//
// A device library makes these; a stream is passed around as the library's own handle (for CUDA a
// cudaStream_t).
#pragma once

namespace aotiny {

// A stream of our own, which waits for no other unless told to.
class DeviceStream {
 public:
  virtual ~DeviceStream() = default;
  virtual void* get() const noexcept = 0;
};

// A point in a stream: what the stream held when the event was last recorded.
class DeviceEvent {
 public:
  virtual ~DeviceEvent() = default;
  virtual void record(void* stream) = 0;
  // Work put into the stream from now on begins after that point.
  virtual void block(void* stream) = 0;
  // Returns once that point is passed; at once if nothing was recorded.
  virtual void synchronize() = 0;
};

// Recorded work, which can be run again and again, on the memory it was recorded with.
class DeviceGraph {
 public:
  virtual ~DeviceGraph() = default;
  virtual void launch(void* stream) = 0;
};

}  // namespace aotiny
