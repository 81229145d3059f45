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
  float sum;  // an integer, at most 32·127 in magnitude
};

// One row: x [k], of the dtype that the function is for, to q [k], in each block in the given
// order, and blocks [k / 32]. k is a multiple of 32.
using QuantizeRow = void (*)(const void* x, int64_t k, KOrder order, int8_t* q, BlockScale* blocks);

struct QuantizeRowKernels {
  const char* name;
  QuantizeRow float32, float16, bfloat16;
};

extern const QuantizeRowKernels kQuantizeRow;
extern const QuantizeRowKernels kQuantizeRowAvx2;
extern const QuantizeRowKernels kQuantizeRowAvx512;

const QuantizeRowKernels& quantize_row_kernels(const CpuFeatures& features);

// x [m, k] with unit stride along k and `row_stride` elements between rows, of dtype float32,
// float16 or bfloat16, to q [m, k] and blocks [m, k / 32]; parallel over rows.
void quantize_activations(const void* x, DType dtype, int64_t row_stride, int64_t m, int64_t k,
                          KOrder order, int8_t* q, BlockScale* blocks,
                          const CpuFeatures& features = cpu_features());

}  // namespace aotiny
