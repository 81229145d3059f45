#include "aotiny/runtime/inputs.h"

#include <algorithm>
#include <limits>
#include <ostream>
#include <type_traits>
#include <utility>

#include "aotiny/core/device_interface.h"
#include "aotiny/quant/weight_kernels.h"

namespace aotiny {
namespace {

constexpr int64_t kUnbounded = std::numeric_limits<int64_t>::max();

// The size that a name stands for in a call, and the input that it was first met in.
struct Bound {
  const std::string* name;
  int64_t size;
  const std::string* input;
};

// Fails unless the shape fits; dimensions of the same name must agree through `bound`.
void check_shape(const TensorSpec& spec, const Tensor& input, const std::string& model,
                 std::vector<Bound>& bound) {
  require(input.ndim() == static_cast<int64_t>(spec.shape.size()), Status::InvalidArgument, model,
          ": input ", spec.name, " has shape ", Shape{input.sizes()}, ", of ", input.ndim(),
          " dimensions; it takes ", Dims{spec.shape});
  for (size_t i = 0; i < spec.shape.size(); ++i) {
    const Dim& dim = spec.shape[i];
    const int64_t size = input.sizes()[i];
    require(size >= dim.min && size <= dim.max && (size - dim.offset) % dim.multiple_of == 0,
            Status::InvalidArgument, model, ": input ", spec.name, " has shape ",
            Shape{input.sizes()}, ": size ", size, " in dimension ", i, " does not fit; it takes ",
            Dims{spec.shape});
    if (dim.name.empty()) continue;
    const std::string& name = dim.of.empty() ? dim.name : dim.of;
    const int64_t value = dim.of.empty() ? size : (size - dim.offset) / dim.multiple_of;
    const auto known =
        std::ranges::find_if(bound, [&](const Bound& each) { return *each.name == name; });
    if (known == bound.end()) {
      bound.push_back({&name, value, &spec.name});
      continue;
    }
    require(known->size == value, Status::InvalidArgument, model, ": ", name, " is ", value,
            " in input ", spec.name, ", of shape ", Shape{input.sizes()}, ", but ", known->size,
            " in input ", *known->input);
  }
}

using Range = std::pair<int64_t, int64_t>;

// The least and the greatest element, of which there is one, of a contiguous tensor; nullopt for
// dtypes whose values no range describes.
std::optional<Range> range_on_host(const Tensor& input) {
  std::optional<Range> range;
  visit_dtype(input.dtype(), "range", [&](auto tag) {
    using T = typename decltype(tag)::type;
    if constexpr (std::is_integral_v<T> && !std::is_same_v<T, uint64_t>) {
      const T* data = input.data<T>();
      const auto [low, high] = std::minmax_element(data, data + input.numel());
      range = {static_cast<int64_t>(*low), static_cast<int64_t>(*high)};
    }
  });
  return range;
}

std::optional<Range> range_on_device(const Tensor& input) {
  const Device device = input.device();
  DeviceInterface& interface = device_interface(device.type);
  if (input.dtype() == DType::UInt64 || interface.is_capturing(device)) return std::nullopt;
  const bool is_index = input.dtype() == DType::Int32 || input.dtype() == DType::Int64;
  const Tensor indices = is_index ? input : input.to(DType::Int64);
  return interface.weight_kernels().index_range(indices.raw_data(), indices.dtype(),
                                                indices.numel(), device);
}

void check_range(const TensorSpec& spec, const Tensor& input, const std::string& model) {
  if (!spec.range || input.numel() == 0) return;
  const Tensor values = input.contiguous();
  const std::optional<Range> found =
      values.device() == kCPU ? range_on_host(values) : range_on_device(values);
  if (!found) return;
  require(found->first >= spec.range->first && found->second <= spec.range->second,
          Status::InvalidArgument, model, ": input ", spec.name, " has values from ", found->first,
          " to ", found->second, "; they must lie in ", spec.range->first, "..",
          spec.range->second);
}

Tensor with_strides(const TensorSpec& spec, const Tensor& input) {
  if (!spec.strides) return input.contiguous();
  const std::vector<int64_t>& strides = *spec.strides;
  bool equal = true;
  for (size_t i = 0; i < strides.size(); ++i) {
    equal = equal && (input.sizes()[i] == 1 || input.strides()[i] == strides[i]);
  }
  if (equal) return input;
  Tensor copy = Tensor::empty_strided(input.sizes(), strides, input.dtype(), input.device());
  copy.copy_(input);
  return copy;
}

}  // namespace

void check_device(const Tensor& input, const std::string& name, Device device,
                  const std::string& model) {
  if (input.device() == device) return;
  const std::string advice = device == kCPU || input.device() == kCPU
                                 ? " (.to(\"" + aotiny::to_string(device) + "\") copies it there)"
                                 : "";
  fail(Status::InvalidArgument, model, ": input ", name, " is on ", input.device(),
       ", it takes tensors on ", device, advice);
}

std::vector<Tensor> prepare_inputs(std::span<const TensorSpec> specs,
                                   std::span<const Tensor> inputs, const std::string& model,
                                   Device device) {
  require(inputs.size() == specs.size(), Status::InvalidArgument, model, " takes ", specs.size(),
          " inputs, got ", inputs.size());
  std::vector<Bound> bound;
  std::vector<Tensor> prepared;
  prepared.reserve(inputs.size());
  for (size_t i = 0; i < specs.size(); ++i) {
    const TensorSpec& spec = specs[i];
    const Tensor& input = inputs[i];
    require(input.defined(), Status::InvalidArgument, model, ": input ", spec.name,
            " is undefined");
    require(input.dtype() == spec.dtype, Status::InvalidType, model, ": input ", spec.name,
            " has dtype ", input.dtype(), ", it takes ", spec.dtype);
    check_device(input, spec.name, spec.device == DeviceType::CPU ? kCPU : device, model);
    check_shape(spec, input, model, bound);
    prepared.push_back(with_strides(spec, input));
    check_range(spec, prepared.back(), model);
  }
  return prepared;
}

std::ostream& operator<<(std::ostream& out, Dims dims) {
  out << "[";
  const char* separator = "";
  for (const Dim& dim : dims.shape) {
    out << std::exchange(separator, ", ");
    if (dim.name.empty() && dim.min == dim.max) {
      out << dim.min;
      continue;
    }
    out << dim.name << " (" << dim.min << "..";
    if (dim.max != kUnbounded) out << dim.max;
    if (dim.multiple_of != 1) out << ", a multiple of " << dim.multiple_of;
    if (dim.multiple_of != 1 && dim.offset != 0) out << " plus " << dim.offset;
    out << ")";
  }
  return out << "]";
}

}  // namespace aotiny
