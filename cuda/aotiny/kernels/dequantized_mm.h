// Products with activations as they are.
#pragma once

#include <cuda_runtime.h>

#include "aotiny/quant/weight_kernels.h"

namespace aotiny::cuda {

void dequantized_mm(const WeightProduct& product, Device device, cudaStream_t stream);

}  // namespace aotiny::cuda
