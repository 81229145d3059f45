// bf16 operands, multiplied and added in pairs along k; sums are fp32.
//
// A panel holds, for every pair of k, the pair of every column: width 32-bit words.
#include "aotiny/kernels/gemm_simd.h"
#include "aotiny/kernels/gemm_vector_avx512.h"

namespace aotiny {
namespace {

struct Bf16Vector : Avx512Vector {
  using Element = uint16_t;
  static constexpr int64_t kStep = 2;

  using Avx512Vector::load;
  using Avx512Vector::load_partial;
  static Reg load(const uint16_t* p) { return _mm512_loadu_ps(reinterpret_cast<const float*>(p)); }
  static Reg load_partial(const uint16_t* p, int64_t count) {
    const __mmask32 mask = static_cast<__mmask32>((uint64_t{1} << count) - 1);
    return _mm512_castsi512_ps(_mm512_maskz_loadu_epi16(mask, p));
  }
  // Like the products, rounding takes what is below the normal numbers for zero.
  static __m256i round_bf16(Reg value) {
    return reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(value));
  }
  using Avx512Vector::store;
  using Avx512Vector::store_partial;
  static void store(uint16_t* p, Reg r) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), round_bf16(r));
  }
  static void store_partial(uint16_t* p, Reg r, int64_t count) {
    _mm256_mask_storeu_epi16(p, first(count), round_bf16(r));
  }
  static Reg multiply(Reg value, Reg column, Reg sum) {
    return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(value),
                            reinterpret_cast<__m512bh>(column));
  }
  static Reg broadcast(const uint16_t* p) {
    int32_t pair;
    __builtin_memcpy(&pair, p, sizeof pair);
    return _mm512_castsi512_ps(_mm512_set1_epi32(pair));
  }
  // The last element of an odd k, paired with zero.
  static Reg broadcast_partial(const uint16_t* p) {
    return _mm512_castsi512_ps(_mm512_set1_epi32(*p));
  }
};

void pack(int64_t k, int64_t columns, int64_t width, const void* v, int64_t v_k, int64_t v_column,
          void* panel) {
  const uint16_t* from = static_cast<const uint16_t*>(v);
  uint16_t* to = static_cast<uint16_t*>(panel);
  int64_t i = 0;
  if (v_k == 1 && v_column % 2 == 0 && v_column > 2) {  // pairs lie together: move them as words
    i = k / 2 * 2;
    GemmSimd<Avx512Vector>::pack(i / 2, columns, width, from, 1, v_column / 2, to);
  }
  for (; i < k; i += 2) {
    const uint16_t* row = from + i * v_k;
    uint16_t* pairs = to + i * width;
    const bool paired = i + 1 < k;
    if (v_column == 1) {  // sixteen columns of two rows at once
      for (int64_t j = 0; j < width; j += 16) {
        const int64_t left = columns - j < 0 ? 0 : columns - j < 16 ? columns - j : 16;
        const __mmask16 mask = Bf16Vector::first(left);
        const __mmask16 second = paired ? mask : __mmask16{0};
        const __m512i low = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, row + j));
        const __m512i high = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(second, row + j + v_k));
        _mm512_storeu_si512(pairs + 2 * j, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
      }
      continue;
    }
    for (int64_t j = 0; j < columns; ++j) {
      pairs[2 * j] = row[j * v_column];
      pairs[2 * j + 1] = paired ? row[j * v_column + v_k] : uint16_t{0};
    }
    for (int64_t j = 2 * columns; j < 2 * width; ++j) pairs[j] = 0;
  }
}

void float_to_bf16(int64_t count, const float* in, uint16_t* out) {
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) Bf16Vector::store(out + i, Bf16Vector::load(in + i));
  if (i < count) {
    Bf16Vector::store_partial(out + i, Bf16Vector::load_partial(in + i, count - i), count - i);
  }
}

using Simd = GemmSimd<Bf16Vector>;

}  // namespace

const GemmKernels& gemm_kernels_avx512bf16() noexcept {
  static const GemmKernels kernels = [] {
    GemmKernels table = gemm_kernels_avx512();
    table.name = "avx512bf16";
    table.tile = Simd::tile;
    table.pack = pack;
    table.dot = Simd::dot;
    table.finish_transposed_bf16 = Simd::finish_transposed<uint16_t>;
    table.float_to_bf16 = float_to_bf16;
    return table;
  }();
  return kernels;
}

}  // namespace aotiny
