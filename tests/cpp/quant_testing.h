// What the tests of weights and their products share: seeded arrays and comparisons.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <ostream>
#include <random>
#include <vector>

#include "aotiny/quant/quantize.h"

namespace aotiny::testing {

inline std::vector<float> gaussian(int64_t count, uint32_t seed, float scale = 1) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = normal(engine);
  return values;
}

// Ordinary blocks, ties, zeros, extremes, denormals and what is not finite: 16 blocks of 32.
inline std::vector<float> awkward_blocks() {
  std::vector<float> x = gaussian(16 * 32, 1, 2);
  const auto block = [&](int i) { return x.begin() + 32 * i; };
  std::fill(block(1), block(2), 0.0f);
  std::fill(block(2), block(3), -0.0f);
  for (int i = 0; i < 32; ++i) block(3)[i] = static_cast<float>(i - 16) + 0.5f;  // ties once ...
  block(3)[0] = 127.0f;                                                          // ... d is 1
  for (int i = 0; i < 32; ++i) block(4)[i] *= 1e38f / 10;
  for (int i = 0; i < 32; ++i) block(5)[i] *= 1e-44f;
  std::fill(block(6), block(7), std::numeric_limits<float>::denorm_min());
  for (int i = 0; i < 32; ++i) block(7)[i] = 190 * std::numeric_limits<float>::denorm_min();
  block(8)[31] = NAN;
  block(9)[0] = INFINITY;
  block(10)[17] = -INFINITY;
  std::fill(block(11), block(12), -3.0f);
  std::fill(block(12), block(13), std::numeric_limits<float>::max());
  for (int i = 0; i < 32; ++i) block(13)[i] *= 1e-37f;  // d is a denormal, or nearly
  for (int i = 0; i < 32; ++i) block(14)[i] *= 1e-6f;   // denormals of fp16
  block(15)[3] = -NAN;
  return x;
}

inline Tensor tensor_of(const std::vector<float>& values, std::vector<int64_t> sizes,
                        DType dtype = DType::Float32) {
  Tensor tensor = Tensor::empty(sizes, DType::Float32);
  std::copy(values.begin(), values.end(), tensor.data<float>());
  return tensor.to(dtype);
}

inline std::vector<float> floats_of(const Tensor& tensor) {
  const Tensor dense = tensor.to(DType::Float32).contiguous();
  return {dense.data<float>(), dense.data<float>() + dense.numel()};
}

inline Weight random_weight(FormatId format, int64_t n, int64_t k, int64_t group_size,
                            uint32_t seed) {
  return quantize(tensor_of(gaussian(n * k, seed, 0.05f), {n, k}), format, group_size);
}

// |actual − expected| / |expected|, Euclidean; NaN if anything is.
template <class Actual, class Expected>
double relative_error(const Actual& actual, const Expected& expected) {
  double difference = 0, size = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    difference += std::pow(static_cast<double>(actual[i]) - expected[i], 2);
    size += std::pow(static_cast<double>(expected[i]), 2);
  }
  return std::sqrt(difference / (size > 0 ? size : 1));
}

// All formats, and those with products of int8 activations, for INSTANTIATE_TEST_SUITE_P.
inline std::vector<FormatId> all_formats() {
  std::vector<FormatId> formats;
  for (int i = 0; i < Formats::kCount; ++i) formats.push_back(FormatId{i});
  return formats;
}

inline std::vector<FormatId> plain_formats() {
  std::vector<FormatId> formats = all_formats();
  std::erase_if(formats, [](FormatId format) { return !format_info(format).plain; });
  return formats;
}

// The least N and K of at least `n` and `k`, and the group size closest to `group_size`, that a
// format holds.
inline int64_t n_for(FormatId format, int64_t n) {
  const int64_t step = format_info(format).n_multiple;
  return (n + step - 1) / step * step;
}

inline int64_t k_for(FormatId format, int64_t k) {
  const FormatInfo& info = format_info(format);
  const int64_t step = info.has_super_blocks() ? kSuperBlock : info.k_multiple;
  return (k + step - 1) / step * step;
}

inline int64_t group_for(FormatId format, int64_t group_size) {
  const FormatInfo& info = format_info(format);
  const bool known = group_size % info.group_multiple == 0 &&
                     (info.group_sizes.empty() ||
                      std::ranges::find(info.group_sizes, group_size) != info.group_sizes.end());
  const bool fits = !info.has_super_blocks() || kSuperBlock % group_size == 0;
  return known && fits ? group_size : 32;
}

inline std::string format_name(FormatId format) {
  return std::string(format_info(format).name) + format_info(format).variant;
}

// The code and metadata that a test reads from Status, or Ok if nothing is thrown.
template <class F>
Error error_of(F&& f) {
  try {
    f();
  } catch (const Error& error) {
    return error;
  }
  return Error(Status::Ok, "");
}

}  // namespace aotiny::testing
