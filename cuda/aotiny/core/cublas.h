// cuBLAS, opened when the first dense product needs it: nothing is linked, and none of its headers
// is needed to build.
//
// There is one handle a device. It keeps state (its stream, its workspace), so a call has it to
// itself while it puts the product into its stream, which takes microseconds; what runs on the
// device is not held up. More handles would cost 64 MB of device memory each, which cuBLAS takes
// for itself. Handles are never destroyed: that would wait for the whole device.
#pragma once

#include <cstdint>

#include "aotiny/core/dtype.h"

namespace aotiny::cuda {

// The matrices of a batch, as cuBLAS takes them: columns whose elements lie side by side.
struct CublasMatrices {
  void* data = nullptr;        // of the first
  bool is_transposed = false;  // what lies there are the transposes of the matrices
  int64_t leading = 0;         // from one column of what lies there to the next, in elements
  int64_t batch_stride = 0;    // from one matrix to the next, in elements
};

// C = alpha·(A x B) + beta·C for each of a batch: C [m, n], A [m, k], B [k, n], none of them empty.
// C is not transposed, and is not read if beta is 0. Sums are fp32, or fp64 for fp64; before beta·C
// is added to it, cuBLAS may round the product to C's dtype.
struct CublasProduct {
  DType dtype = DType::Float32;    // of A and B: fp32, fp64, fp16 or bf16
  DType c_dtype = DType::Float32;  // of C: the same, or fp32 for fp16 and bf16
  int64_t batch = 1;
  int64_t m = 0;
  int64_t n = 0;
  int64_t k = 0;
  CublasMatrices a;
  CublasMatrices b;
  CublasMatrices c;
  double alpha = 1.0;
  double beta = 0.0;
};

// Puts the product into the current stream of the device, under capture too. Fails with NotFound
// where there is no cuBLAS, saying what was looked for and where.
void cublas_product(const CublasProduct& product, int device);

// Of the library, which this opens: 10000·major + 100·minor + patch. Needs no GPU.
int cublas_version();

}  // namespace aotiny::cuda
