#include <immintrin.h>

#include "aotiny/kernels/tile_packed_mm.h"

namespace aotiny {
namespace {

constexpr int kLanes = 16;

// The words of four rows, [16 lanes][kWords], as kWords vectors of lanes: one for every 32 k.
template <int kWords>
void load_words(const uint32_t* words, __m512i* out) {
  __m512i v[kWords];
  for (int i = 0; i < kWords; ++i) v[i] = _mm512_loadu_si512(words + i * kLanes);
  if constexpr (kWords == 1) {
    out[0] = v[0];
  } else if constexpr (kWords == 2) {
    const __m512i even =
        _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    out[0] = _mm512_permutex2var_epi32(v[0], even, v[1]);
    out[1] = _mm512_permutex2var_epi32(v[0], _mm512_add_epi32(even, _mm512_set1_epi32(1)), v[1]);
  } else {
    // A vector is a row: its four lanes' words change places with its four words' lanes ...
    const __m512i turn = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    for (__m512i& row : v) row = _mm512_permutexvar_epi32(turn, row);
    // ... and then vectors with quarters of vectors.
    const __m512i first01 = _mm512_shuffle_i32x4(v[0], v[1], 0x44);
    const __m512i first23 = _mm512_shuffle_i32x4(v[2], v[3], 0x44);
    const __m512i last01 = _mm512_shuffle_i32x4(v[0], v[1], 0xee);
    const __m512i last23 = _mm512_shuffle_i32x4(v[2], v[3], 0xee);
    out[0] = _mm512_shuffle_i32x4(first01, first23, 0x88);
    out[1] = _mm512_shuffle_i32x4(first01, first23, 0xdd);
    out[2] = _mm512_shuffle_i32x4(last01, last23, 0x88);
    out[3] = _mm512_shuffle_i32x4(last01, last23, 0xdd);
  }
}

// 32 k of four rows: nibbles i and i + 4 of a lane's word are neighbours along k.
void unpack_words(__m512i words, const uint32_t* row_pairs, uint32_t* out) {
  const __m512 codes = _mm512_setr_ps(-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7);
  const __m512i row_of_lane = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
  const __m512i interleave =
      _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                       21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  const __m512i pairs = _mm512_permutexvar_epi32(
      row_of_lane,
      _mm512_castsi128_si512(_mm_loadu_si128(reinterpret_cast<const __m128i*>(row_pairs))));
  const __m512 scale = _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16));
  const __m512 zero = _mm512_castsi512_ps(_mm512_and_epi32(pairs, _mm512_set1_epi32(-65536)));
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i, out += 2 * kLanes) {
    // The lookup reads four bits of an index. A code times a scale is exact.
    const __m512 low = _mm512_permutexvar_ps(_mm512_srli_epi32(words, 4 * i), codes);
    const __m512 high = _mm512_permutexvar_ps(_mm512_srli_epi32(words, 4 * i + 16), codes);
    const __m512i halves = (__m512i)_mm512_cvtne2ps_pbh(_mm512_fmadd_ps(high, scale, zero),
                                                        _mm512_fmadd_ps(low, scale, zero));
    _mm512_storeu_si512(out, _mm512_permutexvar_epi16(interleave, halves));
  }
}

template <int kWords>
void unpack_rows(const TilePackedRows& rows, uint32_t* out) {
  const uint32_t* tile = rows.words;
  for (int64_t k = 0; k < rows.k; k += 32 * kWords, tile += rows.words_step) {
    __m512i words[2][kWords];
    load_words<kWords>(tile, words[0]);
    load_words<kWords>(tile + kLanes * kWords, words[1]);
#pragma GCC unroll 4
    for (int j = 0; j < kWords; ++j, out += 8 * kLanes) {
      const uint32_t* pairs = rows.pairs + (k + 32 * j) / rows.group_size * rows.pairs_step;
      unpack_words(words[0][j], pairs, out);
      unpack_words(words[1][j], pairs + 4, out + kLanes);
    }
  }
}

// The sums of every four lanes, of two vectors.
__m256 sums_of_fours(__m512 first, __m512 second) {
  const auto fold = [](__m512 v) {
    v = _mm512_add_ps(v, _mm512_permute_ps(v, 0xb1));
    return _mm512_add_ps(v, _mm512_permute_ps(v, 0x4e));
  };
  const __m512i lanes = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 0, 0, 0, 0, 0, 0, 0, 0);
  return _mm512_castps512_ps256(_mm512_permutex2var_ps(fold(first), lanes, fold(second)));
}

template <int kRows>
void multiply(const TilePackedTile& tile) {
  // Two sums by turns, so that the next product need not wait for the one before.
  __m512 total[kRows][2][2];
  for (auto& row : total) {
    for (auto& half : row) half[0] = half[1] = _mm512_setzero_ps();
  }
  const uint32_t* pairs = tile.pairs;
  const BFloat16* x = tile.x;
  for (int64_t block = 0; block < tile.k / 32; ++block, x += 32) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i, pairs += 2 * kLanes) {
      const auto w0 = (__m512bh)_mm512_loadu_si512(pairs);
      const auto w1 = (__m512bh)_mm512_loadu_si512(pairs + kLanes);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        const auto eight = (__m512bh)_mm512_broadcast_i32x4(
            _mm_loadu_si128(reinterpret_cast<const __m128i*>(x + r * tile.x_row + 8 * i)));
        total[r][0][i % 2] = _mm512_dpbf16_ps(total[r][0][i % 2], w0, eight);
        total[r][1][i % 2] = _mm512_dpbf16_ps(total[r][1][i % 2], w1, eight);
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    __m256 sum = sums_of_fours(_mm512_add_ps(total[r][0][0], total[r][0][1]),
                               _mm512_add_ps(total[r][1][0], total[r][1][1]));
    if (!tile.first) sum = _mm256_add_ps(_mm256_loadu_ps(tile.sums + 8 * r), sum);
    if (!tile.last) {
      _mm256_storeu_ps(tile.sums + 8 * r, sum);
      continue;
    }
    if (tile.bias != nullptr) sum = _mm256_add_ps(sum, _mm256_loadu_ps(tile.bias));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(tile.y + r * tile.y_row),
                     (__m128i)_mm256_cvtneps_pbh(sum));
  }
}

template <int kRows>
void multiply_rows(const TilePackedTile& tile, int rows) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return multiply_rows<kRows - 1>(tile, rows);
  }
  multiply<kRows>(tile);
}

}  // namespace

void unpack_tile_rows_avx512bf16(const TilePackedRows& rows, uint32_t* pairs) {
  if (rows.words_per_lane == 1) return unpack_rows<1>(rows, pairs);
  if (rows.words_per_lane == 2) return unpack_rows<2>(rows, pairs);
  unpack_rows<4>(rows, pairs);
}

void multiply_tile_rows_avx512bf16(const TilePackedTile& tile, int rows) {
  multiply_rows<kTilePackedXRows>(tile, rows);
}

}  // namespace aotiny
