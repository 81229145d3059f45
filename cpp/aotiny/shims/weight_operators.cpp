#include "aotiny/shims/weight_operators.h"

#include "aotiny/shims/weight_ops.h"

namespace aotiny {
namespace {

// The tensor of a handle, undefined or on a device of this type.
Tensor& in_on(DeviceType type, AtenTensorHandle handle, const char* name) {
  Tensor& tensor = in(handle, name);
  check_device_type(type, tensor, name);
  return tensor;
}

Weight weight_in(DeviceType type, const WeightArguments& weight) {
  require(weight.format != nullptr, Status::InvalidArgument, "format is null");
  require(weight.variant != nullptr, Status::InvalidArgument, "variant is null");
  const FormatId id = find_format(weight.format, weight.variant);
  const auto& specs = format_info(id).planes;
  require(weight.num_planes == static_cast<int64_t>(specs.size()), Status::InvalidArgument,
          weight.format, weight.variant, ": ", weight.num_planes,
          " tensors were given, the format has ", specs.size());
  require(weight.planes != nullptr, Status::InvalidArgument, "planes is null");
  std::vector<Tensor> tensors;
  for (const PlaneSpec& spec : specs) {
    tensors.push_back(in_on(type, weight.planes[tensors.size()], spec.name));
  }
  return Weight(id, std::move(tensors), weight.group_size);
}

}  // namespace

AOTITorchError weight_matmul(DeviceType type, AtenTensorHandle x, const WeightArguments& weight,
                             AtenTensorHandle* bias, AtenTensorHandle* ret0) {
  return guarded([&] {
    NewHandle result(ret0, "ret0");
    const Tensor& activations = in_on(type, x, "x");
    const Weight w = weight_in(type, weight);
    const Tensor* added = bias == nullptr ? nullptr : &in_on(type, *bias, "bias");
    result = matmul(activations, w, Activation::Auto, added);
  });
}

AOTITorchError weight_bmm(DeviceType type, AtenTensorHandle x, const WeightArguments& weight,
                          AtenTensorHandle* ret0) {
  return guarded([&] {
    NewHandle result(ret0, "ret0");
    const Tensor& activations = in_on(type, x, "x");
    result = bmm(activations, weight_in(type, weight));
  });
}

AOTITorchError weight_embedding(DeviceType type, AtenTensorHandle indices,
                                const WeightArguments& weight, int32_t dtype,
                                AtenTensorHandle* ret0) {
  return guarded([&] {
    NewHandle result(ret0, "ret0");
    const Tensor& rows = in_on(type, indices, "indices");
    const Weight w = weight_in(type, weight);
    result = embedding(rows, w, dtype_from_code(dtype));
  });
}

}  // namespace aotiny

using namespace aotiny;

AOTITorchError aoti_torch_cpu_weight_matmul(AtenTensorHandle x, const AtenTensorHandle* planes,
                                            int64_t num_planes, const char* format,
                                            const char* variant, int64_t group_size,
                                            AtenTensorHandle* bias, AtenTensorHandle* ret0) {
  return weight_matmul(DeviceType::CPU, x, {planes, num_planes, format, variant, group_size}, bias,
                       ret0);
}

AOTITorchError aoti_torch_cpu_weight_bmm(AtenTensorHandle x, const AtenTensorHandle* planes,
                                         int64_t num_planes, const char* format,
                                         const char* variant, int64_t group_size,
                                         AtenTensorHandle* ret0) {
  return weight_bmm(DeviceType::CPU, x, {planes, num_planes, format, variant, group_size}, ret0);
}

AOTITorchError aoti_torch_cpu_weight_embedding(AtenTensorHandle indices,
                                               const AtenTensorHandle* planes, int64_t num_planes,
                                               const char* format, const char* variant,
                                               int64_t group_size, int32_t dtype,
                                               AtenTensorHandle* ret0) {
  return weight_embedding(DeviceType::CPU, indices,
                          {planes, num_planes, format, variant, group_size}, dtype, ret0);
}
