// The loops of GemmKernels over any vector type.
//
// Every vector type lives in an unnamed namespace, so each instruction set's file has copies of
// these templates of its own: the linker never merges them.
#pragma once

#include <cstdint>

#include "aotiny/kernels/gemm_kernels.h"

namespace aotiny {

template <class Vector>
struct GemmSimd {
  using Reg = typename Vector::Reg;
  // What is multiplied, and how many of it one lane takes in a step: 1 float, or 2 bf16.
  using Element = typename Vector::Element;
  static constexpr int64_t kStep = Vector::kStep;
  static constexpr int64_t kCacheLine = 64 / sizeof(Element);  // in elements
  static constexpr int64_t kLanes = Vector::kLanes;
  static constexpr int kTileRows = static_cast<int>(Vector::kTileRows);
  static constexpr int kDotRows = static_cast<int>(Vector::kDotRows);

  template <int kRows, int kVectors, bool kUnit>
  static void tile_of(int64_t k, const Element* s, int64_t s_row, int64_t s_k, const Element* v,
                      int64_t v_k, float* c, int64_t c_row, bool accumulate) {
    Reg sum[kRows][kVectors];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 3
      for (int j = 0; j < kVectors; ++j) {
        sum[r][j] = accumulate ? Vector::load(c + r * c_row + j * kLanes) : Vector::zero();
      }
    }
    const auto step = [&](auto broadcast) __attribute__((always_inline)) {
      Reg column[kVectors];
#pragma GCC unroll 3
      for (int j = 0; j < kVectors; ++j) column[j] = Vector::load(v + j * kLanes * kStep);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        const Reg value = broadcast(s + r * s_row);
#pragma GCC unroll 3
        for (int j = 0; j < kVectors; ++j) {
          sum[r][j] = Vector::multiply(value, column[j], sum[r][j]);
        }
      }
    };
    int64_t i = 0;
    while (i + kStep <= k) {
      if constexpr (kUnit) {
        // The rows of the next tile, a cache line of each, while this one is multiplied.
#pragma GCC unroll 8
        for (int r = 0; r < kRows; ++r) __builtin_prefetch(s + (kRows + r) * s_row);
      }
      const int64_t stop = i + kCacheLine < k ? i + kCacheLine : k;
      for (; i + kStep <= stop; i += kStep) {
        step([](const Element* p) { return Vector::broadcast(p); });
        v += kStep * v_k;
        s += kUnit ? kStep : s_k;
      }
    }
    if (i < k) step([](const Element* p) { return Vector::broadcast_partial(p); });
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 3
      for (int j = 0; j < kVectors; ++j) Vector::store(c + r * c_row + j * kLanes, sum[r][j]);
    }
  }

  template <int kRows>
  static void tile_rows(int64_t rows, int64_t vectors, int64_t k, const Element* s, int64_t s_row,
                        int64_t s_k, const Element* v, int64_t v_k, float* c, int64_t c_row,
                        bool accumulate) {
    if constexpr (kRows > 1) {
      if (rows < kRows) {
        return tile_rows<kRows - 1>(rows, vectors, k, s, s_row, s_k, v, v_k, c, c_row, accumulate);
      }
    }
    const auto run = [&](auto with_unit, auto with_stride) {
      (s_k == 1 ? with_unit : with_stride)(k, s, s_row, s_k, v, v_k, c, c_row, accumulate);
    };
    if (vectors == 1) return run(tile_of<kRows, 1, true>, tile_of<kRows, 1, false>);
    if (vectors == 2) return run(tile_of<kRows, 2, true>, tile_of<kRows, 2, false>);
    return run(tile_of<kRows, 3, true>, tile_of<kRows, 3, false>);
  }

  static void tile(int64_t rows, int64_t vectors, int64_t k, const void* s, int64_t s_row,
                   int64_t s_k, const void* v, int64_t v_k, float* c, int64_t c_row,
                   bool accumulate) {
    tile_rows<kTileRows>(rows, vectors, k, static_cast<const Element*>(s), s_row, s_k,
                         static_cast<const Element*>(v), v_k, c, c_row, accumulate);
  }

  static void transpose(int64_t rows, int64_t columns, const float* in, int64_t in_row, float* out,
                        int64_t out_row) {
    for (int64_t r0 = 0; r0 < rows; r0 += kLanes) {
      const int64_t block_rows = rows - r0 < kLanes ? rows - r0 : kLanes;
      for (int64_t c0 = 0; c0 < columns; c0 += kLanes) {
        const int64_t block_columns = columns - c0 < kLanes ? columns - c0 : kLanes;
        const float* from = in + r0 * in_row + c0;
        Reg block[kLanes];
        if (block_rows == kLanes && block_columns == kLanes) {
#pragma GCC unroll 16
          for (int64_t i = 0; i < kLanes; ++i) block[i] = Vector::load(from + i * in_row);
        } else {
#pragma GCC unroll 16
          for (int64_t i = 0; i < kLanes; ++i) {
            block[i] = i < block_rows ? Vector::load_partial(from + i * in_row, block_columns)
                                      : Vector::zero();
          }
        }
        Vector::transpose(block);
        float* to = out + c0 * out_row + r0;
        if (block_columns == kLanes) {
#pragma GCC unroll 16
          for (int64_t i = 0; i < kLanes; ++i) Vector::store(to + i * out_row, block[i]);
        } else {
#pragma GCC unroll 16
          for (int64_t i = 0; i < kLanes; ++i) {
            if (i < block_columns) Vector::store(to + i * out_row, block[i]);
          }
        }
      }
    }
  }

  template <class Output>
  static void finish_transposed(int64_t rows, int64_t columns, float alpha, const float* in,
                                int64_t in_row, const float* addend, Output* out, int64_t out_row) {
    const Reg scale = Vector::set1(alpha);
    const Reg add = addend == nullptr ? Vector::zero() : Vector::load_partial(addend, rows);
    for (int64_t c0 = 0; c0 < columns; c0 += kLanes) {
      const int64_t count = columns - c0 < kLanes ? columns - c0 : kLanes;
      Reg block[kLanes];
#pragma GCC unroll 16
      for (int64_t i = 0; i < kLanes; ++i) {
        if (i >= rows) {
          block[i] = Vector::zero();
        } else if (count == kLanes) {
          block[i] = Vector::load(in + i * in_row + c0);
        } else {
          block[i] = Vector::load_partial(in + i * in_row + c0, count);
        }
      }
      Vector::transpose(block);
      Output* to = out + c0 * out_row;
      const auto line = [&](Reg value) { return Vector::fma(scale, value, add); };
      if (rows == kLanes && count == kLanes) {
#pragma GCC unroll 16
        for (int64_t i = 0; i < kLanes; ++i) Vector::store(to + i * out_row, line(block[i]));
      } else {
#pragma GCC unroll 16
        for (int64_t i = 0; i < kLanes; ++i) {
          if (i < count) Vector::store_partial(to + i * out_row, line(block[i]), rows);
        }
      }
    }
  }

  static void pack(int64_t k, int64_t columns, int64_t width, const void* v, int64_t v_k,
                   int64_t v_column, void* panel) {
    const float* from = static_cast<const float*>(v);
    float* to = static_cast<float*>(panel);
    if (v_k == 1 && v_column != 1) {
      transpose(columns, k, from, v_column, to, width);
      const int64_t filled = (columns + kLanes - 1) / kLanes * kLanes;
      for (int64_t i = 0; filled < width && i < k; ++i) {
        for (int64_t j = filled; j < width; ++j) to[i * width + j] = 0.0f;
      }
      return;
    }
    for (int64_t i = 0; i < k; ++i, to += width, from += v_k) {
      int64_t j = 0;
      if (v_column == 1) {
        for (; j + kLanes <= columns; j += kLanes) Vector::store(to + j, Vector::load(from + j));
      }
      for (; j < columns; ++j) to[j] = from[j * v_column];
      for (; j < width; ++j) to[j] = 0.0f;
    }
  }

  template <int kRows>
  static void dot_of(int64_t w_rows, int64_t k, const Element* x, int64_t x_row, const Element* w,
                     int64_t w_row, float* c, int64_t c_row) {
    // A missing row of w repeats row 0, whose memory is there to be read.
    const Element* w1 = w_rows > 1 ? w + w_row : w;
    const Element* w2 = w_rows > 2 ? w + 2 * w_row : w;
    const Element* w3 = w_rows > 3 ? w + 3 * w_row : w;
    Reg sum[kRows][4];
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r) {
      sum[r][0] = sum[r][1] = sum[r][2] = sum[r][3] = Vector::zero();
    }
    // Rows of four streams are short; fetching the next four while these are read keeps memory
    // busy.
    const int64_t next = 4 * w_row;
    const auto step = [&](auto load, int64_t i) __attribute__((always_inline)) {
      __builtin_prefetch(w + next + i);
      __builtin_prefetch(w1 + next + i);
      __builtin_prefetch(w2 + next + i);
      __builtin_prefetch(w3 + next + i);
      const Reg b0 = load(w + i), b1 = load(w1 + i), b2 = load(w2 + i), b3 = load(w3 + i);
#pragma GCC unroll 6
      for (int r = 0; r < kRows; ++r) {
        const Reg a = load(x + r * x_row + i);
        sum[r][0] = Vector::multiply(a, b0, sum[r][0]);
        sum[r][1] = Vector::multiply(a, b1, sum[r][1]);
        sum[r][2] = Vector::multiply(a, b2, sum[r][2]);
        sum[r][3] = Vector::multiply(a, b3, sum[r][3]);
      }
    };
    int64_t i = 0;
    for (; i + kLanes * kStep <= k; i += kLanes * kStep) {
      step([](const Element* p) { return Vector::load(p); }, i);
    }
    if (i < k) {
      const int64_t rest = k - i;
      step([rest](const Element* p) { return Vector::load_partial(p, rest); }, i);
    }
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r) {
      Vector::reduce4(sum[r][0], sum[r][1], sum[r][2], sum[r][3], c + r * c_row);
    }
  }

  template <int kRows>
  static void dot_rows(int64_t rows, int64_t w_rows, int64_t k, const Element* x, int64_t x_row,
                       const Element* w, int64_t w_row, float* c, int64_t c_row) {
    if constexpr (kRows > 1) {
      if (rows < kRows) {
        return dot_rows<kRows - 1>(rows, w_rows, k, x, x_row, w, w_row, c, c_row);
      }
    }
    dot_of<kRows>(w_rows, k, x, x_row, w, w_row, c, c_row);
  }

  static void dot(int64_t rows, int64_t w_rows, int64_t k, const void* x, int64_t x_row,
                  const void* w, int64_t w_row, float* c, int64_t c_row) {
    dot_rows<kDotRows>(rows, w_rows, k, static_cast<const Element*>(x), x_row,
                       static_cast<const Element*>(w), w_row, c, c_row);
  }

  static void finish(int64_t count, float alpha, const float* in, float beta, const float* addend,
                     int64_t addend_stride, float* out) {
    const Reg scale = Vector::set1(alpha), weight = Vector::set1(beta);
    const auto line = [&](Reg value, Reg add) {
      value = alpha == 1.0f ? value : Vector::mul(value, scale);
      return addend == nullptr ? value : Vector::fma(weight, add, value);
    };
    const bool gathered = addend != nullptr && addend_stride != 0 && addend_stride != 1;
    const Reg same =
        addend != nullptr && addend_stride == 0 ? Vector::set1(*addend) : Vector::zero();
    for (int64_t j = 0; j < count; j += kLanes) {
      const int64_t rest = count - j < kLanes ? count - j : kLanes;
      Reg add = same;
      if (gathered) {
        float values[kLanes] = {};
        for (int64_t i = 0; i < rest; ++i) values[i] = addend[(j + i) * addend_stride];
        add = Vector::load(values);
      } else if (addend != nullptr && addend_stride == 1) {
        add = rest == kLanes ? Vector::load(addend + j) : Vector::load_partial(addend + j, rest);
      }
      if (rest == kLanes) {
        Vector::store(out + j, line(Vector::load(in + j), add));
      } else {
        Vector::store_partial(out + j, line(Vector::load_partial(in + j, rest), add), rest);
      }
    }
  }
};

}  // namespace aotiny
