#include <immintrin.h>

#include "aotiny/kernels/quantize_activations.h"

namespace aotiny {
namespace {

__m256 load(const float* x) { return _mm256_loadu_ps(x); }
__m256 load(const Float16* x) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x)));
}
__m256 load(const BFloat16* x) {
  const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(x));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}

uint32_t largest_of(__m256i values) {
  __m128i v = _mm_max_epu32(_mm256_castsi256_si128(values), _mm256_extracti128_si256(values, 1));
  v = _mm_max_epu32(v, _mm_shuffle_epi32(v, 0x4e));
  v = _mm_max_epu32(v, _mm_shuffle_epi32(v, 0xb1));
  return static_cast<uint32_t>(_mm_cvtsi128_si32(v));
}

int sum_of(__m256i values) {
  __m128i v = _mm_add_epi32(_mm256_castsi256_si128(values), _mm256_extracti128_si256(values, 1));
  v = _mm_add_epi32(v, _mm_shuffle_epi32(v, 0x4e));
  v = _mm_add_epi32(v, _mm_shuffle_epi32(v, 0xb1));
  return _mm_cvtsi128_si32(v);
}

template <class T>
void quantize_row(const void* source, int64_t k, KOrder order, int64_t step, int8_t* q,
                  BlockScale* blocks) {
  const T* x = static_cast<const T*>(source);
  const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
  const __m256i limit = _mm256_set1_epi32(127);
  // Packing works within 128-bit lanes; this puts the dwords back in order.
  const __m256i lanes = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  const __m256i even_odd = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15));
  for (; k > 0; k -= 32, x += 32, q += 32 * step, blocks += step) {
    __m256 values[4];
    __m256i largest = _mm256_setzero_si256();
    for (int i = 0; i < 4; ++i) {
      values[i] = load(x + 8 * i);
      largest =
          _mm256_max_epu32(largest, _mm256_and_si256(_mm256_castps_si256(values[i]), magnitude));
    }
    const uint32_t bits = largest_of(largest);
    const bool finite = bits < 0x7f800000u;
    const float d = __builtin_bit_cast(float, bits) / 127;
    if (!finite || !(d > 0)) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(q), _mm256_setzero_si256());
      *blocks = {finite ? d : __builtin_nanf(""), 0};
      continue;
    }
    __m256i codes[4];
    __m256i sum = _mm256_setzero_si256();
    for (int i = 0; i < 4; ++i) {
      const __m256i code = _mm256_cvtps_epi32(_mm256_div_ps(values[i], _mm256_set1_ps(d)));
      codes[i] = _mm256_max_epi32(_mm256_min_epi32(code, limit),
                                  _mm256_sub_epi32(_mm256_setzero_si256(), limit));
      sum = _mm256_add_epi32(sum, codes[i]);
    }
    __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(codes[0], codes[1]),
                                       _mm256_packs_epi32(codes[2], codes[3]));
    bytes = _mm256_permutevar8x32_epi32(bytes, lanes);
    if (order == KOrder::EvenOdd) {
      bytes = _mm256_permute4x64_epi64(_mm256_shuffle_epi8(bytes, even_odd), 0xd8);
    }
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(q), bytes);
    *blocks = {d, static_cast<float>(sum_of(sum))};
  }
}

}  // namespace

const QuantizeRowKernels kQuantizeRowAvx2{"avx2", quantize_row<float>, quantize_row<Float16>,
                                          quantize_row<BFloat16>};

}  // namespace aotiny
