// Guards: for a scope, on this thread, another device or stream is current, or calls are allowed
// that a capture by another thread would otherwise forbid.
#pragma once

#include "aotiny/core/check.h"
#include "aotiny/core/driver.h"
#include "aotiny/core/stream.h"

namespace aotiny::cuda {

// While any thread captures a stream in CUDA's global mode, which is torch's, CUDA refuses calls
// that might wait for a stream, that allocate, free or load, in every thread, and gives the capture
// up. Those in this scope have nothing to do with captured streams.
class OutsideCapture {
 public:
  OutsideCapture() noexcept { (void)cudaThreadExchangeStreamCaptureMode(&mode_); }
  ~OutsideCapture() { (void)cudaThreadExchangeStreamCaptureMode(&mode_); }
  OutsideCapture(const OutsideCapture&) = delete;
  OutsideCapture& operator=(const OutsideCapture&) = delete;

 private:
  cudaStreamCaptureMode mode_ = cudaStreamCaptureModeRelaxed;
};

// Another device is current, and nothing else. Those of a thread nest.
class CurrentDevice {
 public:
  explicit CurrentDevice(int device) { set(device); }
  ~CurrentDevice() { reset(); }
  CurrentDevice(const CurrentDevice&) = delete;
  CurrentDevice& operator=(const CurrentDevice&) = delete;

  // Makes a third device current; the first one comes back at the end of the scope all the same.
  void set(int device) {
    check_device(device);
    reset();
    int current = 0;
    AOTINY_CUDA_CHECK(cudaGetDevice(&current));
    if (device == current) return;
    push_device(device);
    is_pushed_ = true;
  }

 private:
  void reset() noexcept {
    if (is_pushed_) pop_device();
    is_pushed_ = false;
  }

  bool is_pushed_ = false;
};

// What all work on a device begins with: the device is current, and captures by others neither
// forbid the work nor suffer from it. What waits for a stream of ours asks capture_id() first.
class DeviceGuard {
 public:
  explicit DeviceGuard(int device) : device_(device) {}

  void set(int device) { device_.set(device); }

 private:
  CurrentDevice device_;
  const OutsideCapture outside_;
};

// The stream's device is current too.
class StreamGuard {
 public:
  StreamGuard(int device, cudaStream_t stream)
      : current_device_(device), device_(device), previous_(current_stream(device)) {
    set_current_stream(device, stream);
  }
  ~StreamGuard() { set_current_stream(device_, previous_); }
  StreamGuard(const StreamGuard&) = delete;
  StreamGuard& operator=(const StreamGuard&) = delete;

 private:
  CurrentDevice current_device_;
  int device_;
  cudaStream_t previous_;
};

}  // namespace aotiny::cuda
