// A full block of 64 rows: 32 bytes hold one k, and a table lookup turns nibbles to floats.
#include "aotiny/kernels/gemm_vector_avx512.h"
#include "aotiny/kernels/int4pack_block.h"

namespace aotiny {
namespace {

struct Avx512Int4Pack {
  using Vector = Avx512Vector;
  static constexpr int kMaxRows = 4;

  template <DType kDType>
  static int4pack::Pairs<Vector> load_pairs(const void* pairs) {
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

  static void unpack(const uint8_t* bytes, __m512* w) {
    const __m512 table = _mm512_setr_ps(-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7);
    // The lookup reads four bits of each index: the high nibble need not be cleared.
    const __m512i first =
        _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes)));
    const __m512i second =
        _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes + 16)));
    w[0] = _mm512_permutexvar_ps(first, table);
    w[1] = _mm512_permutexvar_ps(second, table);
    w[2] = _mm512_permutexvar_ps(_mm512_srli_epi32(first, 4), table);
    w[3] = _mm512_permutexvar_ps(_mm512_srli_epi32(second, 4), table);
  }
};

}  // namespace

void int4pack_block_avx512(const Int4PackProblem& problem, int64_t block) {
  int4pack::multiply_block<Avx512Int4Pack>(problem, block);
}

}  // namespace aotiny
