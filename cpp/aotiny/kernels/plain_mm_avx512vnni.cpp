#include <immintrin.h>

#include "aotiny/kernels/plain_mm_kernel.h"

namespace aotiny {
namespace {

struct Avx512Vnni {
  static constexpr int kLanes = 16;
  static constexpr int kPanels = 2;
  static constexpr int kDirectRows = 4;
  static constexpr int kTileRows = 6;
  static constexpr int kRunBytes = 64;
  static constexpr bool kStepwise = true;
  static constexpr uint32_t kSignedFlip = 0x80808080u;  // vpdpbusd takes unsigned weights
  static constexpr int kSignedBias = 128;
  using U32 [[gnu::vector_size(64)]] = uint32_t;
  using I32 [[gnu::vector_size(64)]] = int32_t;
  using F32 [[gnu::vector_size(64)]] = float;

  static __m128i load(const uint8_t* bytes) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes));
  }

  // Rows 0, 4, 8 and 12 from `rows`. Masked loads: insertions would compete with shuffles.
  static __m512i every_fourth(const uint8_t* rows, int64_t stride) {
    __m512i v = _mm512_castsi128_si512(load(rows));
    v = _mm512_mask_broadcast_i32x4(v, 0x00f0, load(rows + 4 * stride));
    v = _mm512_mask_broadcast_i32x4(v, 0x0f00, load(rows + 8 * stride));
    return _mm512_mask_broadcast_i32x4(v, 0xf000, load(rows + 12 * stride));
  }

  static void transpose(const uint8_t* rows, int64_t stride, U32* out) {
    const __m512i r[] = {every_fourth(rows, stride), every_fourth(rows + stride, stride),
                         every_fourth(rows + 2 * stride, stride),
                         every_fourth(rows + 3 * stride, stride)};
    transpose_lanes(r, out);
  }

  // Bytes 0..31 of rows r and r + 4.
  static __m512i halves(const uint8_t* row, int64_t stride) {
    const auto at = [](const uint8_t* bytes) {
      return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes));
    };
    return _mm512_mask_broadcast_i64x4(_mm512_castsi256_si512(at(row)), 0xf0, at(row + 4 * stride));
  }

  static void transpose64(const uint8_t* rows, int64_t stride, U32* out) {
    for (int half = 0; half < 2; ++half, rows += 32, out += 8) {
      __m512i first[4], second[4];  // 16 bytes and the next 16 of rows r, r + 4, r + 8 and r + 12
      for (int r = 0; r < 4; ++r) {
        const __m512i upper = halves(rows + r * stride, stride);
        const __m512i lower = halves(rows + (r + 8) * stride, stride);
        first[r] = _mm512_shuffle_i32x4(upper, lower, 0x88);
        second[r] = _mm512_shuffle_i32x4(upper, lower, 0xdd);
      }
      transpose_lanes(first, out);
      transpose_lanes(second, out + 4);
    }
  }

  // Of four rows in every 128-bit lane.
  static void transpose_lanes(const __m512i* r, U32* out) {
    const __m512i low01 = _mm512_unpacklo_epi32(r[0], r[1]);
    const __m512i low23 = _mm512_unpacklo_epi32(r[2], r[3]);
    const __m512i high01 = _mm512_unpackhi_epi32(r[0], r[1]);
    const __m512i high23 = _mm512_unpackhi_epi32(r[2], r[3]);
    out[0] = (U32)_mm512_unpacklo_epi64(low01, low23);
    out[1] = (U32)_mm512_unpackhi_epi64(low01, low23);
    out[2] = (U32)_mm512_unpacklo_epi64(high01, high23);
    out[3] = (U32)_mm512_unpackhi_epi64(high01, high23);
  }

  static U32 in_register(U32 w) {
    asm("" : "+v"(w));
    return w;
  }

  template <class Codes>
  static I32 step(I32 sum, U32 w, U32 q) {
    return (I32)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)w, (__m512i)q);
  }

  static F32 from_half(U32 half) { return _mm512_cvtph_ps(_mm512_cvtepi32_epi16((__m512i)half)); }

  static F32 set1(float x) { return _mm512_set1_ps(x); }
  static F32 fma(F32 a, F32 b, F32 c) { return _mm512_fmadd_ps(a, b, c); }
  static F32 fnma(F32 a, F32 b, F32 c) { return _mm512_fnmadd_ps(a, b, c); }
};

}  // namespace

const PlainMmKernels kPlainMmAvx512Vnni = plain_mm_kernels<Avx512Vnni>("avx512_vnni", Formats{});

}  // namespace aotiny
