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
// codes go from memory to such vectors directly, otherwise a panel is unpacked once and used for
// many tiles of rows.
#pragma once

#include "aotiny/kernels/quantize_activations.h"
#include "aotiny/quant/formats.h"

namespace aotiny {

// The rows of a panel in the planes of a weight. Reading up to 15 bytes past the last row is safe.
struct PlainPanel {
  const uint8_t* plane[kMaxPlanes];
  int64_t stride[kMaxPlanes];  // bytes from row to row
};

// A tile of y: up to max_rows rows of x against one panel.
struct PlainTile {
  int64_t groups;
  int64_t group_blocks;      // whole blocks a group
  int64_t group_halves;      // half blocks a group
  const int8_t* q;           // [k / 32][rows][32]
  const BlockScale* blocks;  // [k / 32][rows]
  const float* scale;        // [groups][lanes]
  const float* zero;         // or min
  PlainPanel packed;         // for `direct`
  const uint8_t* unpacked;   // for `tile`: [k / 32][8][lanes][4]
  const float* bias;         // [lanes], or null
  float* y;                  // [rows][lanes], rows y_stride apart
  int64_t y_stride;
};

struct PlainFormatKernels {
  // scale and zero in fp32 as [groups rounded up to a multiple of 16][lanes].
  void (*load_params)(const PlainPanel& panel, int64_t groups, int64_t group_size, float* scale,
                      float* zero);
  void (*unpack)(const PlainPanel& panel, int64_t num_blocks, uint8_t* unpacked);
  void (*direct)(const PlainTile& tile, int rows);
  void (*tile)(const PlainTile& tile, int rows);
};

struct PlainMmKernels {
  const char* name;
  int lanes;
  int max_rows;
  PlainFormatKernels
      formats[Formats::kCount];  // by FormatId; null where there are no such products
};

extern const PlainMmKernels kPlainMm;
extern const PlainMmKernels kPlainMmAvx2;
extern const PlainMmKernels kPlainMmAvx512Vnni;

}  // namespace aotiny
