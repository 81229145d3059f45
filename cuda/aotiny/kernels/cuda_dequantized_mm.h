// Products with activations as they are: y = x Wᵀ + bias, W dequantized on the way.
//
//   y[b][i][j] = Σ_k x[b][i][k]·w[b][j][k] + bias[j]      x [B, m, K], W [B, N, K], y [B, m, N]
//
// fp16 and bf16 run on tensor cores: w is computed in fp32 and rounded to x's dtype, sums are fp32.
// fp32 stays fp32 throughout. y is rounded once, after the bias is added. A row of y does not
// depend on the other rows, nor on how many there are.
#pragma once

#include <cuda_runtime.h>

#include <iosfwd>

#include "aotiny/quant/weight_kernels.h"

namespace aotiny::cuda {

// How the work is split: a thread block makes a tile [tile_m, tile_n] of y at a time, with tile_k
// along K in shared memory, and goes on by the number of blocks.
struct DequantizedMmPlan {
  int tile_m, tile_n, tile_k, threads;
  int64_t tiles_m, tiles_n, batch;
  unsigned blocks;

  constexpr int64_t tiles() const { return tiles_m * tiles_n * batch; }
};
std::ostream& operator<<(std::ostream& out, const DequantizedMmPlan& plan);

// What `dequantized_mm` does for these sizes, all at least 1.
DequantizedMmPlan plan_dequantized_mm(int64_t batch, int64_t m, int64_t n, DType dtype);

// Of any m >= 1.
void dequantized_mm(const WeightProduct& product, cudaStream_t stream);
// The same by a plan for these sizes, of which `blocks` may be any number from 1 on.
void dequantized_mm(const WeightProduct& product, const DequantizedMmPlan& plan,
                    cudaStream_t stream);

// The same for one format; cuda_dequantized_mm_*.cu have an instance for each.
template <class Traits>
void dequantized_mm_of(const WeightProduct& product, const DequantizedMmPlan& plan,
                       cudaStream_t stream);

}  // namespace aotiny::cuda
