// A full block of 64 rows: 32 bytes hold one k, and a table lookup turns nibbles to floats.
#include <immintrin.h>

#include "aotiny/kernels/int4pack.h"

namespace aotiny {
namespace {

constexpr int64_t kRows = 64;
constexpr int64_t kVectors = kRows / 16;

// 16 scales and zeros from interleaved pairs.
struct Pairs {
  __m512 scale, zero;
};

template <DType kDType>
Pairs load_pairs(const void* pairs) {
  if constexpr (kDType == DType::Float32) {
    const __m512 low = _mm512_loadu_ps(pairs);
    const __m512 high = _mm512_loadu_ps(static_cast<const float*>(pairs) + 16);
    const __m512i even =
        _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
    return {_mm512_permutex2var_ps(low, even, high), _mm512_permutex2var_ps(low, odd, high)};
  }
  const __m512i words = _mm512_loadu_si512(pairs);
  if constexpr (kDType == DType::BFloat16) {
    return {_mm512_castsi512_ps(_mm512_slli_epi32(words, 16)),
            _mm512_castsi512_ps(_mm512_and_epi32(words, _mm512_set1_epi32(-65536)))};
  }
  return {_mm512_cvtph_ps(_mm512_cvtepi32_epi16(words)),
          _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(words, 16)))};
}

// y[r] += scale·Σ(q − 8)·x[r] + zero·Σx[r] over one group, for kXRows rows of x.
template <int kXRows>
void tile(const uint8_t* bytes, int64_t group_size, const Pairs* pairs, const float* x,
          int64_t x_stride, const float* x_sums, int64_t sums_stride, float* y, int64_t y_stride,
          bool is_first) {
  const __m512 table = _mm512_setr_ps(-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7);
  __m512 sums[kXRows][kVectors];
  for (int r = 0; r < kXRows; ++r) {
    for (int v = 0; v < kVectors; ++v) sums[r][v] = _mm512_setzero_ps();
  }
  for (int64_t i = 0; i < group_size; ++i) {
    // The lookup reads four bits of each index: the high nibble need not be cleared.
    const __m512i first =
        _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes + 32 * i)));
    const __m512i second = _mm512_cvtepu8_epi32(
        _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes + 32 * i + 16)));
    const __m512 w[kVectors] = {_mm512_permutexvar_ps(first, table),
                                _mm512_permutexvar_ps(second, table),
                                _mm512_permutexvar_ps(_mm512_srli_epi32(first, 4), table),
                                _mm512_permutexvar_ps(_mm512_srli_epi32(second, 4), table)};
    for (int r = 0; r < kXRows; ++r) {
      const __m512 value = _mm512_set1_ps(x[r * x_stride + i]);
      for (int v = 0; v < kVectors; ++v) sums[r][v] = _mm512_fmadd_ps(w[v], value, sums[r][v]);
    }
  }
  for (int r = 0; r < kXRows; ++r) {
    const __m512 x_sum = _mm512_set1_ps(x_sums[r * sums_stride]);
    for (int v = 0; v < kVectors; ++v) {
      float* target = y + r * y_stride + 16 * v;
      const __m512 before = is_first ? _mm512_setzero_ps() : _mm512_loadu_ps(target);
      const __m512 sum =
          _mm512_fmadd_ps(pairs[v].scale, sums[r][v], _mm512_mul_ps(pairs[v].zero, x_sum));
      _mm512_storeu_ps(target, _mm512_add_ps(before, sum));
    }
  }
}

template <DType kDType>
void block_of(const Int4PackProblem& p, int64_t block) {
  constexpr int64_t kPairBytes = kDType == DType::Float32 ? 8 : 4;
  const int64_t num_groups = p.k / p.group_size;
  for (int64_t group = 0; group < num_groups; ++group) {
    Pairs pairs[kVectors];
    for (int64_t v = 0; v < kVectors; ++v) {
      pairs[v] = load_pairs<kDType>(static_cast<const char*>(p.scales_and_zeros) +
                                    (group * p.n + block * kRows + 16 * v) * kPairBytes);
    }
    const uint8_t* bytes = p.weights + (block * p.k + group * p.group_size) * (kRows / 2);
    const auto run = [&](auto tile_function, int64_t row) {
      tile_function(bytes, p.group_size, pairs, p.x + row * p.k + group * p.group_size, p.k,
                    p.x_sums + row * num_groups + group, num_groups,
                    p.y + row * p.n + block * kRows, p.n, group == 0);
    };
    int64_t row = 0;
    for (; row + 4 <= p.m; row += 4) run(tile<4>, row);
    if (p.m - row == 3) run(tile<3>, row);
    if (p.m - row == 2) run(tile<2>, row);
    if (p.m - row == 1) run(tile<1>, row);
  }
}

}  // namespace

void int4pack_block_avx512(const Int4PackProblem& problem, int64_t block) {
  if (problem.scale_dtype == DType::Float32) return block_of<DType::Float32>(problem, block);
  if (problem.scale_dtype == DType::Float16) return block_of<DType::Float16>(problem, block);
  return block_of<DType::BFloat16>(problem, block);
}

}  // namespace aotiny
