// Rows of a weight, dequantized.
#pragma once

#include <cuda_runtime.h>

#include "aotiny/quant/weight_kernels.h"

namespace aotiny::cuda {

void gather_rows(const WeightGather& gather, cudaStream_t stream);

}  // namespace aotiny::cuda
