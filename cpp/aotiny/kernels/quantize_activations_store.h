// The end of a quantized block, which the AVX2 and the AVX-512 functions share.
#pragma once

#include <immintrin.h>

#include "aotiny/kernels/quantize_activations.h"

namespace aotiny {

// Stores the codes `bytes` of a block, in the order of k, and its numbers. Isa is a struct local to
// the file of an instruction set, so that the linker never takes one's code for the other.
template <class Isa>
void store_block(__m256i bytes, float d, KOrder order, int8_t* q, BlockScale* block) {
  // vpsadbw adds eight unsigned bytes, which are the codes and 128 each.
  const __m256i biased = _mm256_xor_si256(bytes, _mm256_set1_epi8(-128));
  const __m256i eights = _mm256_sad_epu8(biased, _mm256_setzero_si256());
  const __m256i halves = _mm256_add_epi64(eights, _mm256_shuffle_epi32(eights, 0x4e));
  const int first = _mm_cvtsi128_si32(_mm256_castsi256_si128(halves)) - 16 * 128;
  const int second = _mm_cvtsi128_si32(_mm256_extracti128_si256(halves, 1)) - 16 * 128;
  if (order == KOrder::EvenOdd) {
    const __m256i even_odd = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15));
    bytes = _mm256_permute4x64_epi64(_mm256_shuffle_epi8(bytes, even_odd), 0xd8);
  }
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(q), bytes);
  *block = {d, static_cast<float>(first + second), static_cast<float>(first)};
}

// The same for a block of zeros (d is 0) or one that is not finite.
template <class Isa>
void store_zeros(float d, bool finite, int8_t* q, BlockScale* block) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(q), _mm256_setzero_si256());
  *block = {finite ? d : __builtin_nanf(""), 0, 0};
}

}  // namespace aotiny
