// How a shim of this library reads its arguments, beside cpp/aotiny/shims/handle.h, and where it
// works.
#pragma once

#include "aotiny/core/cuda_interface.h"
#include "aotiny/core/guard.h"
#include "aotiny/core/stream.h"
#include "aotiny/shims/handle.h"

namespace aotiny::cuda {

// The tensor of a handle, which has a value and is on a CUDA device.
inline Tensor& cuda_in(AtenTensorHandle handle, const char* name) {
  Tensor& tensor = defined_in(handle, name);
  require(tensor.device().type == DeviceType::CUDA, Status::InvalidArgument, name, " is on ",
          tensor.device(), ", not on a CUDA device");
  return tensor;
}

// While this exists the device is current; its current stream is where work goes.
class Work {
 public:
  explicit Work(Device device)
      : guard_(device.index), device_(device), stream_(current_stream(device.index)) {}

  cudaStream_t stream() const noexcept { return stream_; }
  Device device() const noexcept { return device_; }
  // Uninitialised bytes on the device, to use in the stream.
  Tensor scratch(size_t nbytes) const {
    const int64_t sizes[] = {static_cast<int64_t>(nbytes)};
    return Tensor::empty(sizes, DType::UInt8, device_);
  }

 private:
  DeviceGuard guard_;
  Device device_;
  cudaStream_t stream_;
};

}  // namespace aotiny::cuda
