// Quantizers: from values to a weight of any format.
//
//   minmax            a group's codes span the range of its values
//   minmax_symmetric  they span ±max|w|, so that 0 is exact and the zero is the middle code
//   hqq               half-quadratic: minmax, then the zero (or, in formats without one, the scale)
//                     is moved to where outliers weigh less; see hqq.h
//
// Metadata is rounded to its stored types first; each code is then the nearest one under the
// numbers that a decoder will read.
#pragma once

#include <functional>
#include <string_view>

#include "aotiny/quant/weight.h"

namespace aotiny {

enum class Method : uint8_t { MinMax, MinMaxSymmetric, Hqq };

// By name; fails with InvalidArgument, naming those that there are.
Method find_method(std::string_view name);

// Told now and then, from the calling thread, how many of how many rows are done. What it throws
// ends the work and is passed on.
using Progress = std::function<void(int64_t done, int64_t total)>;

// The weight of `values` [N, K] or [B, N, K] (fp32, fp16 or bf16, any strides, on the CPU) in
// groups of `group_size` along K; parallel over rows. Fails with InvalidArgument on NaN, infinity
// or a value beyond FormatInfo::largest, giving the first one's place, and as check_shape; with
// InvalidType on another dtype.
Weight quantize(const Tensor& values, FormatId format, int64_t group_size,
                Method method = Method::MinMax, const Progress& progress = {});

// The same values in another format or variant with codes as many as this one's, in the same group
// size: metadata is coded anew, and each code is the nearest under it. This is how metadata is
// compacted, A to B to C, and how a weight made elsewhere gets into a format with products. In its
// own format it is the same weight, sharing the planes. Fails with InvalidType where the codes do
// not fit, with InvalidArgument as check_shape and as quantize does for a value that the format
// cannot hold.
Weight convert(const Weight& weight, FormatId format, const Progress& progress = {});

}  // namespace aotiny
