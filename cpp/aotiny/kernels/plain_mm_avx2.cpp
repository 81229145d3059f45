#include <immintrin.h>

#include "aotiny/kernels/plain_mm_kernel.h"

namespace aotiny {
namespace {

struct Avx2 {
  static constexpr int kLanes = 8;
  static constexpr int kPanels = 1;
  static constexpr int kDirectRows = 4;
  static constexpr int kTileRows = 4;
  static constexpr int kRunBytes = 16;
  static constexpr bool kStepwise = false;
  static constexpr uint32_t kSignedFlip = 0;  // dot takes signed bytes as they are
  static constexpr int kSignedBias = 0;
  using U32 [[gnu::vector_size(32)]] = uint32_t;
  using I32 [[gnu::vector_size(32)]] = int32_t;
  using F32 [[gnu::vector_size(32)]] = float;

  static __m256i pair(const uint8_t* low, const uint8_t* high) {
    return _mm256_inserti128_si256(
        _mm256_castsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(low))),
        _mm_loadu_si128(reinterpret_cast<const __m128i*>(high)), 1);
  }

  static void transpose(const uint8_t* rows, int64_t stride, U32* out) {
    const uint8_t* upper = rows + 4 * stride;
    const __m256i r0 = pair(rows, upper);
    const __m256i r1 = pair(rows + stride, upper + stride);
    const __m256i r2 = pair(rows + 2 * stride, upper + 2 * stride);
    const __m256i r3 = pair(rows + 3 * stride, upper + 3 * stride);
    const __m256i low01 = _mm256_unpacklo_epi32(r0, r1), low23 = _mm256_unpacklo_epi32(r2, r3);
    const __m256i high01 = _mm256_unpackhi_epi32(r0, r1), high23 = _mm256_unpackhi_epi32(r2, r3);
    out[0] = (U32)_mm256_unpacklo_epi64(low01, low23);
    out[1] = (U32)_mm256_unpackhi_epi64(low01, low23);
    out[2] = (U32)_mm256_unpacklo_epi64(high01, high23);
    out[3] = (U32)_mm256_unpackhi_epi64(high01, high23);
  }

  // vpmaddubsw adds two products in 16 bits, where as many of its results are then added as cannot
  // overflow: with |q| ≤ 127 all eight for 4-bit codes, one for 8-bit codes (2·128·127 < 2^15).
  template <class Codes, class Part>
  static I32 dot(const U32* w, const int8_t* q) {
    constexpr int kLimit = 32767 / (2 * 127 * Codes::kMaxMagnitude);
    constexpr int kCount = std::size(Part::kVectors);
    constexpr int kRun = std::min(kCount, kLimit >= 8 ? 8 : kLimit >= 4 ? 4 : kLimit >= 2 ? 2 : 1);
    static_assert(kLimit >= 1 && kCount % kRun == 0);
    const auto at = [&](int i) {
      const int vector = Part::kVectors[i];
      return products<Codes>((__m256i)w[vector], q + 4 * vector);
    };
    __m256i sum = _mm256_setzero_si256();
#pragma GCC unroll 8
    for (int i = 0; i < kCount; i += kRun) {
      __m256i run = at(i);
#pragma GCC unroll 8
      for (int j = 1; j < kRun; ++j) run = _mm256_add_epi16(run, at(i + j));
      sum = _mm256_add_epi32(sum, _mm256_madd_epi16(run, _mm256_set1_epi16(1)));
    }
    return (I32)sum;
  }

  template <class Codes>
  static __m256i products(__m256i w, const int8_t* q) {
    int32_t dword;
    __builtin_memcpy(&dword, q, sizeof(dword));
    const __m256i x = _mm256_set1_epi32(dword);
    // Signed codes: the sign moves to x, and −128 becomes the unsigned 128.
    if constexpr (Codes::kSigned) {
      return _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
    } else {
      return _mm256_maddubs_epi16(w, x);
    }
  }

  static F32 from_half(U32 half) {
    const __m256i words = _mm256_packus_epi32((__m256i)half, (__m256i)half);
    return _mm256_cvtph_ps(_mm256_castsi256_si128(_mm256_permute4x64_epi64(words, 0x08)));
  }

  static F32 set1(float x) { return _mm256_set1_ps(x); }
  static F32 fma(F32 a, F32 b, F32 c) { return _mm256_fmadd_ps(a, b, c); }
  static F32 fnma(F32 a, F32 b, F32 c) { return _mm256_fnmadd_ps(a, b, c); }
};

}  // namespace

const PlainMmKernels kPlainMmAvx2 = plain_mm_kernels<Avx2>("avx2", Formats{});

}  // namespace aotiny
