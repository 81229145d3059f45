// What the shims that make random numbers share.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <optional>

#include "aotiny/abi/aoti_torch_cuda.h"
#include "aotiny/core/modules.h"
#include "aotiny/kernels/random.h"
#include "aotiny/shims/cuda_handle.h"

namespace aotiny::cuda {

// The arguments that every function which makes a tensor ends with.
struct RandomOptions {
  AtenGeneratorHandle* generator;
  const int32_t* dtype;
  const int32_t* layout;
  const int32_t* device;
  int32_t device_index;
  const int32_t* pin_memory;

  DType dtype_or(DType other) const { return dtype != nullptr ? dtype_from_code(*dtype) : other; }

  // The device, all other arguments but the dtype being fine.
  Device device_or(std::optional<Device> other) const {
    require(generator == nullptr || *generator == nullptr, Status::NotSupported,
            "a generator of its own is not supported, only the device's (null)");
    require(layout == nullptr || *layout == aoti_torch_layout_strided(), Status::NotSupported,
            "layout ", layout != nullptr ? *layout : 0, " is not supported, only strided (",
            aoti_torch_layout_strided(), ")");
    require(pin_memory == nullptr || *pin_memory == 0, Status::NotSupported,
            "memory of a CUDA device cannot be pinned");
    if (device == nullptr && other) return *other;
    const int32_t type = device != nullptr ? *device : static_cast<int32_t>(DeviceType::CUDA);
    int32_t index = device != nullptr ? device_index : -1;
    // Models name the device that they were compiled on, but run on the one that is current.
    if (type == static_cast<int32_t>(DeviceType::CUDA) && (index == -1 || collects_modules())) {
      AOTINY_CUDA_CHECK(cudaGetDevice(&index));
    }
    const Device found = device_from_codes(type, index);
    require(found.type == DeviceType::CUDA, Status::InvalidArgument, "device ", found,
            " is not a CUDA device");
    return found;
  }
};

// A tensor like `self`: as torch's empty_like, with the strides of a dense one preserved unless
// contiguous ones are asked for.
inline Tensor empty_like(const Tensor& self, DType dtype, Device device,
                         const int32_t* memory_format) {
  const int32_t format =
      memory_format != nullptr ? *memory_format : aoti_torch_memory_format_preserve_format();
  if (format == aoti_torch_memory_format_contiguous_format()) {
    return Tensor::empty(self.sizes(), dtype, device);
  }
  require(format == aoti_torch_memory_format_preserve_format(), Status::NotSupported,
          "memory format ", format, " is not supported, only contiguous (",
          aoti_torch_memory_format_contiguous_format(), ") and preserve (",
          aoti_torch_memory_format_preserve_format(), ")");
  return Tensor::empty_strided(self.sizes(), preserved_strides(self.sizes(), self.strides()), dtype,
                               device);
}

// The next `count` offsets of the device's generator, for one kernel.
class Draw {
 public:
  Draw(const Work& work, uint64_t count) {
    Generator& generator = cuda_interface().generator(work.device());
    if (capture_id(work.stream()) == kNoCapture) {
      source_ = {generator.take(count), nullptr};
      return;
    }
    taken_ = work.scratch(sizeof(RandomState));
    auto* taken = static_cast<RandomState*>(taken_.raw_data());
    take_offsets(generator.replay_state(), count, taken, work.stream());
    source_ = {{}, taken};
  }
  RandomSource source() const { return source_; }

 private:
  Tensor taken_;
  RandomSource source_{};
};

// The functions that make a tensor of random numbers, of given sizes or like another tensor. A
// Distribution has default_dtype(), check(dtype), which fails where the dtype cannot hold its
// numbers, and fill(tensor), which fills a dense tensor in the order of its memory.
template <class Distribution>
AOTITorchError random_of_size(const Distribution& distribution, const int64_t* size,
                              int64_t size_len, const RandomOptions& options,
                              AtenTensorHandle* ret0) {
  return guarded([&] {
    NewHandle ret(ret0, "ret0");
    const IntSpan sizes = int_span(size, size_len, "size");
    const DType dtype = options.dtype_or(distribution.default_dtype());
    distribution.check(dtype);
    const Tensor out = Tensor::empty(sizes, dtype, options.device_or({}));
    distribution.fill(out);
    ret = out;
  });
}

template <class Distribution>
AOTITorchError random_like(const Distribution& distribution, AtenTensorHandle self,
                           const RandomOptions& options, const int32_t* memory_format,
                           AtenTensorHandle* ret0) {
  return guarded([&] {
    NewHandle ret(ret0, "ret0");
    const Tensor& tensor = cuda_in(self, "self");
    const DType dtype = options.dtype_or(tensor.dtype());
    distribution.check(dtype);
    const Tensor out = empty_like(tensor, dtype, options.device_or(tensor.device()), memory_format);
    distribution.fill(out);
    ret = out;
  });
}

// A random function that writes into a tensor does so in the order of its memory.
inline void require_dense(const Tensor& tensor, const char* name) {
  require(is_non_overlapping_and_dense(tensor.sizes(), tensor.strides()), Status::InvalidArgument,
          name, " has gaps or overlaps: ", tensor);
}

}  // namespace aotiny::cuda
