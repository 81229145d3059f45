// The oracle: the definition of the plain matrix product, one element at a time.
#pragma once

#include <vector>

#include "aotiny/quant/weight.h"

namespace aotiny {

// A row of activations in blocks of 32: value(k) = q(k)·d(k / 32).
struct ReferenceActivations {
  std::vector<int> q;    // −127..127
  std::vector<float> d;  // max|x| / 127; 0 for a block of zeros, NaN for one that is not finite
};
ReferenceActivations reference_quantize(const float* x, int64_t k);

// y [M, N] = x [M, K] W^T + bias with activations quantized as above, in fp64. `bias` [N] may be
// null.
std::vector<double> reference_plain_mm(const float* x, int64_t m, const Weight& weight,
                                       const float* bias = nullptr);

}  // namespace aotiny
