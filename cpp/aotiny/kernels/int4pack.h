// y = x Wᵀ for the 4-bit weights of torch's CPU op `_weight_int4pack_mm_for_cpu`.
//
//   w[n, k] = (q − 8)·scale + zero,  q in 0..15,  scale and zero for each group_size weights of a
//   row
//
// Sums run in fp32, as Σ over groups of scale·Σ(q − 8)·x + zero·Σx. A row of y does not depend on
// the other rows.
#pragma once

#include <cstdint>
#include <iosfwd>

#include "aotiny/core/cpu_features.h"
#include "aotiny/core/dtype.h"

namespace aotiny {

// How torch's packer lays rows out: in blocks, of which each k has one byte for two rows. In a full
// block of `Halves` byte i holds row i in its low and row i + block / 2 in its high nibble; the
// last block, if it is not full, and every block of `Pairs` hold rows 2i and 2i + 1 there.
//
//   block b, k:   | byte 0 | byte 1 | ... | byte rows/2 − 1 |      at b·block·K/2 + k·rows/2
//   Halves64      | 32   0 | 33   1 | ... | 63           31 |
//   Pairs         |  1   0 |  3   2 | ...                         (high nibble, low nibble)
enum class Int4PackLayout { Halves64, Halves32, Pairs };
std::ostream& operator<<(std::ostream& out, Int4PackLayout layout);

constexpr int64_t block_rows(Int4PackLayout layout) {
  return layout == Int4PackLayout::Halves64 ? 64 : 32;
}

// The layout that torch's packer produces and torch's op expects on this processor: Halves64 with
// AVX-512, Halves32 with AVX2, otherwise Pairs. Packed weights do not say which they are, and torch
// reads them by the processor that it runs on, so this does the same. Weights packed on another
// kind of machine need the environment variable ATEN_CPU_CAPABILITY ("avx512", "avx2", "default"),
// by which torch, too, overrides the choice.
Int4PackLayout int4pack_layout();

struct Int4PackProblem {
  int64_t m, n, k;     // n a multiple of 16
  int64_t group_size;  // 32, 64, 128 or 256; divides k
  Int4PackLayout layout;
  const float* x;                // [m, k]
  const float* x_sums;           // [m, k / group_size]
  const uint8_t* weights;        // [n, k / 2]
  const void* scales_and_zeros;  // [k / group_size, n, 2], float32, float16 or bfloat16
  DType scale_dtype;
  float* y;  // [m, n]
};

// Computes rows block·block_rows.. of Wᵀ for all rows of x.
using Int4PackBlock = void (*)(const Int4PackProblem& problem, int64_t block);
void int4pack_block(const Int4PackProblem& problem, int64_t block);         // any layout
void int4pack_block_avx2(const Int4PackProblem& problem, int64_t block);    // full Halves32
void int4pack_block_avx512(const Int4PackProblem& problem, int64_t block);  // full Halves64

// Which of them takes a full block.
enum class Int4PackKernel { Portable, Avx2, Avx512 };
std::ostream& operator<<(std::ostream& out, Int4PackKernel kernel);
Int4PackKernel choose_int4pack_kernel(Int4PackLayout layout, const CpuFeatures& features);

// Fills y; `x_sums` is set here. Parallel over blocks.
void int4pack_mm(const Int4PackProblem& problem, const CpuFeatures& features = cpu_features());

}  // namespace aotiny
