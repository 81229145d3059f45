#include "aotiny/kernels/cuda_plain_mm.h"

#include "aotiny/kernels/cuda_plain_mm_launch.h"

namespace aotiny::cuda {

void plain_mm(const WeightProduct& product, Device device, cudaStream_t stream) {
  const DeviceWeight& weight = product.weight;
  const PlainMmPlan plan = plan_plain_mm(
      {weight.format, weight.batch, product.m, weight.n, weight.k, weight.group_size});
  const int64_t codes_sizes[] = {weight.batch, product.m, weight.k};
  const int64_t blocks_sizes[] = {weight.batch, product.m, weight.k / kBlock,
                                  static_cast<int64_t>(sizeof(BlockNumbers))};
  const Tensor codes = Tensor::empty(codes_sizes, DType::Int8, device);
  const Tensor numbers = Tensor::empty(blocks_sizes, DType::UInt8, device);
  auto* q = codes.data<int8_t>();
  auto* blocks = static_cast<BlockNumbers*>(numbers.raw_data());
  quantize_activations({.dtype = product.dtype,
                        .x = product.x,
                        .x_batch = product.x_batch,
                        .x_row = product.x_row,
                        .batch = weight.batch,
                        .m = product.m,
                        .k = weight.k,
                        .order = format_info(weight.format).order,
                        .q = q,
                        .blocks = blocks},
                       stream);
  const PlainMmArguments arguments{.weight = weight,
                                   .m = product.m,
                                   .q = q,
                                   .blocks = blocks,
                                   .bias = product.bias,
                                   .dtype = product.dtype,
                                   .y = product.y,
                                   .chunks = plan.chunks,
                                   .tiles = plan.tiles,
                                   .items = plan.items};
  visit_format(weight.format, [&](auto traits) {
    using Traits = decltype(traits);
    if constexpr (Traits::kInfo.plain) {
      launch_plain_mm<Traits>(arguments, plan, stream);
    } else {
      fail(Status::Internal, "there is no plain product with weights of ", Traits::kInfo.name);
    }
  });
}

}  // namespace aotiny::cuda
