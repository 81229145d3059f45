// Activations to int8, in blocks of 32 along k, once for every product of a call.
//
//   d = max|x| / 127,  q = round to nearest even(x / d) in −127..127,  sum = Σ q
//
// A block of zeros, or one so small that d underflows to 0, gives d = 0 and q = 0. A block with a
// NaN or an infinity gives d = NaN and q = 0, so that whatever is multiplied by it is NaN. All
// implementations give the same bits.
#pragma once

#include <cstdint>

#include "aotiny/core/cpu_features.h"
#include "aotiny/quant/format.h"

namespace aotiny {

struct BlockScale {
  float d;
  float sum;        // an integer, at most 32·127 in magnitude
  float first_sum;  // of the 16 lowest k, for groups that end in the middle of a block
};

// One row: x [k], of the dtype that the function is for, to k / 32 blocks of q, each in the given
// order, and to `blocks`. From a block to the next it is 32·step int8 and `step` BlockScales. k is
// a multiple of 32.
using QuantizeRow = void (*)(const void* x, int64_t k, KOrder order, int64_t step, int8_t* q,
                             BlockScale* blocks);

struct QuantizeRowKernels {
  const char* name;
  QuantizeRow float32, float16, bfloat16;
};

extern const QuantizeRowKernels kQuantizeRow;
extern const QuantizeRowKernels kQuantizeRowAvx2;
extern const QuantizeRowKernels kQuantizeRowAvx512;

const QuantizeRowKernels& quantize_row_kernels(const CpuFeatures& features);

// x [m, k] with unit stride along k and `row_stride` elements between rows, of dtype float32,
// float16 or bfloat16; parallel over rows. The result is in tiles of `tile_rows` rows (the last of
// those that remain), which follow each other: a tile has q as [k / 32][rows][32] and blocks as
// [k / 32][rows], so that a kernel reads both from front to back.
void quantize_activations(const void* x, DType dtype, int64_t row_stride, int64_t m, int64_t k,
                          KOrder order, int64_t tile_rows, int8_t* q, BlockScale* blocks,
                          const CpuFeatures& features = cpu_features());

}  // namespace aotiny
