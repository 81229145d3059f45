#include "aotiny/kernels/radix_sort.h"

#include <cub/device/device_radix_sort.cuh>

#include "aotiny/core/check.h"

namespace aotiny::cuda {
namespace {

cudaError_t sort(void* scratch, size_t& scratch_bytes, cub::DoubleBuffer<uint64_t>& keys,
                 cub::DoubleBuffer<uint32_t>& values, int64_t count, int bits,
                 cudaStream_t stream) {
  return cub::DeviceRadixSort::SortPairs(scratch, scratch_bytes, keys, values,
                                         static_cast<int>(count), 0, bits, stream);
}

}  // namespace

size_t radix_sort_scratch_bytes(int64_t count) {
  cub::DoubleBuffer<uint64_t> keys;
  cub::DoubleBuffer<uint32_t> values;
  size_t bytes = 0;
  AOTINY_CUDA_CHECK(sort(nullptr, bytes, keys, values, count, 64, nullptr));
  return bytes;
}

void radix_sort(SortPairs& pairs, int64_t count, int bits, void* scratch, size_t scratch_bytes,
                cudaStream_t stream) {
  cub::DoubleBuffer<uint64_t> keys(pairs.keys, pairs.other_keys);
  cub::DoubleBuffer<uint32_t> values(pairs.values, pairs.other_values);
  AOTINY_CUDA_CHECK(sort(scratch, scratch_bytes, keys, values, count, bits, stream));
  pairs = {keys.Current(), keys.Alternate(), values.Current(), values.Alternate()};
}

}  // namespace aotiny::cuda
