// A block of 32 of a row of W, dequantized: in fp32, bit for bit what Weight::dequantize computes
// on the CPU.
#pragma once

#include "aotiny/kernels/formats.cuh"

namespace aotiny::cuda {

// The value of a code. No product is fused with the subtraction after or before it: that would
// round once where the CPU rounds twice.
template <class Traits>
__device__ float dequantized(float q, GroupNumbers numbers) {
  if constexpr (Traits::kInfo.value == Value::Zero) {
    return __fmul_rn(__fsub_rn(q, numbers.zero), numbers.scale);
  } else {
    return __fsub_rn(__fmul_rn(q, numbers.scale), numbers.zero);
  }
}

// W[32·block .. 32·block + 31] of a row. Group sizes are multiples of 16, so that each half of a
// block belongs to one group.
template <class Traits>
__device__ void dequantize_block(const FormatRow& row, int64_t block, int64_t group_size,
                                 float (&values)[32]) {
  using Format = DeviceFormat<Traits>;
  uint32_t words[8];
  Format::codes(row, block, words);
  const int64_t first = 32 * block / group_size, second = (32 * block + 16) / group_size;
  const GroupNumbers low = Format::numbers(row, first, group_size);
  const GroupNumbers high = first == second ? low : Format::numbers(row, second, group_size);
#pragma unroll
  for (int word = 0; word < 8; ++word) {
#pragma unroll
    for (int byte = 0; byte < 4; ++byte) {
      const int k = k_in_block(Format::kOrder, word, byte);
      const auto q = static_cast<int8_t>(words[word] >> (8 * byte));
      values[k] = dequantized<Traits>(static_cast<float>(q), k < 16 ? low : high);
    }
  }
}

// Eight values, rounded to nearest, at a multiple of 16 bytes.
__device__ inline void store_eight(const float* values, float* to) {
  auto* fours = reinterpret_cast<float4*>(to);
  fours[0] = {values[0], values[1], values[2], values[3]};
  fours[1] = {values[4], values[5], values[6], values[7]};
}

__device__ inline void store_eight(const float* values, __half* to) {
  alignas(16) __half2 pairs[4];
  for (int i = 0; i < 4; ++i) pairs[i] = __floats2half2_rn(values[2 * i], values[2 * i + 1]);
  *reinterpret_cast<uint4*>(to) = *reinterpret_cast<const uint4*>(pairs);
}

__device__ inline void store_eight(const float* values, __nv_bfloat16* to) {
  alignas(16) __nv_bfloat162 pairs[4];
  for (int i = 0; i < 4; ++i) pairs[i] = __floats2bfloat162_rn(values[2 * i], values[2 * i + 1]);
  *reinterpret_cast<uint4*>(to) = *reinterpret_cast<const uint4*>(pairs);
}

}  // namespace aotiny::cuda
