// weight_matmul, weight_bmm, weight_embedding: one operator for every format.
//
// A weight comes as its planes, in the format's order, with the names of format and variant.
#include "aotiny/shims/handle.h"
#include "aotiny/shims/weight_ops.h"

namespace aotiny {
namespace {

Weight weight_in(const AtenTensorHandle* planes, int64_t num_planes, const char* format,
                 const char* variant, int64_t group_size) {
  require(format != nullptr, Status::InvalidArgument, "format is null");
  require(variant != nullptr, Status::InvalidArgument, "variant is null");
  const FormatId id = find_format(format, variant);
  const auto& specs = format_info(id).planes;
  require(num_planes == static_cast<int64_t>(specs.size()), Status::InvalidArgument, format,
          variant, ": ", num_planes, " tensors were given, the format has ", specs.size());
  require(planes != nullptr, Status::InvalidArgument, "planes is null");
  std::vector<Tensor> tensors;
  for (const PlaneSpec& spec : specs) tensors.push_back(in(planes[tensors.size()], spec.name));
  return Weight(id, std::move(tensors), group_size);
}

}  // namespace
}  // namespace aotiny

using namespace aotiny;

AOTITorchError aoti_torch_cpu_weight_matmul(AtenTensorHandle x, const AtenTensorHandle* planes,
                                            int64_t num_planes, const char* format,
                                            const char* variant, int64_t group_size,
                                            AtenTensorHandle* bias, AtenTensorHandle* ret0) {
  return guarded([&] {
    NewHandle result(ret0, "ret0");
    const Tensor& activations = in(x, "x");
    const Weight weight = weight_in(planes, num_planes, format, variant, group_size);
    result = matmul(activations, weight, Activation::Auto, optional_in(bias, "bias"));
  });
}

AOTITorchError aoti_torch_cpu_weight_bmm(AtenTensorHandle x, const AtenTensorHandle* planes,
                                         int64_t num_planes, const char* format,
                                         const char* variant, int64_t group_size,
                                         AtenTensorHandle* ret0) {
  return guarded([&] {
    NewHandle result(ret0, "ret0");
    const Tensor& activations = in(x, "x");
    result = bmm(activations, weight_in(planes, num_planes, format, variant, group_size));
  });
}

AOTITorchError aoti_torch_cpu_weight_embedding(AtenTensorHandle indices,
                                               const AtenTensorHandle* planes, int64_t num_planes,
                                               const char* format, const char* variant,
                                               int64_t group_size, int32_t dtype,
                                               AtenTensorHandle* ret0) {
  return guarded([&] {
    NewHandle result(ret0, "ret0");
    const Tensor& rows = in(indices, "indices");
    const Weight weight = weight_in(planes, num_planes, format, variant, group_size);
    result = embedding(rows, weight, dtype_from_code(dtype));
  });
}
