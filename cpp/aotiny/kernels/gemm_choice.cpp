// Which implementation a product runs on, and how it is split.
#include <algorithm>
#include <limits>
#include <ostream>

#include "aotiny/kernels/gemm.h"
#include "aotiny/kernels/gemm_kernels.h"

namespace aotiny {
namespace {

// Multiply-adds that are worth waking another thread for; an element that has to be fetched counts
// as several.
constexpr int64_t kWorkPerThread = 1 << 19;
constexpr int64_t kWorkPerElement = 4;
// With up to this many rows on the short side, vectors along k beat vectors across a padded panel;
// past the first group of them only while the group's rows stay in the first-level cache.
constexpr int64_t kDotRows = 12;
constexpr int64_t kDotRowsDeep = 6;
constexpr int64_t kDotDepth = 768;

// The short side from which OpenBLAS, which packs both operands, is faster than the tiles of an
// instruction set. Never for AVX-512: with it the tiles reach twice the speed of an OpenBLAS that
// knows only AVX2.
constexpr int64_t kBlasRowsPortable = 8;
constexpr int64_t kBlasRowsAvx2 = 128;

// Elements that have to be moved before a tile with S and V of these strides can start.
int64_t preparation(int64_t rows, int64_t columns, int64_t k, Strides2 s, Strides2 v, bool native) {
  const int64_t pack = columns * k * (v.column == 1 ? 1 : v.row == 1 ? 2 : 8);
  return pack + (s.column == 1 ? 0 : rows * k * (native ? 8 : 1));
}

Strides2 transpose(Strides2 strides) { return {strides.column, strides.row}; }

}  // namespace

bool wants_blas(const GemmProblem& problem, const CpuFeatures& features) noexcept {
  // Its integers have 32 bits.
  if (std::max({problem.m, problem.n, problem.k}) > std::numeric_limits<int32_t>::max())
    return false;
  if (problem.dtype == DType::Float64) return true;
  if (problem.dtype != DType::Float32 || features.avx512) return false;
  const int64_t least = features.avx2 ? kBlasRowsAvx2 : kBlasRowsPortable;
  return std::min(problem.m, problem.n) >= least && problem.k > 0;
}

GemmChoice choose_gemm(const GemmProblem& problem, const CpuFeatures& features, bool has_blas) {
  const auto [dtype, m, n, k, a, b, c, threads] = problem;
  GemmChoice choice;
  const int64_t work = std::max(m * n * k, kWorkPerElement * (m * k + k * n + m * n));
  choice.pieces = static_cast<int>(std::clamp<int64_t>(work / kWorkPerThread, 1, threads));
  if (wants_blas(problem, features) && has_blas) {
    choice.path = GemmPath::Blas;
    choice.transposed = c.column != 1 && c.row == 1;
    return choice;
  }
  if (dtype == DType::Float64) {
    choice.path = GemmPath::Plain;
    return choice;
  }
  choice.native_bf16 = dtype == DType::BFloat16 && features.avx512_bf16;
  if (std::min(m, n) <= (k <= kDotDepth ? kDotRows : kDotRowsDeep) && a.column == 1 && b.row == 1) {
    choice.path = GemmPath::Dot;
    choice.transposed = n < m;
    return choice;
  }
  choice.path = GemmPath::Tile;
  choice.transposed = preparation(n, m, k, transpose(b), transpose(a), choice.native_bf16) <
                      preparation(m, n, k, a, b, choice.native_bf16);
  // Splitting the rows packs every panel once a thread; splitting the panels may not come out even.
  const int64_t rows = choice.transposed ? n : m;
  const int64_t columns = choice.transposed ? m : n;
  const GemmKernels& kernels = gemm_kernels(features);
  const int64_t width = kernels.lanes * kGemmVectors;
  const auto share = [&](int64_t count, int64_t unit) {
    const int64_t units = (count + unit - 1) / unit;
    return (units + choice.pieces - 1) / choice.pieces * unit;
  };
  constexpr int64_t kPackRows = 8;  // packing a panel costs as much as this many rows of it
  const int64_t by_columns = share(columns, width) * (rows + kPackRows);
  const int64_t by_rows = columns * (share(rows, kernels.lanes) + kPackRows);
  choice.split_columns = by_columns < by_rows;
  return choice;
}

std::ostream& operator<<(std::ostream& out, GemmPath path) {
  switch (path) {
    case GemmPath::Blas:
      return out << "blas";
    case GemmPath::Dot:
      return out << "dot";
    case GemmPath::Tile:
      return out << "tile";
    case GemmPath::Plain:
      return out << "plain";
  }
  return out;
}

std::ostream& operator<<(std::ostream& out, const GemmProblem& problem) {
  const auto strides = [&](const char* name, Strides2 s) {
    out << ", " << name << " [" << s.row << ", " << s.column << "]";
  };
  out << problem.dtype << " m " << problem.m << " n " << problem.n << " k " << problem.k;
  strides("a", problem.a);
  strides("b", problem.b);
  strides("c", problem.c);
  return out << ", " << problem.threads << " threads";
}

std::ostream& operator<<(std::ostream& out, const GemmChoice& choice) {
  return out << choice.path << (choice.transposed ? ", transposed" : "")
             << (choice.split_columns ? ", split by columns" : "")
             << (choice.native_bf16 ? ", bf16 instructions" : "") << ", " << choice.pieces
             << " pieces";
}

}  // namespace aotiny
