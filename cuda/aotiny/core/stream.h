// Streams: which one is current, streams of our own, and how one waits for another.
//
// Each thread has a current stream for each device, at first the device's default stream. Work on
// a tensor goes to the current stream of the tensor's device. Null is the default stream.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <utility>

namespace aotiny::cuda {

// More devices than this are not looked at.
inline constexpr size_t kMaxDevices = 128;

// The number of devices that the process can use; 0 if there is none.
int device_count() noexcept;
// Fails with InvalidArgument, with the number of devices, unless 0 <= device < device_count().
void check_device(int device);

cudaStream_t current_stream(int device);
// Fails with InvalidArgument for cudaStreamPerThread, which is another stream in each thread:
// memory is given back by whatever thread, and would be ordered by the wrong one.
void set_current_stream(int device, cudaStream_t stream);

// Work put into `waiting` from now on begins after what `stream` holds by now; the streams may
// belong to different devices. Does nothing if they are the same, which their handles tell as long
// as both exist.
void wait_for_stream(int waiting_device, cudaStream_t waiting, int device, cudaStream_t stream);

// Waits until what `stream` holds by now is done. Fails with InvalidState, naming `what`, while the
// stream is being captured: waiting would spoil the capture.
void synchronize_stream(int device, cudaStream_t stream, const char* what);

// Waits until all work of the current device is done. Once no thread of ours records a graph: CUDA
// would refuse to wait, and give the recording up. Fails with InvalidState on a thread that
// records.
void synchronize_device();
// The same, where that can be done at once. False while a thread of ours records, or where CUDA
// refuses because somebody else captures a stream (who then has to begin again).
bool try_synchronize_device() noexcept;

// For a scope, this thread records a graph.
class RecordingScope {
 public:
  RecordingScope();
  ~RecordingScope();
  RecordingScope(const RecordingScope&) = delete;
  RecordingScope& operator=(const RecordingScope&) = delete;
};

// Which capture the stream is part of; kNoCapture if none. kForbidden where CUDA forbids the use of
// the stream for now: of one whose capture is spoilt but not ended yet, and perhaps of the default
// stream, which cannot be captured, while another stream is.
inline constexpr uint64_t kNoCapture = 0;
inline constexpr uint64_t kForbidden = UINT64_MAX;
uint64_t capture_id(cudaStream_t stream);

// A stream of our own, which does not wait for the default stream.
class Stream {
 public:
  explicit Stream(int device);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  cudaStream_t get() const noexcept { return stream_; }
  int device() const noexcept { return device_; }

 private:
  int device_;
  cudaStream_t stream_ = nullptr;
};

// A point in a stream, of the device, that others can wait for.
class Event {
 public:
  explicit Event(int device);
  ~Event();
  Event(Event&& other) noexcept
      : device_(other.device_), event_(std::exchange(other.event_, nullptr)) {}
  Event& operator=(Event&& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(event_, other.event_);
    return *this;
  }

  void record(cudaStream_t stream);
  bool is_done() const;
  void synchronize() const;
  cudaEvent_t get() const noexcept { return event_; }

 private:
  int device_;
  cudaEvent_t event_ = nullptr;
};

}  // namespace aotiny::cuda
