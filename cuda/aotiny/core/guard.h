// Guards: for a scope, on this thread, another device or stream is current, or calls are allowed
// that a capture by another thread would otherwise forbid.
#pragma once

#include "aotiny/core/check.h"
#include "aotiny/core/stream.h"

namespace aotiny::cuda {

class DeviceGuard {
 public:
  explicit DeviceGuard(int device) {
    check_device(device);
    AOTINY_CUDA_CHECK(cudaGetDevice(&previous_));
    current_ = previous_;
    set(device);
  }
  ~DeviceGuard() {
    if (current_ != previous_) (void)cudaSetDevice(previous_);
  }
  DeviceGuard(const DeviceGuard&) = delete;
  DeviceGuard& operator=(const DeviceGuard&) = delete;

  // Makes a third device current; the first one comes back at the end of the scope all the same.
  void set(int device) {
    check_device(device);
    if (device == current_) return;
    AOTINY_CUDA_CHECK(cudaSetDevice(device));
    current_ = device;
  }

 private:
  int previous_ = 0;
  int current_ = 0;
};

// The stream's device is current too.
class StreamGuard {
 public:
  StreamGuard(int device, cudaStream_t stream)
      : device_guard_(device), device_(device), previous_(current_stream(device)) {
    set_current_stream(device, stream);
  }
  ~StreamGuard() { set_current_stream(device_, previous_); }
  StreamGuard(const StreamGuard&) = delete;
  StreamGuard& operator=(const StreamGuard&) = delete;

 private:
  DeviceGuard device_guard_;
  int device_;
  cudaStream_t previous_;
};

// While any thread captures a stream, CUDA refuses calls that might wait for a stream, in every
// thread, and gives the capture up. Those in this scope have nothing to do with captured streams.
class OutsideCapture {
 public:
  OutsideCapture() { AOTINY_CUDA_CHECK(cudaThreadExchangeStreamCaptureMode(&mode_)); }
  ~OutsideCapture() { (void)cudaThreadExchangeStreamCaptureMode(&mode_); }
  OutsideCapture(const OutsideCapture&) = delete;
  OutsideCapture& operator=(const OutsideCapture&) = delete;

 private:
  cudaStreamCaptureMode mode_ = cudaStreamCaptureModeRelaxed;
};

}  // namespace aotiny::cuda
