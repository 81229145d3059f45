// Products with activations quantized to int8.
#pragma once

#include <cuda_runtime.h>

#include "aotiny/quant/weight_kernels.h"

namespace aotiny::cuda {

void plain_mm(const WeightProduct& product, Device device, cudaStream_t stream);

}  // namespace aotiny::cuda
