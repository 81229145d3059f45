#include "aotiny/kernels/gather.h"

#include "aotiny/kernels/dequantize.cuh"
#include "aotiny/kernels/launch.cuh"

namespace aotiny::cuda {
namespace {

constexpr int kThreads = 256;

template <class T>
__device__ void store_block(const float (&values)[32], void* out, int64_t offset) {
#pragma unroll
  for (int i = 0; i < 32; i += 8) store_eight(values + i, static_cast<T*>(out) + offset + i);
}

// Each thread has a block of 32 of one row at a time. All take the same branch for the dtype, and
// with one kernel a format there are 17 to compile, not 51.
template <class Traits>
__global__ void __launch_bounds__(kThreads)
    gather_kernel(const __grid_constant__ WeightGather gather) {
  const DeviceWeight& weight = gather.weight;
  const int64_t blocks = weight.k / 32, all = gather.count * blocks;
  const int64_t step = int64_t{gridDim.x} * kThreads;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < all; i += step) {
    const int64_t to = i / blocks, block = i - to * blocks;
    const int64_t n = gather.indices != nullptr ? gather.indices[to] : to;
    float values[32];
    if (n >= 0 && n < weight.n) {
      const FormatRow row = format_row<Traits>(weight, n, gather.stacked);
      dequantize_block<Traits>(row, block, weight.group_size, values);
    } else {
      for (float& value : values) value = __int_as_float(0x7FC00000);
    }
    if (gather.dtype == DType::Float32) {
      store_block<float>(values, gather.out, 32 * i);
    } else if (gather.dtype == DType::Float16) {
      store_block<__half>(values, gather.out, 32 * i);
    } else {
      store_block<__nv_bfloat16>(values, gather.out, 32 * i);
    }
  }
}

}  // namespace

void gather_rows(const WeightGather& gather, cudaStream_t stream) {
  if (gather.count == 0) return;
  const int64_t all = gather.count * (gather.weight.k / 32);
  visit_format(gather.weight.format, [&](auto traits) {
    launch(gather_kernel<decltype(traits)>, grid_for(all, kThreads), kThreads, stream, gather);
  });
}

}  // namespace aotiny::cuda
