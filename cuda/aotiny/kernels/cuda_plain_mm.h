// Products with activations quantized to int8: the equation is that of
// cpp/aotiny/kernels/plain_mm.h, so that a device and the CPU differ only in the order in which
// fp32 sums are made.
//
// That order depends on K alone: a row of y has the same bits whatever other rows, matrices and
// columns come with it.
#pragma once

#include <cuda_runtime.h>

#include "aotiny/quant/weight_kernels.h"

namespace aotiny::cuda {

// The weight's format is one that has such products; no size is 0. What x becomes lies in memory
// of the device's allocator: B·m·K·3/2 bytes, at the current stream, which is `stream`.
void plain_mm(const WeightProduct& product, Device device, cudaStream_t stream);

}  // namespace aotiny::cuda
