// OpenBLAS, opened when it is first needed.
//
// Tried in this order: the path in AOTINY_BLAS_LIBRARY, libscipy_openblas.so (which the package's
// run path finds in the wheel scipy-openblas32) and libopenblas.so.0. OpenBLAS is kept on one
// thread: its own pool would compete for the cores with the OpenMP threads that model kernels run
// on, so callers split the work over those.
#pragma once

#include <cstdint>
#include <string>

namespace aotiny {

struct Blas {
  // Row-major C[m, n] = alpha·op(A) x op(B) + beta·C, transposing where told; leading dimensions in
  // elements.
  void sgemm(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, float alpha,
             const float* a, int64_t lda, const float* b, int64_t ldb, float beta, float* c,
             int64_t ldc) const noexcept;
  void dgemm(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, double alpha,
             const double* a, int64_t lda, const double* b, int64_t ldb, double beta, double* c,
             int64_t ldc) const noexcept;

  std::string name;  // as it was opened
  void* sgemm_address = nullptr;
  void* dgemm_address = nullptr;
};

// The library, or nullptr where there is none; then `blas_failure` names what was tried and why
// each failed.
const Blas* blas() noexcept;
const std::string& blas_failure() noexcept;

}  // namespace aotiny
