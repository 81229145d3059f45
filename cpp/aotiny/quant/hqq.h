// Half-quadratic quantization (Badri and Shaji, 2023): the parameters of a group under which a
// sparse norm of the error is small, found without data.
//
//   minimise  Σ |w − deq(q)|^p,  p = 0.7,  by splitting off the outliers e:
//     q            = nearest code of w
//     e            = shrink(w − deq(q))     shrink(x) = sign(x)·max(|x| − |x|^(p − 1)/β, 0)
//     scale, zero  = argmin Σ (w − e − deq(q))²
//     β           *= κ
//
// from β = 10 on with κ = 1.01, for at most 20 rounds; the best parameters seen are kept. Two
// things differ from the paper. There the scale stays and zero is mean(q − (w − e)/scale); here
// both follow by least squares, the scale alone in formats without a zero. And errors are measured
// in steps (w/scale), so that the size of the weights does not decide what is an outlier.
#pragma once

#include "aotiny/quant/format.h"
#include "aotiny/quant/steps.h"

namespace aotiny {

// Better parameters for a group of `count` values, a multiple of 8, given those of min–max; the
// same if none are found.
GroupParams hqq_params(const float* values, int64_t count, const FormatInfo& format, int min_code,
                       int max_code, GroupParams params);

// Σ |error|^p, which hqq_params makes small, for a count that is a multiple of 8. An error that is
// not finite counts like one of 2^128.
double sparse_norm(const float* errors, int64_t count);

}  // namespace aotiny
