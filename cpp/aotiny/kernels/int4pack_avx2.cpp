// A full block of 32 rows: 16 bytes hold one k. With every nibble's top bit flipped, a nibble is
// q − 8 in two's complement, and shifts extend its sign.
#include <immintrin.h>

#include "aotiny/kernels/int4pack.h"

namespace aotiny {
namespace {

constexpr int64_t kRows = 32;
constexpr int64_t kVectors = kRows / 8;

// 8 scales and zeros from interleaved pairs.
struct Pairs {
  __m256 scale, zero;
};

template <DType kDType>
Pairs load_pairs(const void* pairs) {
  if constexpr (kDType == DType::Float32) {
    const __m256 low = _mm256_loadu_ps(static_cast<const float*>(pairs));
    const __m256 high = _mm256_loadu_ps(static_cast<const float*>(pairs) + 8);
    const auto in_order = [](__m256 shuffled) {  // its 64-bit quarters are 0, 2, 1, 3
      return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(shuffled), 0xd8));
    };
    return {in_order(_mm256_shuffle_ps(low, high, 0x88)),
            in_order(_mm256_shuffle_ps(low, high, 0xdd))};
  }
  const __m256i words = _mm256_loadu_si256(static_cast<const __m256i*>(pairs));
  if constexpr (kDType == DType::BFloat16) {
    return {_mm256_castsi256_ps(_mm256_slli_epi32(words, 16)),
            _mm256_castsi256_ps(_mm256_and_si256(words, _mm256_set1_epi32(-65536)))};
  }
  const auto to_floats = [](__m256i halves) {  // from the low half of each word
    const __m256i packed = _mm256_packus_epi32(halves, halves);
    return _mm256_cvtph_ps(_mm256_castsi256_si128(_mm256_permute4x64_epi64(packed, 0xd8)));
  };
  return {to_floats(_mm256_and_si256(words, _mm256_set1_epi32(65535))),
          to_floats(_mm256_srli_epi32(words, 16))};
}

// y[r] += scale·Σ(q − 8)·x[r] + zero·Σx[r] over one group, for kXRows rows of x.
template <int kXRows>
void tile(const uint8_t* bytes, int64_t group_size, const Pairs* pairs, const float* x,
          int64_t x_stride, const float* x_sums, int64_t sums_stride, float* y, int64_t y_stride,
          bool is_first) {
  __m256 sums[kXRows][kVectors];
  for (int r = 0; r < kXRows; ++r) {
    for (int v = 0; v < kVectors; ++v) sums[r][v] = _mm256_setzero_ps();
  }
  const __m128i top_bits = _mm_set1_epi8(static_cast<char>(0x88));
  for (int64_t i = 0; i < group_size; ++i) {
    const __m128i codes =
        _mm_xor_si128(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes + 16 * i)), top_bits);
    const __m256i first = _mm256_cvtepi8_epi32(codes);
    const __m256i second = _mm256_cvtepi8_epi32(_mm_srli_si128(codes, 8));
    const auto low = [](__m256i word) {
      return _mm256_cvtepi32_ps(_mm256_srai_epi32(_mm256_slli_epi32(word, 28), 28));
    };
    const auto high = [](__m256i word) { return _mm256_cvtepi32_ps(_mm256_srai_epi32(word, 4)); };
    const __m256 w[kVectors] = {low(first), low(second), high(first), high(second)};
    for (int r = 0; r < kXRows; ++r) {
      const __m256 value = _mm256_broadcast_ss(x + r * x_stride + i);
      for (int v = 0; v < kVectors; ++v) sums[r][v] = _mm256_fmadd_ps(w[v], value, sums[r][v]);
    }
  }
  for (int r = 0; r < kXRows; ++r) {
    const __m256 x_sum = _mm256_set1_ps(x_sums[r * sums_stride]);
    for (int v = 0; v < kVectors; ++v) {
      float* target = y + r * y_stride + 8 * v;
      const __m256 before = is_first ? _mm256_setzero_ps() : _mm256_loadu_ps(target);
      const __m256 sum =
          _mm256_fmadd_ps(pairs[v].scale, sums[r][v], _mm256_mul_ps(pairs[v].zero, x_sum));
      _mm256_storeu_ps(target, _mm256_add_ps(before, sum));
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
                                    (group * p.n + block * kRows + 8 * v) * kPairBytes);
    }
    const uint8_t* bytes = p.weights + (block * p.k + group * p.group_size) * (kRows / 2);
    const auto run = [&](auto tile_function, int64_t row) {
      tile_function(bytes, p.group_size, pairs, p.x + row * p.k + group * p.group_size, p.k,
                    p.x_sums + row * num_groups + group, num_groups,
                    p.y + row * p.n + block * kRows, p.n, group == 0);
    };
    int64_t row = 0;
    for (; row + 2 <= p.m; row += 2) run(tile<2>, row);
    if (row < p.m) run(tile<1>, row);
  }
}

}  // namespace

void int4pack_block_avx2(const Int4PackProblem& problem, int64_t block) {
  if (problem.scale_dtype == DType::Float32) return block_of<DType::Float32>(problem, block);
  if (problem.scale_dtype == DType::Float16) return block_of<DType::Float16>(problem, block);
  return block_of<DType::BFloat16>(problem, block);
}

}  // namespace aotiny
