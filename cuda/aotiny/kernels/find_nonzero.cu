#include <cub/block/block_scan.cuh>

#include "aotiny/core/sizes_strides.h"
#include "aotiny/kernels/find_nonzero.h"
#include "aotiny/kernels/launch.cuh"

namespace aotiny::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kItems = 8;  // a thread
constexpr int kBlock = kThreads * kItems;

struct Sizes {
  int count;
  int64_t sizes[kMaxDims];
};

// Which of this thread's elements, which lie in a row, are not zero: bit i for element i. `mask`
// leaves the sign of a float out.
template <class Bits>
__device__ uint32_t flags_of(const Bits* in, int64_t begin, int64_t numel, Bits mask) {
  uint32_t flags = 0;
#pragma unroll
  for (int i = 0; i < kItems; ++i) {
    if (begin + i < numel && (in[begin + i] & mask) != 0) flags |= 1u << i;
  }
  return flags;
}

template <class Bits>
__global__ void __launch_bounds__(kThreads)
    count_kernel(const Bits* in, int64_t numel, Bits mask, int64_t* counts, int64_t blocks) {
  for (int64_t block = blockIdx.x; block < blocks; block += gridDim.x) {
    const uint32_t flags = flags_of(in, block * kBlock + threadIdx.x * kItems, numel, mask);
    int found = 0;
#pragma unroll
    for (int i = 0; i < kItems; ++i) found += __syncthreads_count((flags >> i) & 1u);
    if (threadIdx.x == 0) counts[block] = found;
  }
}

template <class Bits>
__global__ void __launch_bounds__(kThreads)
    write_kernel(const Bits* in, int64_t numel, Bits mask, const __grid_constant__ Sizes sizes,
                 const int64_t* ends, int64_t blocks, int64_t found, int64_t* indices) {
  using Scan = cub::BlockScan<int, kThreads>;
  __shared__ typename Scan::TempStorage shared;
  for (int64_t block = blockIdx.x; block < blocks; block += gridDim.x) {
    const int64_t begin = block * kBlock + threadIdx.x * kItems;
    const uint32_t flags = flags_of(in, begin, numel, mask);
    int before = 0;
    Scan(shared).ExclusiveSum(__popc(flags), before);
    int64_t target = (block == 0 ? 0 : ends[block - 1]) + before;
    for (int i = 0; i < kItems; ++i) {
      if (((flags >> i) & 1u) == 0) continue;
      int64_t rest = begin + i;
      for (int d = sizes.count; d-- > 0; rest /= sizes.sizes[d]) {
        indices[d * found + target] = rest % sizes.sizes[d];
      }
      ++target;
    }
    __syncthreads();
  }
}

// Calls f with the type of the dtype's bits and a mask of those that make a value other than 0.
template <class F>
void visit_bits(DType dtype, F&& f) {
  const auto mask = [&](auto all) {
    return static_cast<decltype(all)>(is_floating_point(dtype) ? all >> 1 : all);
  };
  switch (itemsize(dtype)) {
    case 1:
      return f(mask(static_cast<uint8_t>(UINT8_MAX)));
    case 2:
      return f(mask(static_cast<uint16_t>(UINT16_MAX)));
    case 4:
      return f(mask(UINT32_MAX));
    default:
      return f(mask(uint64_t{UINT64_MAX}));
  }
}

}  // namespace

void check_nonzero(DType dtype) {
  visit_dtype(dtype, "nonzero", [](auto) {});
}

int64_t nonzero_blocks(int64_t numel) { return (numel + kBlock - 1) / kBlock; }

void count_nonzero(DType dtype, const void* in, int64_t numel, int64_t* counts,
                   cudaStream_t stream) {
  visit_bits(dtype, [&](auto mask) {
    const int64_t blocks = nonzero_blocks(numel);
    if (blocks == 0) return;
    launch(count_kernel<decltype(mask)>, grid_for(blocks, 1), kThreads, stream,
           static_cast<const decltype(mask)*>(in), numel, mask, counts, blocks);
  });
}

void write_nonzero(DType dtype, const void* in, int64_t numel, const int64_t* sizes, int64_t ndim,
                   const int64_t* ends, int64_t found, int64_t* indices, cudaStream_t stream) {
  if (found == 0) return;
  Sizes shape{static_cast<int>(ndim), {}};
  std::copy(sizes, sizes + ndim, shape.sizes);
  visit_bits(dtype, [&](auto mask) {
    const int64_t blocks = nonzero_blocks(numel);
    launch(write_kernel<decltype(mask)>, grid_for(blocks, 1), kThreads, stream,
           static_cast<const decltype(mask)*>(in), numel, mask, shape, ends, blocks, found,
           indices);
  });
}

}  // namespace aotiny::cuda
