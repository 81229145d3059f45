#include "aotiny/kernels/dense_product.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "aotiny/core/status.h"

namespace aotiny::cuda {
namespace {

// The distance between columns, if the elements of each lie side by side. One of several columns,
// or the elements of one row, can be at any distance.
std::optional<int64_t> leading_of_columns(int64_t rows, int64_t columns, int64_t row_stride,
                                          int64_t column_stride) {
  if (rows > 1 && row_stride != 1) return std::nullopt;
  if (columns == 1) return rows;
  if (column_stride < rows) return std::nullopt;  // the columns overlap, or are one and the same
  return column_stride;
}

// The same memory: columns that lie side by side, or else the transpose of such.
std::optional<CublasMatrices> cublas_matrices(int64_t rows, int64_t columns,
                                              const Matrices& matrices) {
  const auto& [data, batch_stride, row_stride, column_stride] = matrices;
  if (const auto leading = leading_of_columns(rows, columns, row_stride, column_stride)) {
    return CublasMatrices{data, false, *leading, batch_stride};
  }
  if (const auto leading = leading_of_columns(columns, rows, column_stride, row_stride)) {
    return CublasMatrices{data, true, *leading, batch_stride};
  }
  return std::nullopt;
}

CublasMatrices required(int64_t rows, int64_t columns, const Matrices& matrices) {
  const auto found = cublas_matrices(rows, columns, matrices);
  require(found.has_value(), Status::Internal, "cuBLAS cannot read a matrix [", rows, ", ", columns,
          "] with strides [", matrices.row_stride, ", ", matrices.column_stride, "]");
  return *found;
}

}  // namespace

bool has_cublas_layout(int64_t rows, int64_t columns, const Matrices& matrices) {
  return cublas_matrices(rows, columns, matrices).has_value();
}

CublasProduct dense_product(const ProductShape& shape, const Matrices& a, const Matrices& b,
                            const Matrices& c, double alpha, double beta) {
  CublasProduct product{.dtype = shape.dtype,
                        .c_dtype = shape.c_dtype,
                        .batch = shape.batch,
                        .m = shape.m,
                        .n = shape.n,
                        .k = shape.k,
                        .a = required(shape.m, shape.k, a),
                        .b = required(shape.k, shape.n, b),
                        .c = required(shape.m, shape.n, c),
                        .alpha = alpha,
                        .beta = beta};
  if (!product.c.is_transposed) return product;
  // cuBLAS writes columns. The rows of C are the columns of C^T = B^T x A^T.
  std::swap(product.m, product.n);
  std::swap(product.a, product.b);
  product.a.is_transposed = !product.a.is_transposed;
  product.b.is_transposed = !product.b.is_transposed;
  product.c.is_transposed = false;
  return product;
}

}  // namespace aotiny::cuda
