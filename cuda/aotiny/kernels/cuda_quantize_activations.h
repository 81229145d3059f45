// Activations to int8, in blocks of 32 along k: the same numbers as on the CPU, bit for bit.
//
//   d = max|x| / 127,  q = round to nearest even(x / d) in −127..127,  sum = Σ q
//
// cpp/aotiny/kernels/quantize_activations.h says what becomes of zeros, NaN and infinity.
#pragma once

#include <cuda_runtime.h>

#include "aotiny/core/dtype.h"
#include "aotiny/quant/format.h"

namespace aotiny::cuda {

// The CPU's BlockScale, in the 16 bytes that a thread loads at once.
struct alignas(16) BlockNumbers {
  float d;
  float sum;        // an integer, at most 32·127 in magnitude
  float first_sum;  // of the 16 lowest k, for groups that end in the middle of a block
  float unused;
};

struct QuantizeActivations {
  DType dtype;           // float32, float16 or bfloat16
  const void* x;         // [batch, m, k], unit stride along k
  int64_t x_batch;       // elements from matrix to matrix
  int64_t x_row;         // and from row to row
  int64_t batch, m, k;   // all at least 1; k a multiple of 32
  KOrder order;          // of the codes within a block
  int8_t* q;             // [batch, m, k], contiguous, at a multiple of 16 bytes
  BlockNumbers* blocks;  // [batch, m, k / 32], contiguous
};

void quantize_activations(const QuantizeActivations& work, cudaStream_t stream);

}  // namespace aotiny::cuda
