#include "aotiny/kernels/quantize_activations_store.h"

namespace aotiny {
namespace {

struct Avx512 {};

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
  for (; k > 0; k -= 32, x += 32, q += 32 * step, blocks += step) {
    const __m512 low = load(x), high = load(x + 16);
    const uint32_t bits = _mm512_reduce_max_epu32(
        _mm512_max_epu32(_mm512_and_si512(_mm512_castps_si512(low), magnitude),
                         _mm512_and_si512(_mm512_castps_si512(high), magnitude)));
    const bool finite = bits < 0x7f800000u;
    const float d = __builtin_bit_cast(float, bits) / 127;
    if (!finite || !(d > 0)) {
      store_zeros<Avx512>(d, finite, q, blocks);
      continue;
    }
    const auto quantize = [&](__m512 values) {
      const __m512i code = _mm512_cvtps_epi32(_mm512_div_ps(values, _mm512_set1_ps(d)));
      return _mm512_max_epi32(_mm512_min_epi32(code, limit),
                              _mm512_sub_epi32(_mm512_setzero_si512(), limit));
    };
    const __m256i bytes =
        _mm256_set_m128i(_mm512_cvtepi32_epi8(quantize(high)), _mm512_cvtepi32_epi8(quantize(low)));
    store_block<Avx512>(bytes, d, order, q, blocks);
  }
}

}  // namespace

const QuantizeRowKernels kQuantizeRowAvx512{"avx512", quantize_row<float>, quantize_row<Float16>,
                                            quantize_row<BFloat16>};

}  // namespace aotiny
