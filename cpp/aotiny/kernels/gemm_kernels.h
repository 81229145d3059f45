// The inner loops of dense products, one table of them an instruction set.
//
// A product is seen as C[r, c] = sum over k of S[r, k]·V[k, c]: the elements of S are broadcast,
// the columns of V lie side by side in vectors. Nothing here validates, allocates or starts
// threads.
#pragma once

#include <cstdint>

#include "aotiny/core/cpu_features.h"

namespace aotiny {

struct GemmKernels {
  const char* name;
  int64_t lanes;      // floats in a vector
  int64_t tile_rows;  // rows of S that `tile` takes at most
  int64_t dot_rows;   // rows of x that `dot` takes at most

  // c[r·c_row + j] = (accumulate ? c : 0) + sum_k s[r·s_row + k·s_k] · v[k·v_k + j], for r < rows
  // and j < vectors·lanes, 1 <= rows <= tile_rows, 1 <= vectors <= kGemmVectors. A bf16 table needs
  // s_k of 1 and a panel that its own `pack` made.
  void (*tile)(int64_t rows, int64_t vectors, int64_t k, const void* s, int64_t s_row, int64_t s_k,
               const void* v, int64_t v_k, float* c, int64_t c_row, bool accumulate);

  // Lays columns 0..columns-1 of V out as the panel that `tile` reads, `width` a multiple of lanes,
  // the columns from `columns` to `width` zero. v_k of the panel is `width`.
  void (*pack)(int64_t k, int64_t columns, int64_t width, const void* v, int64_t v_k,
               int64_t v_column, void* panel);

  // c[i·c_row + j] = sum_k x[i·x_row + k] · w[j·w_row + k] for i < rows and j < 4; rows of w from
  // `w_rows` (1..4) on are not read, and their columns of c are meaningless.
  void (*dot)(int64_t rows, int64_t w_rows, int64_t k, const void* x, int64_t x_row, const void* w,
              int64_t w_row, float* c, int64_t c_row);

  // out[c·out_row + r] = in[r·in_row + c] for c < columns; r runs to `rows` rounded up to lanes,
  // the excess zero.
  void (*transpose)(int64_t rows, int64_t columns, const float* in, int64_t in_row, float* out,
                    int64_t out_row);

  // out[j] = alpha·in[j] (+ beta·addend[j·addend_stride] unless addend is null). out may be in.
  void (*finish)(int64_t count, float alpha, const float* in, float beta, const float* addend,
                 int64_t addend_stride, float* out);

  // out[c·out_row + r] = alpha·in[r·in_row + c] (+ addend[r] unless null), for r < rows <= lanes
  // and c < columns: `transpose` and `finish` of a block in one, in registers. The second one
  // rounds to bf16, and is null where there are no vectors for that.
  void (*finish_transposed)(int64_t rows, int64_t columns, float alpha, const float* in,
                            int64_t in_row, const float* addend, float* out, int64_t out_row);
  void (*finish_transposed_bf16)(int64_t rows, int64_t columns, float alpha, const float* in,
                                 int64_t in_row, const float* addend, uint16_t* out,
                                 int64_t out_row);

  // Between float and the storage of the 16-bit floats, rounding to nearest even.
  void (*bf16_to_float)(int64_t count, const uint16_t* in, float* out);
  void (*fp16_to_float)(int64_t count, const uint16_t* in, float* out);
  void (*float_to_bf16)(int64_t count, const float* in, uint16_t* out);
  void (*float_to_fp16)(int64_t count, const float* in, uint16_t* out);
};

// Vectors across a panel: with tile_rows they fill the register file of every instruction set.
inline constexpr int64_t kGemmVectors = 3;

const GemmKernels& gemm_kernels_portable() noexcept;
const GemmKernels& gemm_kernels_avx2() noexcept;
const GemmKernels& gemm_kernels_avx512() noexcept;
// s, v, x and w are bf16, multiplied in pairs; the rest is that of avx512.
const GemmKernels& gemm_kernels_avx512bf16() noexcept;

// The best table for fp32 operands.
const GemmKernels& gemm_kernels(const CpuFeatures& features) noexcept;

}  // namespace aotiny
