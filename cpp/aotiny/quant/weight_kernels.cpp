#include "aotiny/quant/weight_kernels.h"

namespace aotiny {
namespace {

// Codes are loaded for 32 k at a time, up to 16 bytes at once; metadata element by element.
uint64_t load_bytes(const PlaneSpec& spec) {
  const auto element = static_cast<uint64_t>(itemsize(spec.dtype));
  if (spec.per != Per::Weight) return element;
  if (spec.layout == Layout::Tiles) return element * static_cast<uint64_t>(spec.count);
  return std::min<uint64_t>(16, 32 / static_cast<uint64_t>(spec.count) * element);
}

// Bytes from one to the next along the dimensions that Weight knows; 0 where there is one only.
struct Steps {
  int64_t row, step, stack;
};

Steps steps_of(const PlaneSpec& spec, const Tensor& plane) {
  const bool is_stack = plane.ndim() > spec.ndim();
  const auto bytes = [&plane](int64_t dim) {
    return plane.size(dim) == 1 ? 0 : plane.stride(dim) * static_cast<int64_t>(plane.itemsize());
  };
  return {bytes(is_stack + spec.n_dim()),
          spec.layout == Layout::Rows ? 0 : bytes(is_stack + spec.k_dim()),
          is_stack ? bytes(0) : 0};
}

}  // namespace

bool fits_device_loads(const PlaneSpec& spec, const Tensor& plane) {
  const Steps steps = steps_of(spec, plane);
  const auto wanted = static_cast<int64_t>(load_bytes(spec));
  return reinterpret_cast<uintptr_t>(plane.raw_data()) % load_bytes(spec) == 0 &&
         steps.row % wanted == 0 && steps.step % wanted == 0 && steps.stack % wanted == 0;
}

DeviceWeight::DeviceWeight(const Weight& weight)
    : format(weight.format()),
      batch(weight.batch()),
      n(weight.n()),
      k(weight.k()),
      group_size(weight.group_size()) {
  const FormatInfo& info = weight.info();
  for (size_t i = 0; i < info.planes.size(); ++i) {
    const PlaneSpec& spec = info.planes[i];
    const Tensor& tensor = weight.planes()[i];
    const Steps steps = steps_of(spec, tensor);
    plane[i] = static_cast<const uint8_t*>(tensor.raw_data());
    row[i] = steps.row;
    step[i] = steps.step;
    stack[i] = steps.stack;
    require(fits_device_loads(spec, tensor), Status::InvalidArgument, info.name, info.variant, ": ",
            spec.name, " begins at address ", reinterpret_cast<uintptr_t>(plane[i]),
            " with strides ", Shape{tensor.strides()}, " on ", weight.device(),
            "; kernels there load ", load_bytes(spec),
            " bytes at a time, which all must be multiples of");
  }
}

}  // namespace aotiny
