// The kernels of scan_rows.h for one element type. A row is cut into tiles: their totals are found
// (total_kernel), scanned row by row (carry_kernel), and each tile is scanned from there
// (tile_kernel). A row of one tile needs the last step only. Unlike a scan in one pass, whose order
// of additions depends on which block is first, this gives the same bits every time.
#pragma once

#include <cub/block/block_reduce.cuh>
#include <cub/block/block_scan.cuh>

#include "aotiny/kernels/convert.cuh"
#include "aotiny/kernels/launch.cuh"
#include "aotiny/kernels/scan_rows.h"

namespace aotiny::cuda {

inline constexpr int kScanThreads = 128;
inline constexpr int kScanItems = 8;  // a thread
inline constexpr int kScanTile = kScanThreads * kScanItems;

inline int64_t scan_tiles(int64_t length) { return (length + kScanTile - 1) / kScanTile; }

// Unsigned for all integers: overflow wraps, and the low bits are those of the signed result.
template <class T>
using Accumulator =
    std::conditional_t<kIsHalf<T>, float,
                       std::conditional_t<std::is_floating_point_v<T>, double, uint64_t>>;

template <ScanOp kOp>
struct Combine {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return kOp == ScanOp::Sum ? a + b : a * b;
  }
};

template <class T, ScanOp kOp>
inline constexpr Accumulator<T> kIdentity = kOp == ScanOp::Sum ? 0 : 1;

// The elements of one tile that belong to this thread, which lie in a row; past the end of the row
// the identity.
template <class T, ScanOp kOp>
__device__ void load_tile(Accumulator<T> (&values)[kScanItems], const T* row, int64_t begin,
                          int64_t length) {
#pragma unroll
  for (int i = 0; i < kScanItems; ++i) {
    const int64_t at = begin + threadIdx.x * kScanItems + i;
    values[i] = at < length ? convert<Accumulator<T>>(row[at]) : kIdentity<T, kOp>;
  }
}

template <class T, ScanOp kOp>
__global__ void __launch_bounds__(kScanThreads)
    total_kernel(const T* in, Accumulator<T>* totals, int64_t rows, int64_t length, int64_t tiles) {
  using Reduce = cub::BlockReduce<Accumulator<T>, kScanThreads>;
  __shared__ typename Reduce::TempStorage shared;
  for (int64_t tile = blockIdx.x; tile < rows * tiles; tile += gridDim.x) {
    Accumulator<T> values[kScanItems];
    load_tile<T, kOp>(values, in + tile / tiles * length, tile % tiles * kScanTile, length);
    const Accumulator<T> total = Reduce(shared).Reduce(values, Combine<kOp>{});
    if (threadIdx.x == 0) totals[tile] = total;
    __syncthreads();
  }
}

// totals[r, t] becomes the total of the tiles before t.
template <class T, ScanOp kOp>
__global__ void __launch_bounds__(kScanThreads)
    carry_kernel(Accumulator<T>* totals, int64_t rows, int64_t tiles) {
  using Scan = cub::BlockScan<Accumulator<T>, kScanThreads>;
  __shared__ typename Scan::TempStorage shared;
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    Accumulator<T> carry = kIdentity<T, kOp>;
    for (int64_t begin = 0; begin < tiles; begin += kScanThreads) {
      const int64_t tile = begin + threadIdx.x;
      Accumulator<T> value = tile < tiles ? totals[row * tiles + tile] : kIdentity<T, kOp>;
      Accumulator<T> total;
      Scan(shared).ExclusiveScan(value, value, kIdentity<T, kOp>, Combine<kOp>{}, total);
      if (tile < tiles) totals[row * tiles + tile] = Combine<kOp>{}(carry, value);
      carry = Combine<kOp>{}(carry, total);
      __syncthreads();
    }
  }
}

// `carries` is null where a row is one tile.
template <class T, ScanOp kOp>
__global__ void __launch_bounds__(kScanThreads)
    tile_kernel(const T* in, T* out, const Accumulator<T>* carries, int64_t rows, int64_t length,
                int64_t tiles) {
  using Scan = cub::BlockScan<Accumulator<T>, kScanThreads>;
  __shared__ typename Scan::TempStorage shared;
  for (int64_t tile = blockIdx.x; tile < rows * tiles; tile += gridDim.x) {
    const int64_t row = tile / tiles * length;
    const int64_t begin = tile % tiles * kScanTile;
    Accumulator<T> values[kScanItems];
    load_tile<T, kOp>(values, in + row, begin, length);
    Scan(shared).InclusiveScan(values, values, Combine<kOp>{});
    const Accumulator<T> carry = carries != nullptr ? carries[tile] : kIdentity<T, kOp>;
#pragma unroll
    for (int i = 0; i < kScanItems; ++i) {
      const int64_t at = begin + threadIdx.x * kScanItems + i;
      if (at < length) out[row + at] = convert<T>(Combine<kOp>{}(carry, values[i]));
    }
    __syncthreads();
  }
}

template <class T, ScanOp kOp>
void scan_rows_with(const ScanProblem& problem, const void* in, void* out, void* scratch,
                    cudaStream_t stream) {
  const int64_t tiles = scan_tiles(problem.length);
  const int64_t all_tiles = problem.rows * tiles;
  auto* totals = tiles > 1 ? static_cast<Accumulator<T>*>(scratch) : nullptr;
  const T* source = static_cast<const T*>(in);
  if (tiles > 1) {
    launch(total_kernel<T, kOp>, grid_for(all_tiles, 1), kScanThreads, stream, source, totals,
           problem.rows, problem.length, tiles);
    launch(carry_kernel<T, kOp>, grid_for(problem.rows, 1), kScanThreads, stream, totals,
           problem.rows, tiles);
  }
  launch(tile_kernel<T, kOp>, grid_for(all_tiles, 1), kScanThreads, stream, source,
         static_cast<T*>(out), totals, problem.rows, problem.length, tiles);
}

// scan_rows for the element type T, which stands for every dtype of its kind and width.
template <class T>
void scan_rows_of(const ScanProblem& problem, const void* in, void* out, void* scratch,
                  cudaStream_t stream) {
  const auto scan = problem.op == ScanOp::Sum ? scan_rows_with<T, ScanOp::Sum>
                                              : scan_rows_with<T, ScanOp::Product>;
  scan(problem, in, out, scratch, stream);
}

// The instances: scan_floats.cu, scan_integers.cu.
extern template void scan_rows_of<__half>(const ScanProblem&, const void*, void*, void*,
                                          cudaStream_t);
extern template void scan_rows_of<__nv_bfloat16>(const ScanProblem&, const void*, void*, void*,
                                                 cudaStream_t);
extern template void scan_rows_of<float>(const ScanProblem&, const void*, void*, void*,
                                         cudaStream_t);
extern template void scan_rows_of<double>(const ScanProblem&, const void*, void*, void*,
                                          cudaStream_t);
extern template void scan_rows_of<uint8_t>(const ScanProblem&, const void*, void*, void*,
                                           cudaStream_t);
extern template void scan_rows_of<uint16_t>(const ScanProblem&, const void*, void*, void*,
                                            cudaStream_t);
extern template void scan_rows_of<uint32_t>(const ScanProblem&, const void*, void*, void*,
                                            cudaStream_t);
extern template void scan_rows_of<uint64_t>(const ScanProblem&, const void*, void*, void*,
                                            cudaStream_t);

}  // namespace aotiny::cuda
