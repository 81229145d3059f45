#include "aotiny/kernels/gemm_blas.h"

#include <algorithm>
#include <limits>
#include <memory>

#include "aotiny/core/parallel.h"
#include "aotiny/core/scratch.h"

namespace aotiny {
namespace {

// A matrix as BLAS takes it: row-major with a leading dimension, or the transpose of one.
template <class T>
struct BlasMatrix {
  const T* data;
  int64_t leading;
  bool transposed;
  std::unique_ptr<Scratch<T>> copy;
};

// 32-bit integers bound the leading dimension.
bool fits(int64_t leading, int64_t least) {
  return leading >= least && leading <= std::numeric_limits<int>::max();
}

template <class T>
BlasMatrix<T> as_blas(const T* data, int64_t rows, int64_t columns, Strides2 strides) {
  if (rows <= 1) strides.row = std::max<int64_t>(columns, 1);
  if (columns <= 1) strides.column = strides.row == 1 ? std::max<int64_t>(rows, 1) : 1;
  if (strides.column == 1 && fits(strides.row, columns)) return {data, strides.row, false, nullptr};
  if (strides.row == 1 && fits(strides.column, rows)) return {data, strides.column, true, nullptr};
  auto copy = std::make_unique<Scratch<T>>(rows * columns);
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) {
      (*copy)[i * columns + j] = data[i * strides.row + j * strides.column];
    }
  }
  const T* copied = copy->data();
  return {copied, columns, false, std::move(copy)};
}

template <class T>
void copy_matrix(int64_t rows, int64_t columns, const T* from, Strides2 from_strides, T* to,
                 Strides2 to_strides) {
  if (from == to && from_strides.row == to_strides.row &&
      from_strides.column == to_strides.column) {
    return;
  }
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) {
      to[i * to_strides.row + j * to_strides.column] =
          from[i * from_strides.row + j * from_strides.column];
    }
  }
}

Strides2 swapped(Strides2 strides) { return {strides.column, strides.row}; }

template <class T, class Gemm>
void run(GemmProblem p, GemmOperands o, const GemmChoice& choice, Gemm gemm) {
  if (choice.transposed) {
    std::swap(p.m, p.n);
    std::swap(o.a, o.b);
    p = {p.dtype, p.m, p.n, p.k, swapped(p.b), swapped(p.a), swapped(p.c), p.threads};
    o.d_strides = swapped(o.d_strides);
  }
  const BlasMatrix<T> a = as_blas(static_cast<const T*>(o.a), p.m, p.k, p.a);
  const BlasMatrix<T> b = as_blas(static_cast<const T*>(o.b), p.k, p.n, p.b);
  T* c = static_cast<T*>(o.c);
  const int64_t c_leading = p.m == 1 ? p.n : p.c.row;
  const bool in_place = (p.c.column == 1 || p.n == 1) && fits(c_leading, p.n);
  const Scratch<T> scratch(in_place ? 0 : p.m * p.n);
  const Strides2 target_strides{in_place ? c_leading : p.n, 1};
  T* target = in_place ? c : scratch.data();
  if (o.beta != 0.0) {
    copy_matrix(p.m, p.n, static_cast<const T*>(o.d), o.d_strides, target, target_strides);
  }
  // OpenBLAS stays on the thread that calls it; the longer side of C is split.
  const bool by_rows = p.m >= p.n;
  const int64_t length = by_rows ? p.m : p.n;
  parallel_for(
      length, (length + choice.pieces - 1) / choice.pieces, [&](int64_t begin, int64_t end) {
        const int64_t i = by_rows ? begin : 0, j = by_rows ? 0 : begin;
        gemm(a.transposed, b.transposed, by_rows ? end - begin : p.m, by_rows ? p.n : end - begin,
             p.k, static_cast<T>(o.alpha), a.data + (a.transposed ? i : i * a.leading), a.leading,
             b.data + (b.transposed ? j * b.leading : j), b.leading, static_cast<T>(o.beta),
             target + i * target_strides.row + j, target_strides.row);
      });
  if (!in_place) copy_matrix(p.m, p.n, target, target_strides, c, p.c);
}

}  // namespace

void gemm_blas(const GemmProblem& problem, const GemmOperands& operands, const GemmChoice& choice,
               const Blas& blas) {
  if (problem.dtype == DType::Float64) {
    run<double>(problem, operands, choice, [&](auto... arguments) { blas.dgemm(arguments...); });
  } else {
    run<float>(problem, operands, choice, [&](auto... arguments) { blas.sgemm(arguments...); });
  }
}

}  // namespace aotiny
