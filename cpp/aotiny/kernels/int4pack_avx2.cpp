// A full block of 32 rows: 16 bytes hold one k. With every nibble's top bit flipped, a nibble is
// q − 8 in two's complement, and shifts extend its sign.
#include "aotiny/kernels/gemm_vector_avx2.h"
#include "aotiny/kernels/int4pack_block.h"

namespace aotiny {
namespace {

struct Avx2Int4Pack {
  using Vector = Avx2Vector;
  static constexpr int kMaxRows = 2;

  template <DType kDType>
  static int4pack::Pairs<Vector> load_pairs(const void* pairs) {
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

  static void unpack(const uint8_t* bytes, __m256* w) {
    const __m128i top_bits = _mm_set1_epi8(static_cast<char>(0x88));
    const __m128i codes =
        _mm_xor_si128(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes)), top_bits);
    const __m256i first = _mm256_cvtepi8_epi32(codes);
    const __m256i second = _mm256_cvtepi8_epi32(_mm_srli_si128(codes, 8));
    const auto low = [](__m256i word) {
      return _mm256_cvtepi32_ps(_mm256_srai_epi32(_mm256_slli_epi32(word, 28), 28));
    };
    const auto high = [](__m256i word) { return _mm256_cvtepi32_ps(_mm256_srai_epi32(word, 4)); };
    w[0] = low(first);
    w[1] = low(second);
    w[2] = high(first);
    w[3] = high(second);
  }
};

}  // namespace

void int4pack_block_avx2(const Int4PackProblem& problem, int64_t block) {
  int4pack::multiply_block<Avx2Int4Pack>(problem, block);
}

}  // namespace aotiny
