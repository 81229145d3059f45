// The WeightKernels of CUDA: one launcher each.
#pragma once

#include "aotiny/quant/weight_kernels.h"

namespace aotiny::cuda {

class CudaWeightKernels final : public WeightKernels {
 public:
  void plain_product(const WeightProduct& product, Device device) override;
  void native_product(const WeightProduct& product, Device device) override;
  void gather(const WeightGather& gather, Device device) override;
  void pack_tiles(const TilePacking& packing, Device device) override;
  std::pair<int64_t, int64_t> index_range(const void* indices, DType dtype, int64_t count,
                                          Device device) override;
};

}  // namespace aotiny::cuda
