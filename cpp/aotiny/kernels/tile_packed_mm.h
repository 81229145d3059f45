// y [m, n] = x [m, k] W^T with Int4TilePacked weights and bf16 activations, where the processor
// multiplies bf16.
//
// The value of a weight, (q − 8)·scale + zero in fp32, is rounded to bf16, as on a GPU; products
// are exact and sums fp32. A thread unpacks 16 rows of W once and multiplies all rows of x by them.
// The sums of every element of y have one order, whatever m and the number of threads are.
#pragma once

#include "aotiny/core/cpu_features.h"
#include "aotiny/quant/weight.h"

namespace aotiny {

struct TilePackedMmArgs {
  int64_t m;
  const BFloat16* x;  // [m, K], unit stride along K
  int64_t x_row;      // elements from row to row
  const float* bias;  // [N], or null
  BFloat16* y;        // [m, N], contiguous; overlaps neither x nor bias
};

// Whether there is such a product: otherwise dequantized_mm.h has it.
bool has_tile_packed_mm(FormatId format, DType activations, const CpuFeatures& features) noexcept;

// With weight b of a stack (0 if it is none).
void tile_packed_mm(const Weight& weight, int64_t b, const TilePackedMmArgs& args);

// --- the kernel ---------------------------------------------------------------------------------

// Eight rows of W, a tile along n.
struct TilePackedRows {
  const uint32_t* words;  // the first row's
  int64_t words_step;     // from one 16·t along k to the next
  int words_per_lane;     // t / 2: 1, 2 or 4
  const uint32_t* pairs;  // scale and zero in bf16, [K / group_size][pairs_step], eight of each
  int64_t pairs_step;
  int64_t k, group_size;
};

inline constexpr int kTilePackedXRows = 6;

// As bf16 pairs of one row each, [K / 32][4][2][16]: of runs of 8 k vectors of four rows, then of
// the other four, which have [4 rows][4 pairs].
void unpack_tile_rows_avx512bf16(const TilePackedRows& rows, uint32_t* pairs);

// A stretch of k: 1..kTilePackedXRows rows of x against eight unpacked rows of W.
struct TilePackedTile {
  const uint32_t* pairs;
  int64_t k;
  const BFloat16* x;
  int64_t x_row;
  bool first, last;
  float* sums;        // [rows][8], between the first stretch and the last
  const float* bias;  // [8], or null
  BFloat16* y;        // [rows][8], rows y_row apart; written by the last
  int64_t y_row;
};
void multiply_tile_rows_avx512bf16(const TilePackedTile& tile, int rows);

}  // namespace aotiny
