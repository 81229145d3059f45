#include "aotiny/kernels/gemm.h"

#include <algorithm>
#include <utility>

#include "aotiny/core/parallel.h"
#include "aotiny/core/scratch.h"
#include "aotiny/kernels/blas.h"
#include "aotiny/kernels/gemm_blas.h"
#include "aotiny/kernels/gemm_floats.h"
#include "aotiny/kernels/gemm_kernels.h"

namespace aotiny {
namespace {

constexpr int64_t kMaxLanes = 16;
// Of k in one panel, which then fits the second-level cache, at least 1 MB where there is AVX-512.
constexpr int64_t kPanelBytes = 96 << 10;
constexpr int64_t kPanelBytesAvx512 = 384 << 10;
constexpr int64_t kLine = 64;      // elements of C finished at once
constexpr int64_t kDotBlock = 12;  // rows of x at once

Strides2 swapped(Strides2 strides) { return {strides.column, strides.row}; }

// The product as the kernels see it, C = S x V, after the choice to transpose or not.
struct Product {
  int64_t rows, columns, k;
  const char *s, *v, *d;  // in bytes, so that offsets serve every dtype
  char* c;
  Strides2 s_strides, v_strides, c_strides, d_strides;
  float alpha, beta;
  DType dtype;
  int64_t itemsize;
  bool to_float;  // operands are 16-bit floats that the kernels want as fp32
  int pieces;
  const GemmKernels* kernels;

  Product(const GemmProblem& p, const GemmOperands& o, const GemmChoice& choice,
          const CpuFeatures& features)
      : rows(p.m),
        columns(p.n),
        k(p.k),
        s(static_cast<const char*>(o.a)),
        v(static_cast<const char*>(o.b)),
        d(o.beta == 0.0 ? nullptr : static_cast<const char*>(o.d)),
        c(static_cast<char*>(o.c)),
        s_strides(p.a),
        v_strides(p.b),
        c_strides(p.c),
        d_strides(o.d_strides),
        alpha(static_cast<float>(o.alpha)),
        beta(static_cast<float>(o.beta)),
        dtype(p.dtype),
        itemsize(static_cast<int64_t>(aotiny::itemsize(p.dtype))),
        to_float(p.dtype != DType::Float32 && !choice.native_bf16),
        pieces(choice.pieces),
        kernels(choice.native_bf16 ? &gemm_kernels_avx512bf16() : &gemm_kernels(features)) {
    if (!choice.transposed) return;
    std::swap(rows, columns);
    std::swap(s, v);
    s_strides = swapped(p.b);
    v_strides = swapped(p.a);
    c_strides = swapped(p.c);
    d_strides = swapped(o.d_strides);
  }
};

// `count` elements of C from `sums`: scaled, added to D and rounded.
void finish_line(const Product& p, int64_t count, const float* sums, const char* d,
                 int64_t d_stride, char* c, int64_t c_stride) {
  const GemmKernels& kernels = *p.kernels;
  if (p.dtype == DType::Float32 && c_stride == 1) {
    kernels.finish(count, p.alpha, sums, p.beta, reinterpret_cast<const float*>(d), d_stride,
                   reinterpret_cast<float*>(c));
    return;
  }
  if (d == nullptr && p.alpha == 1.0f) {
    return store_floats(kernels, p.dtype, count, sums, c, c_stride);
  }
  float addend[kLine], line[kLine];
  for (int64_t j = 0; j < count; j += kLine) {
    const int64_t length = std::min(kLine, count - j);
    if (d != nullptr) {
      load_floats(kernels, p.dtype, length, d + j * d_stride * p.itemsize, d_stride, addend);
    }
    kernels.finish(length, p.alpha, sums + j, p.beta, d == nullptr ? nullptr : addend, 1, line);
    store_floats(kernels, p.dtype, length, line, c + j * c_stride * p.itemsize, c_stride);
  }
}

// The same for a block whose columns lie side by side in C, if D is the same for each of them, as a
// bias is, and this instruction set has the vectors; otherwise false.
bool finish_transposed(const Product& p, int64_t rows, int64_t columns, const float* sums,
                       int64_t sums_row, const char* d, char* c) {
  const GemmKernels& kernels = *p.kernels;
  const bool is_float = p.dtype == DType::Float32;
  const bool is_bf16 = p.dtype == DType::BFloat16 && kernels.finish_transposed_bf16 != nullptr;
  if (rows > kernels.lanes || !(is_float || is_bf16)) return false;
  if (d != nullptr && p.d_strides.column != 0) return false;
  float addend[kMaxLanes];
  if (d != nullptr) {
    load_floats(kernels, p.dtype, rows, d, p.d_strides.row, addend);
    for (int64_t r = 0; r < rows; ++r) addend[r] *= p.beta;
  }
  const float* added = d == nullptr ? nullptr : addend;
  const int64_t line = p.c_strides.column;
  if (is_float) {
    kernels.finish_transposed(rows, columns, p.alpha, sums, sums_row, added,
                              reinterpret_cast<float*>(c), line);
  } else {
    kernels.finish_transposed_bf16(rows, columns, p.alpha, sums, sums_row, added,
                                   reinterpret_cast<uint16_t*>(c), line);
  }
  return true;
}

// A block of at most kMaxLanes rows of C, from its sums, at row r0 and column c0. Lines run along
// C's contiguous dimension.
void finish_block(const Product& p, int64_t r0, int64_t rows, int64_t c0, int64_t columns,
                  const float* sums, int64_t sums_row) {
  const auto offset = [&](Strides2 strides) {
    return (r0 * strides.row + c0 * strides.column) * p.itemsize;
  };
  char* c = p.c + offset(p.c_strides);
  const char* d = p.d == nullptr ? nullptr : p.d + offset(p.d_strides);
  const auto lines = [&](int64_t count, int64_t length, const float* from, int64_t from_row,
                         Strides2 c_strides, Strides2 d_strides) {
    for (int64_t i = 0; i < count; ++i) {
      finish_line(p, length, from + i * from_row,
                  d == nullptr ? nullptr : d + i * d_strides.row * p.itemsize, d_strides.column,
                  c + i * c_strides.row * p.itemsize, c_strides.column);
    }
  };
  if (p.c_strides.column == 1 || p.c_strides.row != 1) {
    lines(rows, columns, sums, sums_row, p.c_strides, p.d_strides);
    return;
  }
  if (finish_transposed(p, rows, columns, sums, sums_row, d, c)) return;
  alignas(64) float turned[kMaxLanes * kLine];
  for (int64_t j = 0; j < columns; j += kLine) {
    const int64_t length = std::min(kLine, columns - j);
    p.kernels->transpose(rows, length, sums + j, sums_row, turned, kMaxLanes);
    lines(length, rows, turned, kMaxLanes, swapped(p.c_strides), swapped(p.d_strides));
    c += length * p.c_strides.column * p.itemsize;
    if (d != nullptr) d += length * p.d_strides.column * p.itemsize;
  }
}

// A block of an operand in the form the kernels read.
struct Block {
  const char* data;
  int64_t outer;  // strides, in elements of what the kernels read
  int64_t inner;
};

// Whether vectors along k can be read where they are.
bool reads_in_place(const Product& p, int64_t k_stride) { return !p.to_float && k_stride == 1; }

// Outer x inner elements: in place where the kernels can read them, otherwise copied to `scratch`
// as the kernels' element type, `inner` side by side. 16-bit operands must be side by side where k
// is.
Block prepare(const Product& p, int64_t outer, int64_t inner, const char* data,
              int64_t outer_stride, int64_t inner_stride, float* scratch, bool any_inner_stride) {
  if (!p.to_float && (inner_stride == 1 || (any_inner_stride && p.dtype == DType::Float32))) {
    return {data, outer_stride, inner_stride};
  }
  if (p.to_float || p.dtype == DType::Float32) {
    for (int64_t i = 0; i < outer; ++i) {
      load_floats(*p.kernels, p.dtype, inner, data + i * outer_stride * p.itemsize, inner_stride,
                  scratch + i * inner);
    }
  } else {
    const auto* from = reinterpret_cast<const uint16_t*>(data);
    auto* to = reinterpret_cast<uint16_t*>(scratch);
    for (int64_t i = 0; i < outer; ++i) {
      for (int64_t j = 0; j < inner; ++j) {
        to[i * inner + j] = from[i * outer_stride + j * inner_stride];
      }
    }
  }
  return {reinterpret_cast<const char*>(scratch), inner, 1};
}

// --- vectors along k ---------------------------------------------------------------------------

// The few rows of S against a range of the columns of V.
void dot_columns(const Product& p, const Block& x, int64_t begin, int64_t end) {
  const GemmKernels& kernels = *p.kernels;
  const int64_t size = p.to_float ? int64_t{sizeof(float)} : p.itemsize;
  const Scratch<float> converted(reads_in_place(p, p.v_strides.row) ? 0 : 4 * p.k);
  alignas(64) float sums[kMaxLanes * kLine];
  for (int64_t c0 = begin; c0 < end; c0 += kLine) {
    const int64_t columns = std::min(kLine, end - c0);
    for (int64_t r0 = 0; r0 < p.rows; r0 += kDotBlock) {
      const int64_t rows = std::min(kDotBlock, p.rows - r0);
      const int64_t groups = (rows + kernels.dot_rows - 1) / kernels.dot_rows;
      const int64_t group = (rows + groups - 1) / groups;  // groups of even size
      for (int64_t j = 0; j < columns; j += 4) {
        const int64_t w_rows = std::min<int64_t>(4, columns - j);
        const Block w = prepare(p, w_rows, p.k, p.v + (c0 + j) * p.v_strides.column * p.itemsize,
                                p.v_strides.column, p.v_strides.row, converted.data(), false);
        for (int64_t r = 0; r < rows; r += group) {
          kernels.dot(std::min(group, rows - r), w_rows, p.k, x.data + (r0 + r) * x.outer * size,
                      x.outer, w.data, w.outer, sums + r * kLine + j, kLine);
        }
      }
      finish_block(p, r0, rows, c0, columns, sums, kLine);
    }
  }
}

void run_dot(const Product& p) {
  const Scratch<float> converted(reads_in_place(p, p.s_strides.column) ? 0 : p.rows * p.k);
  const Block x =
      prepare(p, p.rows, p.k, p.s, p.s_strides.row, p.s_strides.column, converted.data(), false);
  const int64_t units = (p.columns + 3) / 4;
  parallel_for(units, (units + p.pieces - 1) / p.pieces, [&](int64_t begin, int64_t end) {
    dot_columns(p, x, begin * 4, std::min(p.columns, end * 4));
  });
}

// --- register tiles ----------------------------------------------------------------------------

// Columns c0..c0+columns-1 of C, rows `begin` to `end`.
void tile_panel(const Product& p, int64_t begin, int64_t end, int64_t c0, int64_t columns) {
  const GemmKernels& kernels = *p.kernels;
  const int64_t vectors = (columns + kernels.lanes - 1) / kernels.lanes;
  const int64_t width = vectors * kernels.lanes;
  const int64_t panel_bytes = kernels.lanes == kMaxLanes ? kPanelBytesAvx512 : kPanelBytes;
  const int64_t element = p.to_float ? int64_t{sizeof(float)} : p.itemsize;
  const int64_t depth = std::min(panel_bytes / (kGemmVectors * kernels.lanes * element), p.k);
  const bool direct = !p.to_float && p.dtype == DType::Float32 && p.v_strides.column == 1 &&
                      columns == width && end - begin <= 2 * kernels.tile_rows;
  const bool staged = p.to_float;
  const Scratch<float> panel(direct ? 0 : (depth + 1) * width);
  const Scratch<float> stage(staged ? depth * columns : 0);
  const bool s_copied = p.to_float || (p.dtype != DType::Float32 && p.s_strides.column != 1);
  const Scratch<float> s_block(s_copied ? kernels.tile_rows * depth : 0);
  // Sums that are C as they are.
  const bool in_place = p.dtype == DType::Float32 && p.d == nullptr && p.alpha == 1.0f &&
                        p.c_strides.column == 1 && columns == width;
  // Others wait in memory while k comes in several blocks; otherwise one block of rows at a time.
  const bool whole = p.k > depth;
  const Scratch<float> sums(in_place ? 0
                                     : (whole ? end - begin + kMaxLanes : kernels.lanes) * width);

  for (int64_t k0 = 0; k0 < p.k; k0 += depth) {
    const int64_t block = std::min(depth, p.k - k0);
    const char* v = p.v + (k0 * p.v_strides.row + c0 * p.v_strides.column) * p.itemsize;
    const char* v_data = v;
    int64_t v_k = p.v_strides.row;
    if (!direct) {
      Block source{v, p.v_strides.row, p.v_strides.column};
      if (staged && p.v_strides.row == 1) {
        source = prepare(p, columns, block, v, p.v_strides.column, 1, stage.data(), true);
        std::swap(source.outer, source.inner);
      } else if (staged) {
        source =
            prepare(p, block, columns, v, p.v_strides.row, p.v_strides.column, stage.data(), true);
      }
      kernels.pack(block, columns, width, source.data, source.outer, source.inner, panel.data());
      v_data = reinterpret_cast<const char*>(panel.data());
      v_k = width;
    }
    for (int64_t r0 = begin; r0 < end; r0 += kernels.lanes) {
      const int64_t rows = std::min(kernels.lanes, end - r0);
      float* block_sums = sums.data() + (whole ? (r0 - begin) * width : 0);
      int64_t sums_row = width;
      if (in_place) {
        block_sums = reinterpret_cast<float*>(p.c) + r0 * p.c_strides.row + c0;
        sums_row = p.c_strides.row;
      }
      for (int64_t r = 0; r < rows; r += kernels.tile_rows) {
        const int64_t tile_rows = std::min(kernels.tile_rows, rows - r);
        const char* s = p.s + ((r0 + r) * p.s_strides.row + k0 * p.s_strides.column) * p.itemsize;
        const Block tile = prepare(p, tile_rows, block, s, p.s_strides.row, p.s_strides.column,
                                   s_block.data(), true);
        kernels.tile(tile_rows, vectors, block, tile.data, tile.outer, tile.inner, v_data, v_k,
                     block_sums + r * sums_row, sums_row, k0 > 0);
      }
      if (!in_place && k0 + block == p.k) finish_block(p, r0, rows, c0, columns, block_sums, width);
    }
  }
}

void run_tile(const Product& p, bool split_columns) {
  const int64_t lanes = p.kernels->lanes;
  // Panels as even as whole vectors allow.
  const int64_t vectors = (p.columns + lanes - 1) / lanes;
  const int64_t panels = (vectors + kGemmVectors - 1) / kGemmVectors;
  const auto column_of = [&](int64_t panel) {
    return std::min(p.columns, vectors * panel / panels * lanes);
  };
  const auto run = [&](int64_t begin, int64_t end, int64_t first, int64_t last) {
    for (int64_t panel = first; panel < last; ++panel) {
      const int64_t c0 = column_of(panel);
      tile_panel(p, begin, end, c0, column_of(panel + 1) - c0);
    }
  };
  const auto share = [&](int64_t units) { return (units + p.pieces - 1) / p.pieces; };
  if (split_columns) {
    parallel_for(panels, share(panels),
                 [&](int64_t first, int64_t last) { run(0, p.rows, first, last); });
  } else {
    const int64_t units = (p.rows + lanes - 1) / lanes;
    parallel_for(units, share(units), [&](int64_t begin, int64_t end) {
      run(begin * lanes, std::min(p.rows, end * lanes), 0, panels);
    });
  }
}

// --- fp64 without a BLAS, and products of nothing ----------------------------------------------

template <class T, class Sum>
void plain(const GemmProblem& p, const GemmOperands& o, int pieces) {
  const T* a = static_cast<const T*>(o.a);
  const T* b = static_cast<const T*>(o.b);
  const T* d = static_cast<const T*>(o.d);
  T* c = static_cast<T*>(o.c);
  const Sum alpha = static_cast<Sum>(o.alpha), beta = static_cast<Sum>(o.beta);
  parallel_for(p.m, (p.m + pieces - 1) / pieces, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      for (int64_t j = 0; j < p.n; ++j) {
        Sum sum{};
        for (int64_t k = 0; k < p.k; ++k) {
          sum += convert<Sum>(a[i * p.a.row + k * p.a.column]) *
                 convert<Sum>(b[k * p.b.row + j * p.b.column]);
        }
        sum *= alpha;
        if (o.beta != 0.0) {
          sum += beta * convert<Sum>(d[i * o.d_strides.row + j * o.d_strides.column]);
        }
        c[i * p.c.row + j * p.c.column] = convert<T>(sum);
      }
    }
  });
}

void run_plain(const GemmProblem& p, const GemmOperands& o, int pieces) {
  if (p.dtype == DType::Float64) return plain<double, double>(p, o, pieces);
  if (p.dtype == DType::Float32) return plain<float, float>(p, o, pieces);
  if (p.dtype == DType::BFloat16) return plain<BFloat16, float>(p, o, pieces);
  return plain<Float16, float>(p, o, pieces);
}

}  // namespace

void gemm(const GemmProblem& given, const GemmOperands& operands, const GemmChoice& choice,
          const CpuFeatures& features) {
  if (given.m == 0 || given.n == 0) return;
  if (given.k == 0) return run_plain(given, operands, 1);
  switch (choice.path) {
    case GemmPath::Blas:
      return gemm_blas(given, operands, choice, *blas());
    case GemmPath::Plain:
      return run_plain(given, operands, choice.pieces);
    case GemmPath::Dot:
      return run_dot(Product(given, operands, choice, features));
    case GemmPath::Tile:
      return run_tile(Product(given, operands, choice, features), choice.split_columns);
  }
}

void gemm(const GemmProblem& given, const GemmOperands& operands) {
  // The stride of a dimension of size 1 means nothing; as 1 it hides no fast path.
  GemmProblem problem = given;
  if (problem.k == 1) problem.a.column = problem.b.row = 1;
  const CpuFeatures& features = cpu_features();
  const bool has_blas = wants_blas(problem, features) && blas() != nullptr;
  gemm(problem, operands, choose_gemm(problem, features, has_blas), features);
}

}  // namespace aotiny
