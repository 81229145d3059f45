// What the tests of products on a device share.
#pragma once

#include "aotiny/quant/reference.h"
#include "aotiny/shims/weight_ops.h"
#include "cuda_weights.h"

namespace aotiny::cuda {

using namespace aotiny::testing;

inline Tensor random_tensor(std::vector<int64_t> sizes, uint32_t seed,
                            DType dtype = DType::Float32) {
  int64_t count = 1;
  for (const int64_t size : sizes) count *= size;
  return tensor_of(gaussian(count, seed), std::move(sizes), dtype);
}

// y against what the reference gives, rounded to y's dtype as y is.
inline double error_against(const Tensor& y, const std::vector<double>& expected) {
  std::vector<float> rounded(expected.begin(), expected.end());
  rounded = floats_of(tensor_of(rounded, {static_cast<int64_t>(rounded.size())}, y.dtype()));
  return relative_error(floats_of(y.to(kCPU)), rounded);
}

// fp32 sums in another order; where results are rounded to 16 bits, a few of them the other way.
inline double tolerance(DType dtype) { return dtype == DType::Float32 ? 1e-6 : 1e-3; }

inline const std::vector<DType>& float_dtypes() {
  static const std::vector<DType> dtypes = {DType::Float32, DType::Float16, DType::BFloat16};
  return dtypes;
}

}  // namespace aotiny::cuda
