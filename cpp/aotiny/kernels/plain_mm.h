// y [m, n] = x [m, k] W^T with quantized weights and activations:
//
//   y[m][n] = Σ over blocks of 32 k:  d·scale·(Σ qw·qx − zero·Σ qx)
//                               or    d·(scale·Σ qw·qx − min·Σ qx), as the format's Value says
//
// The sums of integer products are exact; one fused multiply-add in fp32 accumulates each block, in
// the order of k, whatever m and the number of threads are. So a row's result depends neither on
// the other rows nor on the threads. Where groups end in the middle of blocks, a block is the sum
// of its two halves' products.
//
// Weights are taken a panel at a time: as many rows as an instruction set has 32-bit lanes, lane l
// holding row l. A panel block is 32 k: eight vectors of four codes a lane. With few rows of x the
// codes go from memory to such vectors directly, otherwise a few panels are unpacked once and used
// for many tiles of rows. Either way k is taken in stretches, whose numbers stay in a cache.
#pragma once

#include "aotiny/kernels/quantize_activations.h"
#include "aotiny/quant/formats.h"

namespace aotiny {

// The rows of a panel in the planes of a weight, from some group on. Reading up to kPlainOverRead
// bytes past the last row is safe.
struct PlainPanel {
  const uint8_t* plane[kMaxPlanes];
  int64_t stride[kMaxPlanes];  // bytes from row to row
};
inline constexpr int64_t kPlainOverRead = 64;
inline constexpr int64_t kMaxPanels = 4;

// A tile of y, and a stretch of k that is whole groups: a few rows of x against one panel that is
// packed, or against as many unpacked ones as `tile` takes (`panels`).
struct PlainTile {
  int64_t num_blocks;
  int64_t group_blocks;      // whole blocks a group
  int64_t group_halves;      // half blocks a group
  const int8_t* q;           // [num_blocks][rows][32]
  const BlockScale* blocks;  // [num_blocks][rows]
  const float* scale;        // [panels][groups][lanes]
  const float* zero;         // or min
  int64_t params_stride;     // from panel to panel
  PlainPanel packed;         // for `direct`
  const uint8_t* next;       // where to fetch from ahead of use ...
  int64_t next_bytes;        // ... how much a block; a multiple of 64
  const uint8_t* unpacked;   // for `tile`: [num_blocks][8][panels][lanes][4]
  bool first;                // whether the sums begin here; else those of `sums` go on
  const float* bias;         // [panels][lanes], to be added in the end; or null
  float* sums;               // [rows][panels][lanes], rows sums_stride apart
  int64_t sums_stride;
};

struct PlainFormatKernels {
  // scale and zero in fp32 as [groups rounded up to a multiple of 16][lanes].
  void (*load_params)(const PlainPanel& panel, int64_t groups, int64_t group_size, float* scale,
                      float* zero);
  // One panel's part of what `tile` reads; from a vector of it to the next there are all panels'.
  void (*unpack)(const PlainPanel& panel, int64_t num_blocks, uint8_t* unpacked);
  void (*direct)(const PlainTile& tile, int rows);  // 1..direct_rows
  void (*tile)(const PlainTile& tile, int rows);    // 1..tile_rows
};

struct PlainMmKernels {
  const char* name;
  int lanes;
  int panels;
  int direct_rows, tile_rows;
  PlainFormatKernels
      formats[Formats::kCount];  // by FormatId; null where there are no such products
};

extern const PlainMmKernels kPlainMm;
extern const PlainMmKernels kPlainMmAvx2;
extern const PlainMmKernels kPlainMmAvx512Vnni;

}  // namespace aotiny
