// The inner loop of a softmax that meets its scores block by block, one table an instruction set.
#pragma once

#include <cstdint>

#include "aotiny/core/cpu_features.h"

namespace aotiny {

// Of the scores of one row so far. A row that nothing but -infinity was seen of keeps sum 0.
struct SoftmaxState {
  float maximum;  // begins at -infinity
  float sum;      // of exp(score - maximum); begins at 0
};

struct AttentionKernels {
  const char* name;
  // Replaces `count` scores by exp(score - maximum), with the maximum of all scores so far, and
  // returns what earlier results have to be multiplied by. NaN scores make sum NaN.
  float (*softmax)(int64_t count, float* scores, SoftmaxState* state);
};

const AttentionKernels& attention_kernels_portable() noexcept;
const AttentionKernels& attention_kernels_avx2() noexcept;
const AttentionKernels& attention_kernels_avx512() noexcept;

const AttentionKernels& attention_kernels(const CpuFeatures& features) noexcept;

}  // namespace aotiny
