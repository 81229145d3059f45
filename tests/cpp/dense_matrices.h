// Tensors for the tests of the dense products.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "aotiny/shims/handle.h"
#include "shim_test.h"

namespace aotiny {

inline AtenTensorHandle handle(Tensor& tensor) {
  return reinterpret_cast<AtenTensorHandle>(&tensor);
}

// Normally distributed values, contiguous.
inline Tensor randn(std::mt19937& random, const Ints& sizes, DType dtype = DType::Float32) {
  std::normal_distribution<float> normal;
  Tensor values = Tensor::empty(sizes, DType::Float32);
  for (int64_t i = 0; i < values.numel(); ++i) values.data<float>()[i] = normal(random);
  return values.to(dtype);
}

inline Tensor filled(const Ints& sizes, float value, DType dtype = DType::Float32) {
  Tensor tensor = Tensor::empty(sizes, dtype);
  tensor.copy_(Tensor::scalar(value));
  return tensor;
}

// Every element as double, row-major.
inline std::vector<double> values(const Tensor& tensor) {
  const Tensor dense = tensor.to(DType::Float64).contiguous();
  return {dense.data<double>(), dense.data<double>() + dense.numel()};
}

// beta·addend + alpha·(a x b) in double precision for 2-D tensors; addend [m, n] or empty.
inline std::vector<double> product(const Tensor& a, const Tensor& b,
                                   const std::vector<double>& addend = {}, double beta = 0,
                                   double alpha = 1) {
  const std::vector<double> x = values(a), y = values(b);
  const auto m = static_cast<size_t>(a.size(0)), k = static_cast<size_t>(a.size(1)),
             n = static_cast<size_t>(b.size(1));
  std::vector<double> out(m * n);
  for (size_t i = 0; i < m; ++i) {
    for (size_t j = 0; j < n; ++j) {
      double sum = 0;
      for (size_t l = 0; l < k; ++l) sum += x[i * k + l] * y[l * n + j];
      out[i * n + j] = alpha * sum + (addend.empty() ? 0 : beta * addend[i * n + j]);
    }
  }
  return out;
}

inline void expect_close(const Tensor& tensor, const std::vector<double>& expected,
                         double tolerance = 1e-5) {
  const std::vector<double> got = values(tensor);
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], expected[i], tolerance) << i;
}

}  // namespace aotiny
