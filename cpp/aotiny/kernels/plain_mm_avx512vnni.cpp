#include <immintrin.h>

#include "aotiny/kernels/plain_mm_kernel.h"

namespace aotiny {
namespace {

struct Avx512Vnni {
  static constexpr int kLanes = 16;
  static constexpr int kMaxRows = 8;
  static constexpr uint32_t kSignedFlip = 0x80808080u;  // vpdpbusd takes unsigned weights
  static constexpr int kSignedBias = 128;
  using U32 [[gnu::vector_size(64)]] = uint32_t;
  using I32 [[gnu::vector_size(64)]] = int32_t;
  using F32 [[gnu::vector_size(64)]] = float;

  static __m128i load(const uint8_t* bytes) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes));
  }

  // Rows 0, 4, 8 and 12 from `rows`.
  static __m512i every_fourth(const uint8_t* rows, int64_t stride) {
    __m512i v = _mm512_castsi128_si512(load(rows));
    v = _mm512_inserti32x4(v, load(rows + 4 * stride), 1);
    v = _mm512_inserti32x4(v, load(rows + 8 * stride), 2);
    return _mm512_inserti32x4(v, load(rows + 12 * stride), 3);
  }

  static void transpose(const uint8_t* rows, int64_t stride, U32* out) {
    const __m512i r0 = every_fourth(rows, stride);
    const __m512i r1 = every_fourth(rows + stride, stride);
    const __m512i r2 = every_fourth(rows + 2 * stride, stride);
    const __m512i r3 = every_fourth(rows + 3 * stride, stride);
    const __m512i low01 = _mm512_unpacklo_epi32(r0, r1), low23 = _mm512_unpacklo_epi32(r2, r3);
    const __m512i high01 = _mm512_unpackhi_epi32(r0, r1), high23 = _mm512_unpackhi_epi32(r2, r3);
    out[0] = (U32)_mm512_unpacklo_epi64(low01, low23);
    out[1] = (U32)_mm512_unpackhi_epi64(low01, low23);
    out[2] = (U32)_mm512_unpacklo_epi64(high01, high23);
    out[3] = (U32)_mm512_unpackhi_epi64(high01, high23);
  }

  template <class Codes, class Part>
  static I32 dot(const U32* w, const int8_t* q) {
    __m512i sum = _mm512_setzero_si512();
#pragma GCC unroll 8
    for (const int vector : Part::kVectors) {
      int32_t dword;
      __builtin_memcpy(&dword, q + 4 * vector, sizeof(dword));
      sum = _mm512_dpbusd_epi32(sum, (__m512i)w[vector], _mm512_set1_epi32(dword));
    }
    return (I32)sum;
  }

  static F32 set1(float x) { return _mm512_set1_ps(x); }
  static F32 fma(F32 a, F32 b, F32 c) { return _mm512_fmadd_ps(a, b, c); }
  static F32 fnma(F32 a, F32 b, F32 c) { return _mm512_fnmadd_ps(a, b, c); }
};

}  // namespace

const PlainMmKernels kPlainMmAvx512Vnni = plain_mm_kernels<Avx512Vnni>("avx512_vnni", Formats{});

}  // namespace aotiny
