#include "aotiny/kernels/cuda_weight_kernels.h"

#include "aotiny/core/guard.h"
#include "aotiny/core/stream.h"
#include "aotiny/kernels/cuda_dequantized_mm.h"
#include "aotiny/kernels/cuda_plain_mm.h"
#include "aotiny/kernels/gather.h"
#include "aotiny/kernels/index_range.h"
#include "aotiny/kernels/pack_tiles.h"

namespace aotiny::cuda {

void CudaWeightKernels::plain_product(const WeightProduct& product, Device device) {
  const DeviceGuard guard(device.index);
  plain_mm(product, device, current_stream(device.index));
}

void CudaWeightKernels::native_product(const WeightProduct& product, Device device) {
  const DeviceGuard guard(device.index);
  dequantized_mm(product, current_stream(device.index));
}

void CudaWeightKernels::gather(const WeightGather& gather, Device device) {
  const DeviceGuard guard(device.index);
  gather_rows(gather, current_stream(device.index));
}

void CudaWeightKernels::pack_tiles(const TilePacking& packing, Device device) {
  const DeviceGuard guard(device.index);
  cuda::pack_tiles(packing, current_stream(device.index));
}

std::pair<int64_t, int64_t> CudaWeightKernels::index_range(const void* indices, DType dtype,
                                                           int64_t count, Device device) {
  const DeviceGuard guard(device.index);
  return cuda::index_range(indices, dtype, count, device, current_stream(device.index));
}

}  // namespace aotiny::cuda
