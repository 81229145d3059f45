// y[m][n] = Σ over blocks of 32 k:  d·scale·(Σ qw·qx − zero·Σ qx)
//                             or    d·(scale·Σ qw·qx − min·Σ qx), as the format's Value says
//
// A warp has kRowsW rows of W and kRowsX rows of x; lane l takes the blocks l, l + 32, ... of all
// of them, so that a warp loads 512 bytes of codes in a row. The sums of integer products are
// exact; one fused multiply-add in fp32 accumulates each block, and a butterfly adds the lanes up.
// Every operation is written as an intrinsic: the compiler must not fuse it one way in one
// instance and another way in the next, or rows would depend on how many come with them.
//
// Where groups end in the middle of blocks, a block is the sum of its two halves' products.
#pragma once

#include "aotiny/kernels/cuda_plain_mm_launch.h"
#include "aotiny/kernels/formats.cuh"
#include "aotiny/kernels/launch.cuh"

namespace aotiny::cuda {
namespace plain_mm_detail {

constexpr int kWarp = 32;

// The words of a block that a sum is over: all, or the 16 lowest or highest k in the order EvenOdd.
enum class Part { Whole, First, Second };

__device__ constexpr bool is_in(Part part, int word) {
  return part == Part::Whole || (word % 4 < 2) == (part == Part::First);
}

// Σ qw·qx − zero·Σ qx, times scale (or its kin), of one part of a block.
template <Part kPart, Value kValue>
__device__ float product(const uint32_t (&w)[8], const uint32_t (&q)[8], GroupNumbers numbers,
                         float sum) {
  int dot = 0;
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    if (is_in(kPart, i)) dot = __dp4a(static_cast<int>(w[i]), static_cast<int>(q[i]), dot);
  }
  const float exact = __int2float_rn(dot);
  if constexpr (kValue == Value::Zero) {
    return __fmul_rn(__fmaf_rn(-numbers.zero, sum, exact), numbers.scale);
  } else if constexpr (kValue == Value::Min) {
    return __fmaf_rn(-numbers.zero, sum, __fmul_rn(exact, numbers.scale));
  } else {
    return __fmul_rn(exact, numbers.scale);
  }
}

// The 32 codes and the numbers of a block of one row of W.
template <class Traits, bool kHalves>
struct WeightBlock {
  uint32_t codes[8];
  GroupNumbers numbers[kHalves ? 2 : 1];

  __device__ WeightBlock(const FormatRow& row, uint32_t block, uint32_t group_size) {
    DeviceFormat<Traits>::codes(row, block, codes);
    if constexpr (kHalves) {
      const uint32_t group_halves = group_size / 16;
      for (uint32_t half = 0; half < 2; ++half) {
        numbers[half] =
            DeviceFormat<Traits>::numbers(row, (2 * block + half) / group_halves, group_size);
      }
    } else {
      numbers[0] = DeviceFormat<Traits>::numbers(row, block / (group_size / kBlock), group_size);
    }
  }

  __device__ float times(const uint32_t (&q)[8], const BlockNumbers& x) const {
    constexpr Value kValue = Traits::kInfo.value;
    if constexpr (kHalves) {
      return __fadd_rn(
          product<Part::First, kValue>(codes, q, numbers[0], x.first_sum),
          product<Part::Second, kValue>(codes, q, numbers[1], __fsub_rn(x.sum, x.first_sum)));
    } else {
      return product<Part::Whole, kValue>(codes, q, numbers[0], x.sum);
    }
  }
};

__device__ inline void load_activations(const int8_t* q, uint32_t (&words)[8]) {
  const uint4 low = reinterpret_cast<const uint4*>(q)[0];
  const uint4 high = reinterpret_cast<const uint4*>(q)[1];
  words[0] = low.x, words[1] = low.y, words[2] = low.z, words[3] = low.w;
  words[4] = high.x, words[5] = high.y, words[6] = high.z, words[7] = high.w;
}

// In every lane the same bits, since a butterfly's sums are symmetric.
__device__ inline float sum_over_warp(float value) {
#pragma unroll
  for (int step = 1; step < kWarp; step *= 2) {
    value = __fadd_rn(value, __shfl_xor_sync(0xffffffffu, value, step));
  }
  return value;
}

__device__ inline void store_as(DType dtype, void* y, int64_t offset, float value) {
  if (dtype == DType::Float32) {
    static_cast<float*>(y)[offset] = value;
  } else if (dtype == DType::Float16) {
    static_cast<__half*>(y)[offset] = __float2half_rn(value);
  } else {
    static_cast<__nv_bfloat16*>(y)[offset] = __float2bfloat16_rn(value);
  }
}

// Weight b of the stack: rows m0 .. m0 + kRowsX − 1 of x by rows n0 .. n0 + kRowsW − 1 of W. Past
// the last row of either, the last row is computed once more and not stored.
template <class Traits, bool kHalves, int kRowsX>
__device__ void plain_mm_item(const PlainMmArguments& a, int64_t b, int64_t m0, int64_t n0) {
  constexpr int kRowsW = plain_mm_rows_w(kRowsX);
  const DeviceWeight& weight = a.weight;
  const uint32_t num_blocks = static_cast<uint32_t>(weight.k / kBlock);
  const uint32_t group_size = static_cast<uint32_t>(weight.group_size);
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  FormatRow rows[kRowsW];
  int64_t x_rows[kRowsX];
#pragma unroll
  for (int w = 0; w < kRowsW; ++w) {
    rows[w] = format_row<Traits>(weight, min(n0 + w, weight.n - 1), b);
  }
#pragma unroll
  for (int r = 0; r < kRowsX; ++r) x_rows[r] = b * a.m + min(m0 + r, a.m - 1);

  float total[kRowsX][kRowsW] = {};
  for (uint32_t block = lane; block < num_blocks; block += kWarp) {
    // Unrolled, so that the arrays are registers and all loads of a block are under way at once.
    [&]<int... kW>(std::integer_sequence<int, kW...>) {
      const WeightBlock<Traits, kHalves> blocks[] = {{rows[kW], block, group_size}...};
#pragma unroll
      for (int r = 0; r < kRowsX; ++r) {
        uint32_t q[8];
        load_activations(a.q + (x_rows[r] * num_blocks + block) * kBlock, q);
        const BlockNumbers x = a.blocks[x_rows[r] * num_blocks + block];
        ((total[r][kW] = __fmaf_rn(blocks[kW].times(q, x), x.d, total[r][kW])), ...);
      }
    }
    (std::make_integer_sequence<int, kRowsW>{});
  }
#pragma unroll
  for (int r = 0; r < kRowsX; ++r) {
#pragma unroll
    for (int w = 0; w < kRowsW; ++w) {
      const float sum = sum_over_warp(total[r][w]);
      if (lane != 0 || m0 + r >= a.m || n0 + w >= weight.n) continue;
      const float y = a.bias != nullptr ? __fadd_rn(sum, a.bias[n0 + w]) : sum;
      store_as(a.dtype, a.y, (b * a.m + m0 + r) * weight.n + n0 + w, y);
    }
  }
}

template <class Traits, bool kHalves, int kRowsX>
__global__ void __launch_bounds__(kWarp* kPlainMmWarps)
    plain_mm_kernel(const __grid_constant__ PlainMmArguments a) {
  constexpr int kRowsW = plain_mm_rows_w(kRowsX);
  for (int64_t item = blockIdx.x; item < a.items; item += gridDim.x) {
    // Chunks of x first: the next thread blocks find the same rows of W in the cache.
    const int64_t m0 = item % a.chunks * kRowsX;
    const int64_t tile = item / a.chunks % a.tiles;
    const int64_t n0 = (tile * kPlainMmWarps + threadIdx.x / kWarp) * kRowsW;
    if (n0 >= a.weight.n) continue;
    plain_mm_item<Traits, kHalves, kRowsX>(a, item / a.chunks / a.tiles, m0, n0);
  }
}

using PlainMmKernel = void (*)(PlainMmArguments);

template <class Traits, bool kHalves>
PlainMmKernel kernel_for(int rows_x) {
  switch (rows_x) {
    case 1:
      return plain_mm_kernel<Traits, kHalves, 1>;
    case 2:
      return plain_mm_kernel<Traits, kHalves, 2>;
    case 4:
      return plain_mm_kernel<Traits, kHalves, 4>;
    default:
      return plain_mm_kernel<Traits, kHalves, 8>;
  }
}

}  // namespace plain_mm_detail

template <class Traits>
void launch_plain_mm(const PlainMmArguments& arguments, const PlainMmPlan& plan,
                     cudaStream_t stream) {
  using namespace plain_mm_detail;
  constexpr bool kMayHaveHalves = Traits::kInfo.group_multiple % kBlock != 0;
  static_assert(Traits::kInfo.order == DeviceFormat<Traits>::kOrder);
  static_assert(!kMayHaveHalves || Traits::kInfo.order == KOrder::EvenOdd);
  PlainMmKernel kernel = kernel_for<Traits, false>(plan.rows_x);
  if constexpr (kMayHaveHalves) {
    if (plan.halves) kernel = kernel_for<Traits, true>(plan.rows_x);
  }
  launch(kernel, dim3(static_cast<unsigned>(plan.grid)), kWarp * kPlainMmWarps, stream, arguments);
}

}  // namespace aotiny::cuda
