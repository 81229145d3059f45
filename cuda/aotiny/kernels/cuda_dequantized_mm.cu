#include "aotiny/kernels/cuda_dequantized_mm.h"

#include <algorithm>
#include <ostream>

#include "aotiny/kernels/cuda_native_decode.h"
// Not the kernel: the instances, which take their time to compile, are in files of their own.
#include "aotiny/kernels/product_tiles.cuh"

namespace aotiny::cuda {
namespace {

constexpr int64_t kMaxBlocks = INT32_MAX;  // in the first dimension of a grid

template <class Tile>
DequantizedMmPlan plan_with(int64_t batch, int64_t m, int64_t n) {
  DequantizedMmPlan plan{.tile_m = Tile::kM,
                         .tile_n = Tile::kN,
                         .tile_k = kTileK,
                         .threads = Tile::kThreads,
                         .tiles_m = (m - 1) / Tile::kM + 1,
                         .tiles_n = (n - 1) / Tile::kN + 1,
                         .batch = batch,
                         .blocks = 0};
  plan.blocks = static_cast<unsigned>(std::min(plan.tiles(), kMaxBlocks));
  return plan;
}

template <class T>
DequantizedMmPlan plan_for(int64_t batch, int64_t m, int64_t n) {
  using Tiles = ProductTiles<T>;
  return m <= Tiles::Small::kM ? plan_with<typename Tiles::Small>(batch, m, n)
                               : plan_with<typename Tiles::Large>(batch, m, n);
}

}  // namespace

std::ostream& operator<<(std::ostream& out, const DequantizedMmPlan& plan) {
  return out << plan.batch << " x " << plan.tiles_m << " x " << plan.tiles_n << " tiles of "
             << plan.tile_m << " x " << plan.tile_n << ", " << plan.tile_k << " along K at a time, "
             << plan.blocks << " blocks of " << plan.threads << " threads";
}

DequantizedMmPlan plan_dequantized_mm(int64_t batch, int64_t m, int64_t n, DType dtype) {
  // fp16 and bf16 have the same tiles.
  return dtype == DType::Float32 ? plan_for<float>(batch, m, n) : plan_for<__half>(batch, m, n);
}

void dequantized_mm(const WeightProduct& product, cudaStream_t stream) {
  if (native_decode(product, stream)) return;
  const DeviceWeight& weight = product.weight;
  dequantized_mm(product, plan_dequantized_mm(weight.batch, product.m, weight.n, product.dtype),
                 stream);
}

void dequantized_mm(const WeightProduct& product, const DequantizedMmPlan& plan,
                    cudaStream_t stream) {
  visit_format(product.weight.format,
               [&](auto traits) { dequantized_mm_of<decltype(traits)>(product, plan, stream); });
}

}  // namespace aotiny::cuda
