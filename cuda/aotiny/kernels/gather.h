// Rows of a weight, dequantized: out[i] = W[indices[i]], [count, K] in fp32, fp16 or bf16.
//
// In fp32 bit for bit the CPU's values, in the others those rounded to nearest even. An index
// outside 0..N-1 gives a row of NaN.
#pragma once

#include <cuda_runtime.h>

#include "aotiny/quant/weight_kernels.h"

namespace aotiny::cuda {

void gather_rows(const WeightGather& gather, cudaStream_t stream);

}  // namespace aotiny::cuda
