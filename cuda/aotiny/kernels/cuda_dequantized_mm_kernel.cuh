// The kernel of cuda_dequantized_mm.h, and dequantized_mm_of, for the files that make its
// instances.
#pragma once

#include "aotiny/kernels/convert.cuh"
#include "aotiny/kernels/cuda_dequantized_mm.h"
#include "aotiny/kernels/dequantize.cuh"
#include "aotiny/kernels/launch.cuh"
#include "aotiny/kernels/product_tiles.cuh"

namespace aotiny::cuda {
namespace detail {

// x[first_row.., k..k + kTileK] of one matrix, zeros where it ends.
template <class Tile>
__device__ void load_x(const WeightProduct& product, const typename Tile::Element* x,
                       int64_t first_row, int64_t k, bool is_aligned,
                       SharedTile<typename Tile::Element, Tile::kM>& tile) {
  using T = typename Tile::Element;
  constexpr int kAtOnce = 16 / sizeof(T), kPerRow = kTileK / kAtOnce;
  for (int i = threadIdx.x; i < Tile::kM * kPerRow; i += Tile::kThreads) {
    const int row = i / kPerRow, column = i % kPerRow * kAtOnce;
    const bool exists = first_row + row < product.m && k + column < product.weight.k;
    const T* from = x + (first_row + row) * product.x_row + k + column;
    alignas(16) T values[kAtOnce];
    auto* const sixteen_bytes = reinterpret_cast<uint4*>(values);
    if (!exists) {
      *sixteen_bytes = {};
    } else if (is_aligned) {
      *sixteen_bytes = *reinterpret_cast<const uint4*>(from);
    } else {
#pragma unroll
      for (int j = 0; j < kAtOnce; ++j) values[j] = from[j];
    }
    *reinterpret_cast<uint4*>(&tile.rows[row][column]) = *sixteen_bytes;
  }
}

// w[first_row.., k..k + kTileK], zeros where it ends: a thread has a block of 32 of the row that it
// has in every tile along k.
template <class Traits, class Tile>
__device__ void load_w(const DeviceWeight& weight, const FormatRow& row, bool row_exists, int64_t k,
                       SharedTile<typename Tile::Element, Tile::kN>& tile) {
  static_assert(Tile::kThreads == Tile::kN * kTileK / 32);
  const int column = threadIdx.x % 2 * 32;
  float values[32] = {};
  if (row_exists && k + column < weight.k) {
    dequantize_block<Traits>(row, (k + column) / 32, weight.group_size, values);
  }
#pragma unroll
  for (int i = 0; i < 32; i += 8) {
    store_eight(values + i, &tile.rows[threadIdx.x / 2][column + i]);
  }
}

template <class Traits, class Tile>
__global__ void __launch_bounds__(Tile::kThreads)
    dequantized_mm_kernel(const __grid_constant__ WeightProduct product,
                          const __grid_constant__ DequantizedMmPlan plan, bool is_x_aligned) {
  using T = typename Tile::Element;
  __shared__ SharedTile<T, Tile::kM> x_tile;
  __shared__ SharedTile<T, Tile::kN> w_tile;
  const DeviceWeight& weight = product.weight;
  const int64_t num_tiles = plan.tiles();
  for (int64_t index = blockIdx.x; index < num_tiles; index += gridDim.x) {
    // Tiles of the same rows of W follow each other.
    const int64_t stripe = index / plan.tiles_m, b = stripe / plan.tiles_n;
    const int64_t first_m = (index - stripe * plan.tiles_m) * Tile::kM;
    const int64_t first_n = (stripe - b * plan.tiles_n) * Tile::kN;
    const T* x = static_cast<const T*>(product.x) + b * product.x_batch;
    const int64_t n = first_n + threadIdx.x / 2;
    const bool n_exists = n < weight.n;
    const FormatRow row = format_row<Traits>(weight, n_exists ? n : 0, b);
    Tile tile;
    for (int64_t k = 0; k < weight.k; k += kTileK) {
      load_x<Tile>(product, x, first_m, k, is_x_aligned, x_tile);
      load_w<Traits, Tile>(weight, row, n_exists, k, w_tile);
      __syncthreads();
      tile.add_product(x_tile, w_tile);
      __syncthreads();
    }
    T* y = static_cast<T*>(product.y) + b * product.m * weight.n;
    tile.for_each([&](int i, int j, float sum) {
      if (first_m + i >= product.m || first_n + j >= weight.n) return;
      const float bias = product.bias != nullptr ? product.bias[first_n + j] : 0.0f;
      y[(first_m + i) * weight.n + first_n + j] = convert<T>(sum + bias);
    });
  }
}

template <class Traits, class Tile>
void launch_dequantized_mm(const WeightProduct& product, const DequantizedMmPlan& plan,
                           cudaStream_t stream) {
  const auto is_at_16 = [](int64_t elements) {
    return elements * sizeof(typename Tile::Element) % 16 == 0;
  };
  const bool is_x_aligned = reinterpret_cast<uintptr_t>(product.x) % 16 == 0 &&
                            is_at_16(product.x_row) && is_at_16(product.x_batch);
  launch(dequantized_mm_kernel<Traits, Tile>, dim3(plan.blocks), Tile::kThreads, stream, product,
         plan, is_x_aligned);
}

}  // namespace detail

template <class Traits>
void dequantized_mm_of(const WeightProduct& product, const DequantizedMmPlan& plan,
                       cudaStream_t stream) {
  const auto with = [&](auto element) {
    using Tiles = ProductTiles<decltype(element)>;
    const bool small = plan.tile_m == Tiles::Small::kM;
    small ? detail::launch_dequantized_mm<Traits, typename Tiles::Small>(product, plan, stream)
          : detail::launch_dequantized_mm<Traits, typename Tiles::Large>(product, plan, stream);
  };
  if (product.dtype == DType::Float32) {
    with(float());
  } else if (product.dtype == DType::Float16) {
    with(__half());
  } else {
    with(__nv_bfloat16());
  }
}

}  // namespace aotiny::cuda
