// The kernel of cuda_native_decode.h, for the files that make its instances.
//
// A warp multiplies 16 rows of W by 8 or 16 rows of x, on tensor cores, a piece of 128 along k at a
// time. W is the operand with 16 rows, so that its codes become operands in the registers of the
// lanes that load them. x lies in shared memory: all of K, or a part where a cluster of thread
// blocks shares a tile.
//
// A thread block has one or two teams of warps. The pieces of all the tiles of a team form one
// list, which its warps take in turn; so all have the same work, and what they read lies together.
// Where a warp goes on to another tile it leaves its sums in shared memory. After some tiles the
// warps' sums are added up, in their order.
#pragma once

#include <algorithm>

#include "aotiny/kernels/convert.cuh"
#include "aotiny/kernels/cuda_native_decode.h"
#include "aotiny/kernels/decode_fragments.cuh"
#include "aotiny/kernels/launch.cuh"

namespace aotiny::cuda {
namespace decode_detail {

struct Arguments {
  WeightProduct product;
  NativeDecodePlan plan;
};

// All threads of the thread blocks that share a tile.
__device__ inline void sync_cluster() {
#if __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.arrive.aligned;\n\tbarrier.cluster.wait.aligned;" ::: "memory");
#endif
}

// All threads of a team. Barrier 0 is that of the thread block.
__device__ inline void sync_team(int team, const NativeDecodePlan& plan) {
  asm volatile("bar.sync %0, %1;" ::"r"(team + 1), "r"(32 * plan.warps) : "memory");
}

// What *p is in the thread block of this rank of the cluster.
__device__ inline float4 load_from_rank(const float4* p, [[maybe_unused]] int rank) {
#if __CUDA_ARCH__ >= 900
  float4 value;
  uint32_t address;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;"
               : "=r"(address)
               : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(p))), "r"(rank));
  asm volatile("ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [%4];"
               : "=f"(value.x), "=f"(value.y), "=f"(value.z), "=f"(value.w)
               : "r"(address)
               : "memory");
  return value;
#else
  return *p;
#endif
}

// A team's share of the work: tiles `column`, column + plan.columns, ... by a part of K.
struct Share {
  int rank, warp, lane;
  int64_t column;
  int first_piece, pieces, tiles;

  __device__ Share(const NativeDecodePlan& plan, int team)
      : rank(static_cast<int>(blockIdx.x) % plan.split),
        warp(static_cast<int>(threadIdx.x) / 32 - team * plan.warps),
        lane(static_cast<int>(threadIdx.x) % 32),
        column(plan.columns / plan.teams * team + blockIdx.x / plan.split),
        first_piece(static_cast<int>(int64_t{plan.pieces} * rank / plan.split)),
        pieces(static_cast<int>(int64_t{plan.pieces} * (rank + 1) / plan.split) - first_piece),
        tiles(column < plan.tiles
                  ? static_cast<int>((plan.tiles - column + plan.columns - 1) / plan.columns)
                  : 0) {}

  __device__ int64_t row_of(const NativeDecodePlan& plan, int tile) const {
    return (column + tile * plan.columns) * kDecodeTile;
  }
};

// Entries from row to row of x in shared memory: all that a thread block has along K, and one that
// keeps rows out of each other's banks.
__device__ inline int x_row_entries(const NativeDecodePlan& plan) { return plan.slice * 16 + 1; }

// Starts copying this thread block's part of x[b]; zeros beyond K.
template <class T>
__device__ void start_x(const Arguments& a, const Share& share, int64_t b, uint4* to) {
  const int64_t first = int64_t{share.first_piece} * kPieceK;
  const int entries = share.pieces * 16;
  const T* x = static_cast<const T*>(a.product.x) + b * a.product.x_batch + first;
  const bool is_aligned =
      reinterpret_cast<uintptr_t>(x) % 16 == 0 && a.product.x_row % (16 / sizeof(T)) == 0;
  for (int row = 0; row < a.product.m; ++row, x += a.product.x_row, to += x_row_entries(a.plan)) {
    for (int entry = static_cast<int>(threadIdx.x); entry < entries;
         entry += static_cast<int>(blockDim.x)) {
      const bool exists = first + 8 * entry < a.product.weight.k;
      const T* from = x + (exists ? 8 * entry : 0);
      uint4* const place = to + entry;
      if (is_aligned) {
        detail::copy_async<16>(detail::shared_address(place), from, exists);
      } else {
        alignas(16) T values[8];
#pragma unroll
        for (int i = 0; i < 8; ++i) values[i] = exists ? from[i] : T();
        *place = *reinterpret_cast<const uint4*>(values);
      }
    }
  }
}

// What a warp has of a tile: 16 rows of W by 8 of x, of which lane l has rows l / 4 and l / 4 + 8
// by 2·(l % 4) and the next (multiply_matrices in ptx.cuh).
__device__ inline void add(float4& sum, const float4& more) {
  sum.x += more.x, sum.y += more.y, sum.z += more.z, sum.w += more.w;
}

template <class T>
__device__ void store_y(const Arguments& a, int64_t b, int64_t n, int64_t m, const float4& sum) {
  const float sums[4] = {sum.x, sum.y, sum.z, sum.w};
  const int lane = static_cast<int>(threadIdx.x) % 32;
  T* const y = static_cast<T*>(a.product.y) + b * a.product.m * a.product.weight.n;
#pragma unroll
  for (int e = 0; e < 4; ++e) {
    const int64_t row = n + lane / 4 + e / 2 * 8, token = m + lane % 4 * 2 + e % 2;
    if (row >= a.product.weight.n || token >= a.product.m) continue;
    const float bias = a.product.bias != nullptr ? a.product.bias[row] : 0.0f;
    y[token * a.product.weight.n + row] = convert<T>(sums[e] + bias);
  }
}

// Adds up what the warps have left, [tiles, token tiles, warps, 32 lanes]. The sums are y, or part
// of them where a cluster shares the tiles: [tiles, token tiles, 32 lanes] that this thread block
// keeps.
template <class T, int kTokenTiles>
__device__ void add_warps(const Arguments& a, const Share& share, int64_t b, const float4* left,
                          int first, int tiles, float4* kept) {
  const int lane = share.lane, warps = a.plan.warps;
  for (int i = share.warp; i < tiles * kTokenTiles; i += warps) {
    float4 sum = left[i * warps * 32 + lane];
    for (int warp = 1; warp < warps; ++warp) add(sum, left[(i * warps + warp) * 32 + lane]);
    if (a.plan.split > 1) {
      kept[i * 32 + lane] = sum;
    } else {
      store_y<T>(a, b, share.row_of(a.plan, first + i / kTokenTiles), i % kTokenTiles * 8, sum);
    }
  }
}

// Adds up what the thread blocks of a cluster have kept, each for a part of the tiles.
template <class T, int kTokenTiles>
__device__ void add_ranks(const Arguments& a, const Share& share, int64_t b, const float4* kept,
                          int first, int tiles) {
  const int lane = share.lane, split = a.plan.split;
  sync_cluster();
  for (int i = share.warp * split + share.rank; i < tiles * kTokenTiles;
       i += a.plan.warps * split) {
    float4 sum = load_from_rank(kept + i * 32 + lane, 0);
    for (int rank = 1; rank < split; ++rank) add(sum, load_from_rank(kept + i * 32 + lane, rank));
    store_y<T>(a, b, share.row_of(a.plan, first + i / kTokenTiles), i % kTokenTiles * 8, sum);
  }
  sync_cluster();
}

template <class Traits, class T, int kTokenTiles>
__global__ void __launch_bounds__(32 * kDecodeWarps, 1)
    kernel(const __grid_constant__ Arguments a) {
  using Piece = DecodePiece<Traits, T>;
  constexpr int kStages = kDecodeStages;
  extern __shared__ uint4 shared[];
  const DeviceWeight& weight = a.product.weight;
  const NativeDecodePlan& plan = a.plan;
  const int m = static_cast<int>(a.product.m);
  const int team = static_cast<int>(threadIdx.x) / (32 * plan.warps);
  const Share share(plan, team);
  const int lane = share.lane, warp = share.warp;
  // [teams, 2, plan.round, token tiles, warps, 32]; [teams, plan.kept, token tiles, 32]; [warps,
  // stages, slot]; x
  const int left_of_round = plan.round * kTokenTiles * plan.warps * 32;
  auto* const left = reinterpret_cast<float4*>(shared) + team * 2 * left_of_round;
  const int kept_of_team = plan.kept * kTokenTiles * 32;
  float4* const kept =
      reinterpret_cast<float4*>(shared) + plan.teams * 2 * left_of_round + team * kept_of_team;
  const uint32_t slots = detail::shared_address(reinterpret_cast<float4*>(shared) +
                                                plan.teams * (2 * left_of_round + kept_of_team)) +
                         threadIdx.x / 32 * (kStages * Piece::kSlot);
  uint4* const x = shared + (plan.shared_bytes(0) / 16);
  uint32_t x_of_lane[kTokenTiles];  // rows past the last are the last again
#pragma unroll
  for (int i = 0; i < kTokenTiles; ++i) {
    x_of_lane[i] =
        detail::shared_address(x + min(8 * i + Piece::row_of_lane(), m - 1) * x_row_entries(plan) +
                               Piece::entry_of_lane());
  }

  for (int64_t b = blockIdx.y; b < plan.batch; b += gridDim.y) {
    start_x<T>(a, share, b, x);
    detail::end_copies();

    // Where the list of pieces is, the next that is to be copied and the next to be multiplied.
    struct Place {
      int tile, piece;
      __device__ void advance(const NativeDecodePlan& plan, const Share& share) {
        piece += plan.warps;
        if (piece >= share.pieces) piece -= share.pieces, ++tile;
      }
    };
    Place ahead{0, warp}, here{0, warp};
    const auto rows_of = [&](int tile) {
      return typename Piece::Rows(weight, share.row_of(plan, tile), b);
    };
    typename Piece::Rows ahead_rows = rows_of(0);
    const auto start_next = [&](uint32_t slot) {
      if (ahead.tile < share.tiles) {
        Piece::start(weight, ahead_rows, share.first_piece + ahead.piece, slot);
        const int tile = ahead.tile;
        ahead.advance(plan, share);
        if (ahead.tile != tile) ahead_rows.advance(weight, share.row_of(plan, ahead.tile), b);
      }
      detail::end_copies();
    };
#pragma unroll
    for (int stage = 0; stage < kStages; ++stage) start_next(slots + stage * Piece::kSlot);
    Piece piece, next;
    next.load_numbers(rows_of(0), share.first_piece + here.piece);
    detail::wait_for_copies<kStages>();
    __syncthreads();

    float sums[kTokenTiles][2][4] = {};
    uint32_t slot = slots;
    int turn = 0, tiles_of_round = 0;  // of the two rounds that have room
    const int most = static_cast<int>((plan.tiles - 1) / plan.columns) + 1;
    // As many tiles at a time as are kept for the cluster, in all its teams; otherwise all.
    const int at_a_time = plan.split > 1 ? plan.kept : most;
    for (int begin = 0; begin < most; begin += at_a_time) {
      const int end = min(begin + at_a_time, share.tiles);
      while (here.tile < end) {
        detail::wait_for_copies<kStages - 1>();
        __syncwarp();
        piece = next;
        piece.take(slot);
        __syncwarp();
        start_next(slot);
        slot = slot + Piece::kSlot < slots + kStages * Piece::kSlot ? slot + Piece::kSlot : slots;
        const int x_of_piece = here.piece * (16 * 16);
        const int tile = here.tile;
        here.advance(plan, share);
        if (here.tile < share.tiles) {
          next.load_numbers(rows_of(here.tile), share.first_piece + here.piece);
        }
#pragma unroll
        for (int step = 0; step < kPieceSteps; ++step) {
          uint32_t low[4], high[4];
          piece.weights(step, 0, low);
          piece.weights(step, 1, high);
          const uint32_t first[4] = {low[0], high[0], low[1], high[1]};
          const uint32_t second[4] = {low[2], high[2], low[3], high[3]};
#pragma unroll
          for (int i = 0; i < kTokenTiles; ++i) {
            uint32_t values[4];
            Piece::load_x(x_of_lane[i] + x_of_piece, step, values);
            multiply_matrices(sums[i][0], first, values[0], values[1], T());
            multiply_matrices(sums[i][1], second, values[2], values[3], T());
          }
        }
        if (here.tile == tile) continue;

        float4* const of_round = left + turn * left_of_round;
#pragma unroll
        for (int i = 0; i < kTokenTiles; ++i) {
          const auto& [one, other] = sums[i];
          of_round[((tiles_of_round * kTokenTiles + i) * plan.warps + warp) * 32 + lane] = {
              one[0] + other[0], one[1] + other[1], one[2] + other[2], one[3] + other[3]};
#pragma unroll
          for (int e = 0; e < 4; ++e) sums[i][0][e] = sums[i][1][e] = 0;
        }
        if (++tiles_of_round < plan.round && here.tile != end) continue;
        // What the round after the next leaves here comes after another of these barriers.
        sync_team(team, plan);
        const int first = here.tile - tiles_of_round;
        add_warps<T, kTokenTiles>(a, share, b, of_round, first, tiles_of_round,
                                  kept + (first - begin) * kTokenTiles * 32);
        turn ^= 1, tiles_of_round = 0;
      }
      if (plan.split > 1) {
        add_ranks<T, kTokenTiles>(a, share, b, kept, begin, max(end - begin, 0));
      }
    }
    __syncthreads();  // the next x may take the place of this one
  }
}

template <class Traits, class T, int kTokenTiles>
void launch(const WeightProduct& product, const NativeDecodePlan& plan, cudaStream_t stream) {
  const auto run = kernel<Traits, T, kTokenTiles>;
  constexpr int64_t kMaxBatch = 65535;  // in the second dimension of a grid
  // Always the same limit: other threads may launch the kernel with other plans.
  AOTINY_CUDA_CHECK(cudaFuncSetAttribute(run, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                         static_cast<int>(native_decode_device().shared)));
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(plan.columns / plan.teams * plan.split),
                        static_cast<unsigned>(std::min(plan.batch, kMaxBatch)));
  config.blockDim = dim3(static_cast<unsigned>(32 * plan.warps * plan.teams));
  config.dynamicSmemBytes = static_cast<size_t>(plan.shared_bytes(product.m));
  config.stream = stream;
  cudaLaunchAttribute cluster{};
  cluster.id = cudaLaunchAttributeClusterDimension;
  cluster.val.clusterDim = {static_cast<unsigned>(plan.split), 1, 1};
  config.attrs = &cluster;
  config.numAttrs = plan.split > 1;
  AOTINY_CUDA_CHECK(cudaLaunchKernelEx(&config, run, Arguments{product, plan}));
}

}  // namespace decode_detail

template <class Traits>
void native_decode_of(const WeightProduct& product, const NativeDecodePlan& plan,
                      cudaStream_t stream) {
  const auto with = [&](auto element) {
    using T = decltype(element);
    plan.rows == 8 ? decode_detail::launch<Traits, T, 1>(product, plan, stream)
                   : decode_detail::launch<Traits, T, 2>(product, plan, stream);
  };
  product.dtype == DType::Float16 ? with(__half()) : with(__nv_bfloat16());
}

}  // namespace aotiny::cuda
