#include "aotiny/kernels/pack_tiles.h"

#include "aotiny/kernels/launch.cuh"

namespace aotiny::cuda {
namespace {

constexpr int kThreads = 256;

// The codes at an even k and the next of row n: the first in the lowest nibble, the other in the
// fifth.
__device__ uint32_t two_codes(const int32_t* codes, int64_t n, int64_t num_k, int64_t k) {
  const int32_t* two = codes + n * num_k + k;
  return (two[0] & 15) | (two[1] & 15) << 16;
}
__device__ uint32_t two_codes(const uint8_t* codes, int64_t n, int64_t num_k, int64_t k) {
  const uint32_t byte = codes[n * (num_k / 2) + k / 2];
  return byte >> 4 | (byte & 15) << 16;
}

// Each thread makes a word at a time: 8 codes of a row.
template <class T>
__global__ void __launch_bounds__(kThreads)
    pack_tiles_kernel(const T* codes, int64_t n, int64_t k, int words_of_lane, uint32_t* qdata,
                      int64_t count) {
  const int64_t tiles = k / (32 * words_of_lane);  // of the same rows
  const int64_t step = int64_t{gridDim.x} * kThreads;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < count; i += step) {
    const int pair = static_cast<int>(i % words_of_lane);
    const int64_t lanes = i / words_of_lane;
    const int lane = static_cast<int>(lanes % 32);
    const int64_t tile = lanes / 32;
    const int64_t row = tile / tiles * 8 + lane / 4;
    const int64_t first_k = (tile % tiles * words_of_lane + pair) * 32 + lane % 4 * 2;
    uint32_t word = 0;
    if (row < n) {
      for (int j = 0; j < 4; ++j) word |= two_codes(codes, row, k, first_k + 8 * j) << (4 * j);
    }
    qdata[i] = word;
  }
}

template <class T>
void pack(const TilePacking& packing, cudaStream_t stream) {
  const int64_t count = (packing.n + 7) / 8 * packing.k;  // 8 rows of K codes, 8 codes a word
  if (count == 0) return;
  launch(pack_tiles_kernel<T>, grid_for(count, kThreads), kThreads, stream,
         static_cast<const T*>(packing.codes), packing.n, packing.k, packing.inner_k_tiles / 2,
         reinterpret_cast<uint32_t*>(packing.qdata), count);
}

}  // namespace

void pack_tiles(const TilePacking& packing, cudaStream_t stream) {
  packing.dtype == DType::UInt8 ? pack<uint8_t>(packing, stream) : pack<int32_t>(packing, stream);
}

}  // namespace aotiny::cuda
