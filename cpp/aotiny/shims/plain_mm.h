// The plain matrix product on tensors: what the C shims and Python's matmul share.
#pragma once

#include "aotiny/quant/weight.h"

namespace aotiny {

// x [..., K] W^T + bias as [..., N], in x's dtype (float32, float16 or bfloat16); x may have any
// strides. `bias` [N], of any of those dtypes, and `out`, a contiguous tensor of the result's shape
// and dtype to write to, may be null. Fails with InvalidArgument or InvalidType, with the numbers;
// with NotImplemented off the CPU.
Tensor plain_mm(const Tensor& x, const Weight& weight, const Tensor* bias = nullptr,
                const Tensor* out = nullptr);

}  // namespace aotiny
