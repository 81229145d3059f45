// Rows of fp32, fp16 or bf16 elements as floats and back.
#pragma once

#include "aotiny/core/dtype.h"
#include "aotiny/kernels/gemm_kernels.h"

namespace aotiny {

// `count` elements that lie `stride` elements apart, to floats side by side.
void load_floats(const GemmKernels& kernels, DType dtype, int64_t count, const char* in,
                 int64_t stride, float* out);
// The reverse, rounding to nearest even.
void store_floats(const GemmKernels& kernels, DType dtype, int64_t count, const float* in,
                  char* out, int64_t stride);

}  // namespace aotiny
