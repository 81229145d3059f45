#include "aotiny/kernels/index_range.h"

#include <algorithm>

#include "aotiny/core/stream.h"
#include "aotiny/kernels/launch.cuh"

namespace aotiny::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
// Blocks of the first pass, whose results one block reduces; threads step through the rest.
constexpr int64_t kMaxBlocks = 1024;

struct Range {
  long long least;
  long long greatest;
};

__device__ Range merge(Range a, Range b) {
  return {min(a.least, b.least), max(a.greatest, b.greatest)};
}

__device__ Range range_of(long long value) { return {value, value}; }
__device__ Range range_of(Range range) { return range; }

__device__ Range merge_warp(Range range) {
  for (int distance = 16; distance > 0; distance /= 2) {
    range = merge(range, {__shfl_xor_sync(0xFFFFFFFFu, range.least, distance),
                          __shfl_xor_sync(0xFFFFFFFFu, range.greatest, distance)});
  }
  return range;
}

// The range of the part of `items` [count] that a block steps over, for each block. Items are
// integers in the first pass and the blocks' ranges in the second.
template <class Item>
__global__ void __launch_bounds__(kThreads)
    range_kernel(const Item* items, int64_t count, Range* ranges) {
  __shared__ Range of_warp[kWarps];
  Range range = range_of(items[0]);  // so that threads without an item change nothing
  const int64_t step = int64_t{gridDim.x} * kThreads;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < count; i += step) {
    range = merge(range, range_of(items[i]));
  }
  range = merge_warp(range);
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = range;
  __syncthreads();
  if (threadIdx.x >= 32) return;
  range = merge_warp(of_warp[threadIdx.x % kWarps]);
  if (threadIdx.x == 0) ranges[blockIdx.x] = range;
}

template <class Item>
void find_ranges(const Item* items, int64_t count, int64_t blocks, Range* ranges,
                 cudaStream_t stream) {
  launch(range_kernel<Item>, dim3(static_cast<unsigned>(blocks)), kThreads, stream, items, count,
         ranges);
}

}  // namespace

std::pair<int64_t, int64_t> index_range(const void* indices, DType dtype, int64_t count,
                                        Device device, cudaStream_t stream) {
  require(dtype == DType::Int64 || dtype == DType::Int32, Status::InvalidType,
          "index_range: indices have dtype ", dtype, ", not int64 or int32");
  require(count >= 1, Status::InvalidArgument, "index_range: there are ", count, " indices");
  // Asked before anything goes to the stream: a capture that goes on must not keep half of this.
  require(capture_id(stream) == kNoCapture, Status::InvalidState,
          "index_range: the range of indices waits for the stream, which is not possible while a "
          "stream is being captured");
  const int64_t blocks = std::min((count + kThreads - 1) / kThreads, kMaxBlocks);
  const int64_t sizes[] = {blocks + 1, 2};
  const Tensor scratch = Tensor::empty(sizes, DType::Int64, device);
  Range* ranges = static_cast<Range*>(scratch.raw_data());
  if (dtype == DType::Int64) {
    find_ranges(static_cast<const long long*>(indices), count, blocks, ranges + 1, stream);
  } else {
    find_ranges(static_cast<const int*>(indices), count, blocks, ranges + 1, stream);
  }
  find_ranges(ranges + 1, blocks, 1, ranges, stream);
  const int64_t two[] = {2};
  const Tensor result = Tensor::empty_pinned(two, DType::Int64);
  result.copy_(scratch.select(0, 0), true);
  synchronize_stream(device.index, stream, "index_range");
  const int64_t* values = result.data<int64_t>();
  return {values[0], values[1]};
}

}  // namespace aotiny::cuda
