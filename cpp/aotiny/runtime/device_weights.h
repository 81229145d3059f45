// Constants of a model in the memory of a device.
//
// A device holds one copy of the same constants, however many models and instances use them.
#pragma once

#include <memory>
#include <vector>

#include "aotiny/core/device_stream.h"
#include "aotiny/core/tensor.h"
#include "aotiny/runtime/package.h"

namespace aotiny {

// Where a constant lies in a package's weights, in bytes.
struct ConstantRange {
  uint64_t offset, nbytes;
  bool operator==(const ConstantRange&) const = default;
};

class DeviceWeights {
 public:
  // Copies these parts of a blob, one after the other, each aligned to 256 bytes: compiled kernels
  // assume 16 and the blob of a CUDA model has no padding. Returns when they have arrived, so that
  // every stream may use them.
  DeviceWeights(Bytes blob, const std::vector<ConstantRange>& ranges, Device device);

  void* data(size_t range) const noexcept {
    return static_cast<char*>(memory_.raw_data()) + offsets_[range];
  }

 private:
  std::unique_ptr<DeviceStream> stream_;  // outlives the memory, which was allocated at it
  std::vector<uint64_t> offsets_;
  Tensor memory_;
};

// The same for the weights of a package, shared with every model that was loaded from the same
// bytes and is still there. They are compared byte by byte; a checksum alone is not trusted.
std::shared_ptr<const DeviceWeights> shared_weights(const std::shared_ptr<const Package>& package,
                                                    const ZipEntry& weights,
                                                    const std::vector<ConstantRange>& ranges,
                                                    Device device);

}  // namespace aotiny
