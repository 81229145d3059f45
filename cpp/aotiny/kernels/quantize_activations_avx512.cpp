#include <immintrin.h>

#include "aotiny/kernels/quantize_activations.h"

namespace aotiny {
namespace {

__m512 load(const float* x) { return _mm512_loadu_ps(x); }
__m512 load(const Float16* x) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x)));
}
__m512 load(const BFloat16* x) {
  const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}

template <class T>
void quantize_row(const void* source, int64_t k, KOrder order, int64_t step, int8_t* q,
                  BlockScale* blocks) {
  const T* x = static_cast<const T*>(source);
  const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
  const __m512i limit = _mm512_set1_epi32(127);
  const __m256i even_odd = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15));
  for (; k > 0; k -= 32, x += 32, q += 32 * step, blocks += step) {
    const __m512 low = load(x), high = load(x + 16);
    const uint32_t bits = _mm512_reduce_max_epu32(
        _mm512_max_epu32(_mm512_and_si512(_mm512_castps_si512(low), magnitude),
                         _mm512_and_si512(_mm512_castps_si512(high), magnitude)));
    const bool finite = bits < 0x7f800000u;
    const float d = __builtin_bit_cast(float, bits) / 127;
    if (!finite || !(d > 0)) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(q), _mm256_setzero_si256());
      *blocks = {finite ? d : __builtin_nanf(""), 0};
      continue;
    }
    const auto quantize = [&](__m512 values) {
      const __m512i code = _mm512_cvtps_epi32(_mm512_div_ps(values, _mm512_set1_ps(d)));
      return _mm512_max_epi32(_mm512_min_epi32(code, limit),
                              _mm512_sub_epi32(_mm512_setzero_si512(), limit));
    };
    const __m512i low_codes = quantize(low), high_codes = quantize(high);
    __m256i bytes =
        _mm256_set_m128i(_mm512_cvtepi32_epi8(high_codes), _mm512_cvtepi32_epi8(low_codes));
    if (order == KOrder::EvenOdd) {
      bytes = _mm256_permute4x64_epi64(_mm256_shuffle_epi8(bytes, even_odd), 0xd8);
    }
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(q), bytes);
    const int sum = _mm512_reduce_add_epi32(_mm512_add_epi32(low_codes, high_codes));
    *blocks = {d, static_cast<float>(sum)};
  }
}

}  // namespace

const QuantizeRowKernels kQuantizeRowAvx512{"avx512", quantize_row<float>, quantize_row<Float16>,
                                            quantize_row<BFloat16>};

}  // namespace aotiny
