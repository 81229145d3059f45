// Eight floats in a vector, with AVX2, FMA and F16C. Each file that includes this has its own copy.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace aotiny {
namespace {

struct Avx2Vector {
  using Reg = __m256;
  using Element = float;
  static constexpr int64_t kStep = 1;
  static constexpr int64_t kLanes = 8;
  static constexpr int64_t kTileRows = 4;
  static constexpr int64_t kDotRows = 3;

  static __m256i first(int64_t count) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)),
                              _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
  static Reg zero() { return _mm256_setzero_ps(); }
  static Reg set1(float x) { return _mm256_set1_ps(x); }
  static Reg load(const float* p) { return _mm256_loadu_ps(p); }
  static void store(float* p, Reg r) { _mm256_storeu_ps(p, r); }
  static Reg load_partial(const float* p, int64_t count) {
    return _mm256_maskload_ps(p, first(count));
  }
  static void store_partial(float* p, Reg r, int64_t count) {
    _mm256_maskstore_ps(p, first(count), r);
  }
  static Reg fma(Reg a, Reg b, Reg c) { return _mm256_fmadd_ps(a, b, c); }
  // value·column + sum, with the elements that multiply.
  static Reg multiply(Reg value, Reg column, Reg sum) { return fma(value, column, sum); }
  static Reg broadcast(const float* p) { return set1(*p); }
  static Reg broadcast_partial(const float* p) { return set1(*p); }
  static Reg add(Reg a, Reg b) { return _mm256_add_ps(a, b); }
  static Reg mul(Reg a, Reg b) { return _mm256_mul_ps(a, b); }
  static Reg sub(Reg a, Reg b) { return _mm256_sub_ps(a, b); }
  // The larger; b where a is NaN.
  static Reg max(Reg a, Reg b) { return _mm256_max_ps(a, b); }
  // e^x for x <= 0, within 2 units in the last place; 0 where the result would not be normal.
  static Reg exp(Reg x) {
    const Reg least = set1(-87.3365f);
    const Reg clamped = _mm256_max_ps(least, x);  // NaN stays
    const Reg n = _mm256_round_ps(_mm256_mul_ps(clamped, set1(1.44269504f)),
                                  _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    // ln 2 in two parts, the first exact in few bits
    Reg r = _mm256_fnmadd_ps(n, set1(0.693359375f), clamped);
    r = _mm256_fnmadd_ps(n, set1(-2.12194440e-4f), r);
    Reg p = set1(1.9875691500e-4f);
    p = fma(p, r, set1(1.3981999507e-3f));
    p = fma(p, r, set1(8.3334519073e-3f));
    p = fma(p, r, set1(4.1665795894e-2f));
    p = fma(p, r, set1(1.6666665459e-1f));
    p = fma(p, r, set1(5.0000001201e-1f));
    p = add(fma(_mm256_mul_ps(r, r), p, r), set1(1.0f));
    const __m256i power =
        _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
    const Reg result = _mm256_mul_ps(p, _mm256_castsi256_ps(power));
    return _mm256_andnot_ps(_mm256_cmp_ps(x, least, _CMP_LT_OQ), result);
  }
  // out = the sum over the lanes of each.
  static void reduce4(Reg a, Reg b, Reg c, Reg d, float* out) {
    const Reg ab = _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
    const Reg cd = _mm256_add_ps(_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
    const Reg abcd =
        _mm256_add_ps(_mm256_shuffle_ps(ab, cd, 0x44), _mm256_shuffle_ps(ab, cd, 0xee));
    _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(abcd), _mm256_extractf128_ps(abcd, 1)));
  }
  static void transpose(Reg (&r)[kLanes]) {
    Reg t[8];
    for (int i = 0; i < 8; i += 2) {
      t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
      t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    Reg u[8];  // u[4h + c]: in each half, column c of rows 4h..4h+3
    for (int h = 0; h < 2; ++h) {
      u[4 * h] = _mm256_shuffle_ps(t[4 * h], t[4 * h + 2], 0x44);
      u[4 * h + 1] = _mm256_shuffle_ps(t[4 * h], t[4 * h + 2], 0xee);
      u[4 * h + 2] = _mm256_shuffle_ps(t[4 * h + 1], t[4 * h + 3], 0x44);
      u[4 * h + 3] = _mm256_shuffle_ps(t[4 * h + 1], t[4 * h + 3], 0xee);
    }
    for (int c = 0; c < 4; ++c) {
      r[c] = _mm256_permute2f128_ps(u[c], u[4 + c], 0x20);
      r[4 + c] = _mm256_permute2f128_ps(u[c], u[4 + c], 0x31);
    }
  }
};

}  // namespace
}  // namespace aotiny
