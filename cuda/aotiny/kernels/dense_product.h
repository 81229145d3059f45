// Dense products: C[b] = beta·C[b] + alpha·(A[b] x B[b]), C [m, n], A [m, k], B [k, n], for each b
// of a batch. cuBLAS computes them; here matrices with strides become what it takes.
#pragma once

#include <cstdint>

#include "aotiny/core/cublas.h"

namespace aotiny::cuda {

struct Matrices {
  void* data = nullptr;
  int64_t batch_stride = 0;  // in elements, like the others
  int64_t row_stride = 0;
  int64_t column_stride = 0;
};

struct ProductShape {
  DType dtype = DType::Float32;    // of A and B: fp32, fp64, fp16 or bf16
  DType c_dtype = DType::Float32;  // the same, or fp32 for fp16 and bf16
  int64_t batch = 1;
  int64_t m = 0;
  int64_t n = 0;
  int64_t k = 0;
};

// Whether such a matrix can be used where it lies: its rows, or its columns, lie side by side in
// memory and do not overlap. Any other has to be copied first.
bool has_cublas_layout(int64_t rows, int64_t columns, const Matrices& matrices);

// The call of cuBLAS. Every matrix has such a layout, and no size is 0.
CublasProduct dense_product(const ProductShape& shape, const Matrices& a, const Matrices& b,
                            const Matrices& c, double alpha = 1.0, double beta = 0.0);

}  // namespace aotiny::cuda
