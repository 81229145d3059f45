// Instructions that CUDA C++ has no function for. All of sm_80; the 32 lanes of a warp run each
// together.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

namespace aotiny::cuda {

// Four matrices of 8 × 8 16-bit elements, from shared memory. Lane l gives the address of row l % 8
// of matrix l / 8, 16 bytes at a multiple of 16, and gets of every matrix the elements 2·(l % 4)
// and the next of row l / 4.
__device__ inline void load_matrices(uint32_t (&matrices)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(matrices[0]), "=r"(matrices[1]), "=r"(matrices[2]), "=r"(matrices[3])
               : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(row))));
}

// sums [16, 8] += a [16, 16] bᵀ, b [8, 16], with products and sums in fp32.
//   a     matrices of load_matrices: rows 0..7 and 8..15 at k 0..7, then the same at k 8..15
//   b     k 0..7, then k 8..15
//   sums  lane l has columns 2·(l % 4) and the next of row l / 4, then of row l / 4 + 8
__device__ inline void multiply_matrices(float (&sums)[4], const uint32_t (&a)[4], uint32_t b_low,
                                         uint32_t b_high, __half) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b_low), "r"(b_high));
}

__device__ inline void multiply_matrices(float (&sums)[4], const uint32_t (&a)[4], uint32_t b_low,
                                         uint32_t b_high, __nv_bfloat16) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b_low), "r"(b_high));
}

}  // namespace aotiny::cuda
