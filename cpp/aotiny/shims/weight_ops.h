// What is done with quantized weights on tensors: the part that the C functions, compiled models
// and Python share, on the device that holds the weight and every other tensor. Each validates
// everything first and fails with InvalidArgument or InvalidType, with the numbers.
#pragma once

#include "aotiny/kernels/activation.h"
#include "aotiny/quant/weight.h"

namespace aotiny {

// x [..., K] W^T + bias as [..., N], in x's dtype: float32, float16 or bfloat16, any strides. W is
// no stack. `bias` [N], of any of those dtypes, and `out`, a contiguous tensor of the result's
// shape and dtype to write to, may be null; out may lie in the same memory as x or bias.
Tensor matmul(const Tensor& x, const Weight& weight, Activation activation = Activation::Auto,
              const Tensor* bias = nullptr, const Tensor* out = nullptr);

// x [B, M, K] by a stack [B, N, K] as [B, M, N]: y[b] = x[b] W[b]^T. Otherwise as matmul.
Tensor bmm(const Tensor& x, const Weight& weight, Activation activation = Activation::Auto,
           const Tensor* out = nullptr);

// The rows that `indices` [...], int64 or int32 of any strides, ask for, as [..., K] in `dtype`
// (float32, float16 or bfloat16); no other row is dequantized. W is no stack. An index outside
// 0..N-1 is InvalidArgument, with the index and its place; on a device it gives a row of NaN
// instead while the stream is being captured into a graph.
Tensor embedding(const Tensor& indices, const Weight& weight, DType dtype = DType::Float32);

}  // namespace aotiny
