// Dense matrix products: C[m, n] = alpha·(A[m, k] x B[k, n]) + beta·D[m, n].
//
// fp32, fp64, fp16 and bf16, with any strides on every matrix. Sums are fp32 (fp64 for fp64), and
// the 16-bit results are rounded once.
#pragma once

#include <cstdint>
#include <iosfwd>

#include "aotiny/core/cpu_features.h"
#include "aotiny/core/dtype.h"

namespace aotiny {

struct Strides2 {
  int64_t row = 0;  // in elements
  int64_t column = 0;
};

struct GemmProblem {
  DType dtype = DType::Float32;
  int64_t m = 0;
  int64_t n = 0;
  int64_t k = 0;
  Strides2 a;
  Strides2 b;
  Strides2 c;
  int threads = 1;
};

enum class GemmPath : int8_t {
  Blas,   // OpenBLAS on whole matrices
  Dot,    // rows against rows, k in the vectors: one side has only a few rows
  Tile,   // register tiles, rows or columns of C in the vectors
  Plain,  // three loops, for fp64 where there is no BLAS
};

struct GemmChoice {
  GemmPath path = GemmPath::Tile;
  // Whether C is computed as its transpose, B^T x A^T.
  bool transposed = false;
  // Tile: whether threads take column panels (each packed by one thread) or row blocks.
  bool split_columns = false;
  // Tile and Dot: bf16 operands go to the bf16 instructions as they are.
  bool native_bf16 = false;
  int pieces = 1;  // threads worth using
};

// Pure: the same for the same arguments. `has_blas` says whether a BLAS can be opened.
GemmChoice choose_gemm(const GemmProblem& problem, const CpuFeatures& features, bool has_blas);
// Whether choose_gemm would use a BLAS that is there; asked first, since opening one takes time.
bool wants_blas(const GemmProblem& problem, const CpuFeatures& features) noexcept;

std::ostream& operator<<(std::ostream& out, GemmPath path);
std::ostream& operator<<(std::ostream& out, const GemmProblem& problem);
std::ostream& operator<<(std::ostream& out, const GemmChoice& choice);

// The matrices of a product. D is ignored, and may be null, where beta is 0; it may be C itself
// with C's strides, and must not overlap it otherwise. A and B must not overlap C.
struct GemmOperands {
  const void* a = nullptr;
  const void* b = nullptr;
  void* c = nullptr;
  const void* d = nullptr;
  Strides2 d_strides;
  double alpha = 1.0;
  double beta = 0.0;
};

void gemm(const GemmProblem& problem, const GemmOperands& operands, const GemmChoice& choice,
          const CpuFeatures& features);
// With the choice for this processor.
void gemm(const GemmProblem& problem, const GemmOperands& operands);

}  // namespace aotiny
