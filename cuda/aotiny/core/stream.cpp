#include "aotiny/core/stream.h"

#include <algorithm>
#include <array>
#include <mutex>
#include <shared_mutex>

#include "aotiny/core/check.h"
#include "aotiny/core/guard.h"
#include "aotiny/core/status.h"

namespace aotiny::cuda {
namespace {

// One entry a device. Without a destructor, so that tensors which outlive the thread's objects can
// still be given back.
thread_local std::array<cudaStream_t, kMaxDevices> t_current_streams{};

// Shared by those that record, owned by those that wait for a device: what CUDA does not let happen
// at the same time in one process.
std::shared_mutex& recording_mutex() {
  static std::shared_mutex& mutex = *new std::shared_mutex;
  return mutex;
}
thread_local bool t_is_recording = false;

}  // namespace

int device_count() noexcept {
  static const int count = [] {
    int found = 0;
    if (cudaGetDeviceCount(&found) == cudaSuccess) return std::min<int>(found, kMaxDevices);
    (void)cudaGetLastError();
    return 0;
  }();
  return count;
}

void check_device(int device) {
  require(device >= 0 && device < device_count(), Status::InvalidArgument,
          "there is no device cuda:", device, ": the number of CUDA devices is ", device_count());
}

cudaStream_t current_stream(int device) {
  check_device(device);
  return t_current_streams[static_cast<size_t>(device)];
}

void set_current_stream(int device, cudaStream_t stream) {
  check_device(device);
  require(stream != cudaStreamPerThread, Status::InvalidArgument,
          "stream 2 cannot be the current stream of cuda:", device,
          ": it is CUDA's default stream of the calling thread, and stands for another stream in "
          "every other thread; make a stream instead");
  t_current_streams[static_cast<size_t>(device)] = stream;
}

void wait_for_stream(int waiting_device, cudaStream_t waiting, int device, cudaStream_t stream) {
  if (waiting_device == device && waiting == stream) return;
  DeviceGuard guard(device);
  Event event(device);
  event.record(stream);
  guard.set(waiting_device);  // the default stream is that of the current device
  AOTINY_CUDA_CHECK(cudaStreamWaitEvent(waiting, event.get(), 0));
}

void synchronize_stream(int device, cudaStream_t stream, const char* what) {
  const DeviceGuard guard(device);
  require(capture_id(stream) == kNoCapture, Status::InvalidState, what,
          " waits for the stream, which is not possible while a stream is being captured");
  AOTINY_CUDA_CHECK(cudaStreamSynchronize(stream));
}

void synchronize_device() {
  require(!t_is_recording, Status::InvalidState,
          "waiting for a device is not possible while a graph is recorded");
  const std::lock_guard lock(recording_mutex());
  const OutsideCapture outside;
  AOTINY_CUDA_CHECK(cudaDeviceSynchronize());
}

bool try_synchronize_device() noexcept {
  if (t_is_recording) return false;
  const std::unique_lock lock(recording_mutex(), std::try_to_lock);
  if (!lock.owns_lock()) return false;
  const OutsideCapture outside;
  const bool is_done = cudaDeviceSynchronize() == cudaSuccess;
  if (!is_done) (void)cudaGetLastError();
  return is_done;
}

RecordingScope::RecordingScope() {
  require(!t_is_recording, Status::InvalidState,
          "a graph cannot be recorded while another one is, by the same thread");
  recording_mutex().lock_shared();
  t_is_recording = true;
}

RecordingScope::~RecordingScope() {
  t_is_recording = false;
  recording_mutex().unlock_shared();
}

uint64_t capture_id(cudaStream_t stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  unsigned long long id = 0;
  const cudaError_t code = cudaStreamGetCaptureInfo(stream, &status, &id);
  if (code == cudaErrorStreamCaptureImplicit) {
    (void)cudaGetLastError();
    return kForbidden;
  }
  AOTINY_CUDA_CHECK(code);
  // Nothing can be put into a stream whose capture something has spoilt, until it is ended.
  if (status == cudaStreamCaptureStatusInvalidated) return kForbidden;
  return status == cudaStreamCaptureStatusNone ? kNoCapture : id;
}

Stream::Stream(int device) : device_(device) {
  const DeviceGuard guard(device);
  AOTINY_CUDA_CHECK(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
}

Stream::~Stream() {
  try {
    const DeviceGuard guard(device_);
    (void)cudaStreamDestroy(stream_);
  } catch (const Error&) {  // the driver is gone, or of no more use
  }
}

Event::Event(int device) : device_(device) {
  const DeviceGuard guard(device);
  AOTINY_CUDA_CHECK(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming));
}

Event::~Event() {
  if (event_ == nullptr) return;
  try {
    const DeviceGuard guard(device_);
    (void)cudaEventDestroy(event_);
  } catch (const Error&) {  // the driver is gone, or of no more use
  }
}

void Event::record(cudaStream_t stream) {
  const DeviceGuard guard(device_);
  AOTINY_CUDA_CHECK(cudaEventRecord(event_, stream));
}

bool Event::is_done() const {
  const DeviceGuard guard(device_);
  const cudaError_t code = cudaEventQuery(event_);
  if (code == cudaErrorNotReady) {
    (void)cudaGetLastError();
    return false;
  }
  AOTINY_CUDA_CHECK(code);
  return true;
}

void Event::synchronize() const {
  const DeviceGuard guard(device_);
  AOTINY_CUDA_CHECK(cudaEventSynchronize(event_));
}

}  // namespace aotiny::cuda
