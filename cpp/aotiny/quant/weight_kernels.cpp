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

}  // namespace

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
    const IntSpan strides = tensor.strides();
    const auto bytes = [&](int64_t dim) {
      return tensor.size(dim) == 1 ? 0 : strides[dim] * static_cast<int64_t>(tensor.itemsize());
    };
    const bool stacked = weight.is_stack();
    plane[i] = static_cast<const uint8_t*>(tensor.raw_data());
    row[i] = bytes(stacked + spec.n_dim());
    step[i] = spec.layout == Layout::Rows ? 0 : bytes(stacked + spec.k_dim());
    stack[i] = stacked ? bytes(0) : 0;
    const uint64_t wanted = load_bytes(spec);
    const auto fits = [wanted](int64_t value) { return value % static_cast<int64_t>(wanted) == 0; };
    const uint64_t address = reinterpret_cast<uintptr_t>(plane[i]);
    require(address % wanted == 0 && fits(row[i]) && fits(step[i]) && fits(stack[i]),
            Status::InvalidArgument, info.name, info.variant, ": ", spec.name,
            " begins at address ", address, " with strides ", Shape{strides}, " on ",
            weight.device(), "; kernels there load ", wanted,
            " bytes at a time, which all must be multiples of");
  }
}

}  // namespace aotiny
