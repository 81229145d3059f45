// Sixteen floats in a vector, with AVX-512. Each file that includes this has its own copy.
#pragma once

// GCC 12 takes the deliberately undefined operands in its own header for a mistake.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop

#include <cstdint>

namespace aotiny {
namespace {

struct Avx512Vector {
  using Reg = __m512;
  using Element = float;
  static constexpr int64_t kStep = 1;
  static constexpr int64_t kLanes = 16;
  static constexpr int64_t kTileRows = 8;
  static constexpr int64_t kDotRows = 6;

  static __mmask16 first(int64_t count) { return static_cast<__mmask16>((1u << count) - 1u); }
  static Reg zero() { return _mm512_setzero_ps(); }
  static Reg set1(float x) { return _mm512_set1_ps(x); }
  static Reg load(const float* p) { return _mm512_loadu_ps(p); }
  static void store(float* p, Reg r) { _mm512_storeu_ps(p, r); }
  static Reg load_partial(const float* p, int64_t count) {
    return _mm512_maskz_loadu_ps(first(count), p);
  }
  static void store_partial(float* p, Reg r, int64_t count) {
    _mm512_mask_storeu_ps(p, first(count), r);
  }
  // As bf16, rounded to nearest even; a NaN stays one.
  static __m256i round_bf16(Reg value) {
    const __m512i bits = _mm512_castps_si512(value);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i rounded =
        _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    const __mmask16 nan = _mm512_cmp_ps_mask(value, value, _CMP_UNORD_Q);
    const __m512i kept = _mm512_mask_or_epi32(rounded, nan, bits, _mm512_set1_epi32(0x00400000));
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(kept, 16));
  }
  static void store(uint16_t* p, Reg r) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), round_bf16(r));
  }
  static void store_partial(uint16_t* p, Reg r, int64_t count) {
    _mm256_mask_storeu_epi16(p, first(count), round_bf16(r));
  }
  static Reg fma(Reg a, Reg b, Reg c) { return _mm512_fmadd_ps(a, b, c); }
  // value·column + sum, with the elements that multiply.
  static Reg multiply(Reg value, Reg column, Reg sum) { return fma(value, column, sum); }
  static Reg broadcast(const float* p) { return set1(*p); }
  static Reg broadcast_partial(const float* p) { return set1(*p); }
  static Reg add(Reg a, Reg b) { return _mm512_add_ps(a, b); }
  static Reg mul(Reg a, Reg b) { return _mm512_mul_ps(a, b); }
  static Reg sub(Reg a, Reg b) { return _mm512_sub_ps(a, b); }
  // The larger; b where a is NaN.
  static Reg max(Reg a, Reg b) { return _mm512_max_ps(a, b); }
  // e^x for x <= 0, within 2 units in the last place.
  static Reg exp(Reg x) {
    const Reg clamped = _mm512_max_ps(set1(-104.0f), x);  // whose exponential is 0; NaN stays
    const Reg n = _mm512_roundscale_ps(_mm512_mul_ps(clamped, set1(1.44269504f)),
                                       _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    // ln 2 in two parts, the first exact in few bits
    Reg r = _mm512_fnmadd_ps(n, set1(0.693359375f), clamped);
    r = _mm512_fnmadd_ps(n, set1(-2.12194440e-4f), r);
    Reg p = set1(1.9875691500e-4f);
    p = fma(p, r, set1(1.3981999507e-3f));
    p = fma(p, r, set1(8.3334519073e-3f));
    p = fma(p, r, set1(4.1665795894e-2f));
    p = fma(p, r, set1(1.6666665459e-1f));
    p = fma(p, r, set1(5.0000001201e-1f));
    p = add(fma(_mm512_mul_ps(r, r), p, r), set1(1.0f));
    return _mm512_scalef_ps(p, n);
  }
  // out = the sum over the lanes of each.
  static void reduce4(Reg a, Reg b, Reg c, Reg d, float* out) {
    const Reg ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    const Reg cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
    const Reg abcd =
        _mm512_add_ps(_mm512_shuffle_ps(ab, cd, 0x44), _mm512_shuffle_ps(ab, cd, 0xee));
    const __m256 half =
        _mm256_add_ps(_mm512_castps512_ps256(abcd), _mm512_extractf32x8_ps(abcd, 1));
    _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1)));
  }
  static void transpose(Reg (&r)[kLanes]) {
    Reg t[16];
    for (int i = 0; i < 16; i += 2) {
      t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
      t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
    Reg u[16];  // u[4h + c]: in quarter q, column 4q + c of rows 4h..4h+3
    for (int h = 0; h < 4; ++h) {
      u[4 * h] = _mm512_shuffle_ps(t[4 * h], t[4 * h + 2], 0x44);
      u[4 * h + 1] = _mm512_shuffle_ps(t[4 * h], t[4 * h + 2], 0xee);
      u[4 * h + 2] = _mm512_shuffle_ps(t[4 * h + 1], t[4 * h + 3], 0x44);
      u[4 * h + 3] = _mm512_shuffle_ps(t[4 * h + 1], t[4 * h + 3], 0xee);
    }
    for (int c = 0; c < 4; ++c) {
      const Reg low01 = _mm512_shuffle_f32x4(u[c], u[4 + c], 0x88);  // quarters 0, 2
      const Reg odd01 = _mm512_shuffle_f32x4(u[c], u[4 + c], 0xdd);  // quarters 1, 3
      const Reg low23 = _mm512_shuffle_f32x4(u[8 + c], u[12 + c], 0x88);
      const Reg odd23 = _mm512_shuffle_f32x4(u[8 + c], u[12 + c], 0xdd);
      r[c] = _mm512_shuffle_f32x4(low01, low23, 0x88);
      r[8 + c] = _mm512_shuffle_f32x4(low01, low23, 0xdd);
      r[4 + c] = _mm512_shuffle_f32x4(odd01, odd23, 0x88);
      r[12 + c] = _mm512_shuffle_f32x4(odd01, odd23, 0xdd);
    }
  }
};

}  // namespace
}  // namespace aotiny
