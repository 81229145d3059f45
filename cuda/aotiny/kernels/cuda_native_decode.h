// Products of few rows of x, with activations as they are: what cuda_dequantized_mm.h computes, for
// up to 16 rows of fp16 or bf16, as fast as the weight can be read.
//
//   y[b][i][j] = Σ_k x[b][i][k]·w[b][j][k] + bias[j]      x [B, m, K], W [B, N, K], y [B, m, N]
//
// w is rounded to x's dtype, sums are fp32, y is rounded once. Of up to 8 rows, and of 9 to 16, a
// row of y has the same bits whatever the others are and however many.
#pragma once

#include <cuda_runtime.h>

#include "aotiny/kernels/cuda_native_decode_plan.h"
#include "aotiny/quant/weight_kernels.h"

namespace aotiny::cuda {

// Of the current device.
NativeDecodeDevice native_decode_device();

// False, and nothing done, where there is no plan for the product on this device, x is fp32, or the
// weight's metadata lies at addresses that the kernel cannot load from.
bool native_decode(const WeightProduct& product, cudaStream_t stream);

// The same by a plan for these sizes, of which `columns` may be any number from 1 to `tiles`.
void native_decode(const WeightProduct& product, const NativeDecodePlan& plan, cudaStream_t stream);

// The same for one format; cuda_native_decode_*.cu have an instance for each.
template <class Traits>
void native_decode_of(const WeightProduct& product, const NativeDecodePlan& plan,
                      cudaStream_t stream);

}  // namespace aotiny::cuda
