// Min–max quantization: each group's codes span the range of its values.
#pragma once

#include "aotiny/quant/weight.h"

namespace aotiny {

// The codes of `values` [N, K] (fp32, fp16 or bf16, any strides, on the CPU) in groups of
// `group_size` along K. Both the metadata and the codes are computed against what a decoder will
// read, after rounding to the stored types. Fails with InvalidArgument on NaN, infinity or a value
// beyond FormatInfo::largest, giving the first one's place, and as check_shape; with InvalidType on
// another dtype.
Weight quantize_minmax(const Tensor& values, FormatId format, int64_t group_size);

}  // namespace aotiny
