// Half-quadratic quantization (Badri and Shaji, 2023): the parameters of a group under which a
// sparse norm of the error is small, found without data.
//
//   minimise  Σ |w − deq(q)|^p,  p = 0.7,  by splitting off the outliers e:
//     q     = round(w/scale + zero), clamped
//     e     = shrink(w − deq(q))            shrink(x) = sign(x)·max(|x| − |x|^(p − 1)/β, 0)
//     zero  = mean(q − (w − e)/scale)
//     β    *= κ
//
// from the parameters of min–max on, for at most 20 rounds; the best seen are kept. Errors are
// measured in steps (w/scale), so that the size of the weights does not matter. In formats that
// have no zero the scale is updated instead, by least squares of w − e against q.
#pragma once

#include "aotiny/quant/format.h"
#include "aotiny/quant/steps.h"

namespace aotiny {

// Better parameters for a group of `count` values, given those of min–max; the same if there are
// none.
GroupParams hqq_params(const float* values, int64_t count, const FormatInfo& format, int min_code,
                       int max_code, GroupParams params);

}  // namespace aotiny
