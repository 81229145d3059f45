// Matrices in every layout on a GPU, and the exact products, for the tests of the dense products.
#pragma once

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "dense_matrices.h"
#include "gpu_test.h"

namespace aotiny::cuda {

enum class Layout {
  Rows,
  Columns,
  WideRows,     // with a gap behind each row, as a slice of columns has
  TallColumns,  // likewise
  Neither,      // every second row and third column of something
  Misaligned,   // rows that begin one element behind an aligned address
  BatchInside,  // [rows, batch, columns]; without a batch as Rows
};
inline constexpr Layout kLayouts[] = {Layout::Rows,        Layout::Columns, Layout::WideRows,
                                      Layout::TallColumns, Layout::Neither, Layout::Misaligned,
                                      Layout::BatchInside};

// A view of a shape in memory of its own, which is all NaN; `memory` is all of it, 1-D.
struct InLayout {
  Tensor memory;
  Tensor view;
};

inline InLayout in_layout(const Ints& sizes, DType dtype, Layout layout, Device device = gpu()) {
  const int64_t rows = sizes[sizes.size() - 2], columns = sizes.back();
  const int64_t batch = sizes.size() == 3 ? sizes[0] : 1;
  int64_t row = columns, column = 1, each = rows * columns, offset = 0;
  switch (layout) {
    case Layout::Rows:
      break;
    case Layout::Columns:
      row = 1, column = rows;
      break;
    case Layout::WideRows:
      row = columns + 3, each = rows * row;
      break;
    case Layout::TallColumns:
      row = 1, column = rows + 5, each = columns * column;
      break;
    case Layout::Neither:
      row = 2 * 3 * columns, column = 3, each = rows * row;
      break;
    case Layout::Misaligned:
      offset = 1;
      break;
    case Layout::BatchInside:
      row = batch * columns, each = columns;
      break;
  }
  const int64_t room = offset + batch * rows * std::max<int64_t>(columns, 1) * 6 +
                       batch * (3 * rows + 5 * columns) + 16;
  InLayout made;
  made.memory = filled({room}, NAN, dtype).to(device);
  const Ints strides = sizes.size() == 3 ? Ints{each, row, column} : Ints{row, column};
  made.view = made.memory.as_strided(sizes, strides, offset);
  return made;
}

// Nothing in the memory but the view's elements was written.
inline void expect_untouched_beside(const InLayout& made, const std::string& what) {
  const Tensor memory = made.memory.to(kCPU).to(DType::Float32);
  memory.as_strided(made.view.sizes(), made.view.strides(), made.view.storage_offset()).zero_();
  int64_t num_poisoned = 0;
  for (int64_t i = 0; i < memory.numel(); ++i) num_poisoned += std::isnan(memory.data<float>()[i]);
  EXPECT_EQ(num_poisoned, memory.numel() - made.view.numel()) << what << ", " << made.view;
}

// The values, which are on the host, on a device in this layout.
inline Tensor laid_out(const Tensor& values, Layout layout, Device device = gpu()) {
  const InLayout made = in_layout(ints(values.sizes()), values.dtype(), layout, device);
  made.view.copy_(values);
  return made.view;
}

inline Tensor absolute(const Tensor& tensor) {
  Tensor dense = tensor.to(DType::Float64).contiguous().clone();
  for (int64_t i = 0; i < dense.numel(); ++i)
    dense.data<double>()[i] = std::abs(dense.data<double>()[i]);
  return dense;
}

// beta·added + alpha·(a x b) of tensors on the host, by the CPU's product in fp64; `added` may be
// undefined. The magnitude is the same of the absolute values: what rounding errors scale with.
struct Exact {
  Tensor value;
  Tensor magnitude;
};

inline Tensor exact_value(const Tensor& a, const Tensor& b, const Tensor& added, double alpha,
                          double beta) {
  Tensor x = a.to(DType::Float64), y = b.to(DType::Float64);
  Tensor addend = added.defined() ? added.to(DType::Float64) : Tensor::scalar(0.0);
  Ints sizes = ints(a.sizes());
  sizes.back() = b.size(-1);
  Tensor out = Tensor::empty(sizes, DType::Float64);
  const auto call = a.ndim() == 2 ? aoti_torch_cpu_addmm_out : aoti_torch_cpu_baddbmm_out;
  EXPECT_EQ(call(handle(out), handle(addend), handle(x), handle(y), beta, alpha), kOk)
      << last_error();
  return out;
}

inline Exact exact_product(const Tensor& a, const Tensor& b, const Tensor& added = {},
                           double alpha = 1, double beta = 0) {
  return {exact_value(a, b, added, alpha, beta),
          exact_value(absolute(a), absolute(b), added.defined() ? absolute(added) : Tensor(),
                      std::abs(alpha), std::abs(beta))};
}

// Every element is within one rounding to its dtype of the exact value, and within fp32 sums (fp64
// for fp64) of terms of the magnitude.
inline void expect_exact(const Tensor& got, const Exact& exact, const std::string& what = "") {
  ASSERT_EQ(ints(got.sizes()), ints(exact.value.sizes())) << what;
  const DType dtype = got.dtype();
  const double unit = dtype == DType::BFloat16  ? 0x1p-8
                      : dtype == DType::Float16 ? 0x1p-11
                      : dtype == DType::Float32 ? 0x1p-24
                                                : 0x1p-53;
  const double sums = dtype == DType::Float64 ? 0x1p-52 : 0x1p-23;
  const std::vector<double> values = aotiny::values(got.to(kCPU));
  const double* value = exact.value.data<double>();
  const double* magnitude = exact.magnitude.data<double>();
  double worst = 0, error_norm = 0, norm = 0;
  size_t where = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    const double error = std::abs(values[i] - value[i]);
    const double subnormal = dtype == DType::Float16 ? 0x1p-25 : 0;
    const double limit = 1.01 * unit * std::abs(value[i]) + 8 * sums * magnitude[i] + subnormal;
    const double ratio = std::isnan(error) ? INFINITY : error == 0 ? 0 : error / limit;
    if (ratio > worst) worst = ratio, where = i;
    error_norm += error * error;
    norm += value[i] * value[i];
  }
  EXPECT_LE(worst, 1.0) << what << " at " << where << ": " << values[where] << " instead of "
                        << value[where] << ", " << got;
  EXPECT_LE(std::sqrt(error_norm), (unit + 16 * sums) * std::sqrt(norm) + 1e-300)
      << what << " normwise, " << got;
}

// A tensor that is said to be on a device; nothing reads the memory behind it, which is the host's.
inline Tensor pretended(const Ints& sizes, DType dtype = DType::Float32, int index = 0) {
  static double memory[1024];
  return Tensor::from_blob(memory, sizes, contiguous_strides(sizes), 0, dtype, gpu(index));
}

}  // namespace aotiny::cuda
