// The product with one full block of packed rows, for any instruction set.
//
// Isa names a Vector (gemm_vector_*.h), kMaxRows (rows of x whose sums stay in registers), the load
// of scales and zeros, and `unpack`: the codes of one k, less 8, as kVectors vectors of floats. It
// is defined in the file of the instruction set, without linkage, and so are these instances.
#pragma once

#include <type_traits>

#include "aotiny/kernels/int4pack.h"

namespace aotiny {
namespace {
namespace int4pack {

constexpr int kVectors = 4;  // in a block

// A vector of scales and one of zeros, from interleaved pairs.
template <class Vector>
struct Pairs {
  typename Vector::Reg scale, zero;
};

// y[r] += scale·Σ(q − 8)·x[r] + zero·Σx[r] over one group, for kXRows rows of x.
template <class Isa, int kXRows>
void tile(const uint8_t* bytes, int64_t group_size, const Pairs<typename Isa::Vector>* pairs,
          const float* x, int64_t x_stride, const float* x_sums, int64_t sums_stride, float* y,
          int64_t y_stride, bool is_first) {
  using V = typename Isa::Vector;
  using Reg = typename V::Reg;
  Reg sums[kXRows][kVectors];
  for (int r = 0; r < kXRows; ++r) {
    for (int v = 0; v < kVectors; ++v) sums[r][v] = V::zero();
  }
  for (int64_t i = 0; i < group_size; ++i) {
    Reg w[kVectors];
    Isa::unpack(bytes + i * V::kLanes * kVectors / 2, w);
    for (int r = 0; r < kXRows; ++r) {
      const Reg value = V::set1(x[r * x_stride + i]);
      for (int v = 0; v < kVectors; ++v) sums[r][v] = V::fma(w[v], value, sums[r][v]);
    }
  }
  for (int r = 0; r < kXRows; ++r) {
    const Reg x_sum = V::set1(x_sums[r * sums_stride]);
    for (int v = 0; v < kVectors; ++v) {
      float* target = y + r * y_stride + V::kLanes * v;
      const Reg before = is_first ? V::zero() : V::load(target);
      const Reg sum = V::fma(pairs[v].scale, sums[r][v], V::mul(pairs[v].zero, x_sum));
      V::store(target, V::add(before, sum));
    }
  }
}

// Calls run(row, number of rows as a constant) for tiles that cover m rows, the largest first.
template <int kXRows, class Run>
void for_tiles(int64_t m, int64_t row, Run&& run) {
  for (; row + kXRows <= m; row += kXRows) run(row, std::integral_constant<int, kXRows>{});
  if constexpr (kXRows > 1) for_tiles<kXRows - 1>(m, row, run);
}

template <class Isa, DType kDType>
void block_of(const Int4PackProblem& p, int64_t block) {
  constexpr int64_t kLanes = Isa::Vector::kLanes;
  constexpr int64_t kRows = kLanes * kVectors;
  constexpr int64_t kPairBytes = kDType == DType::Float32 ? 8 : 4;
  const int64_t num_groups = p.k / p.group_size;
  for (int64_t group = 0; group < num_groups; ++group) {
    Pairs<typename Isa::Vector> pairs[kVectors];
    for (int64_t v = 0; v < kVectors; ++v) {
      pairs[v] =
          Isa::template load_pairs<kDType>(static_cast<const char*>(p.scales_and_zeros) +
                                           (group * p.n + block * kRows + kLanes * v) * kPairBytes);
    }
    const uint8_t* bytes = p.weights + (block * p.k + group * p.group_size) * (kRows / 2);
    for_tiles<Isa::kMaxRows>(p.m, 0, [&](int64_t row, auto rows) {
      tile<Isa, decltype(rows)::value>(bytes, p.group_size, pairs,
                                       p.x + row * p.k + group * p.group_size, p.k,
                                       p.x_sums + row * num_groups + group, num_groups,
                                       p.y + row * p.n + block * kRows, p.n, group == 0);
    });
  }
}

template <class Isa>
void multiply_block(const Int4PackProblem& problem, int64_t block) {
  if (problem.scale_dtype == DType::Float32) return block_of<Isa, DType::Float32>(problem, block);
  if (problem.scale_dtype == DType::Float16) return block_of<Isa, DType::Float16>(problem, block);
  return block_of<Isa, DType::BFloat16>(problem, block);
}

}  // namespace int4pack
}  // namespace
}  // namespace aotiny
