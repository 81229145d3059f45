#include "aotiny/kernels/quantize_activations_store.h"

namespace aotiny {
namespace {

struct Avx2 {};

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

template <class T>
void quantize_row(const void* source, int64_t k, KOrder order, int64_t step, int8_t* q,
                  BlockScale* blocks) {
  const T* x = static_cast<const T*>(source);
  const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
  const __m256i limit = _mm256_set1_epi32(127);
  // Packing works within 128-bit lanes; this puts the dwords back in order.
  const __m256i lanes = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
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
      store_zeros<Avx2>(d, finite, q, blocks);
      continue;
    }
    __m256i codes[4];
    for (int i = 0; i < 4; ++i) {
      const __m256i code = _mm256_cvtps_epi32(_mm256_div_ps(values[i], _mm256_set1_ps(d)));
      codes[i] = _mm256_max_epi32(_mm256_min_epi32(code, limit),
                                  _mm256_sub_epi32(_mm256_setzero_si256(), limit));
    }
    const __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(codes[0], codes[1]),
                                             _mm256_packs_epi32(codes[2], codes[3]));
    store_block<Avx2>(_mm256_permutevar8x32_epi32(bytes, lanes), d, order, q, blocks);
  }
}

}  // namespace

const QuantizeRowKernels kQuantizeRowAvx2{"avx2", quantize_row<float>, quantize_row<Float16>,
                                          quantize_row<BFloat16>};

}  // namespace aotiny
