#include "aotiny/kernels/gemm_simd.h"
#include "aotiny/kernels/gemm_vector_avx512.h"

namespace aotiny {
namespace {

void bf16_to_float(int64_t count, const uint16_t* in, float* out) {
  for (int64_t i = 0; i < count; i += 16) {
    const __mmask16 mask = count - i < 16 ? Avx512Vector::first(count - i) : __mmask16{0xffff};
    const __m512i bits =
        _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, in + i)), 16);
    _mm512_mask_storeu_ps(out + i, mask, _mm512_castsi512_ps(bits));
  }
}

void fp16_to_float(int64_t count, const uint16_t* in, float* out) {
  for (int64_t i = 0; i < count; i += 16) {
    const __mmask16 mask = count - i < 16 ? Avx512Vector::first(count - i) : __mmask16{0xffff};
    _mm512_mask_storeu_ps(out + i, mask, _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, in + i)));
  }
}

void float_to_bf16(int64_t count, const float* in, uint16_t* out) {
  for (int64_t i = 0; i < count; i += 16) {
    const __mmask16 mask = count - i < 16 ? Avx512Vector::first(count - i) : __mmask16{0xffff};
    _mm256_mask_storeu_epi16(out + i, mask,
                             Avx512Vector::round_bf16(_mm512_maskz_loadu_ps(mask, in + i)));
  }
}

void float_to_fp16(int64_t count, const float* in, uint16_t* out) {
  for (int64_t i = 0; i < count; i += 16) {
    const __mmask16 mask = count - i < 16 ? Avx512Vector::first(count - i) : __mmask16{0xffff};
    _mm256_mask_storeu_epi16(out + i, mask,
                             _mm512_cvtps_ph(_mm512_maskz_loadu_ps(mask, in + i),
                                             _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }
}

using Simd = GemmSimd<Avx512Vector>;

constexpr GemmKernels kKernels{"avx512",
                               Avx512Vector::kLanes,
                               Avx512Vector::kTileRows,
                               Avx512Vector::kDotRows,
                               Simd::tile,
                               Simd::pack,
                               Simd::dot,
                               Simd::transpose,
                               Simd::finish,
                               Simd::finish_transposed<float>,
                               Simd::finish_transposed<uint16_t>,
                               bf16_to_float,
                               fp16_to_float,
                               float_to_bf16,
                               float_to_fp16};

}  // namespace

const GemmKernels& gemm_kernels_avx512() noexcept { return kKernels; }

}  // namespace aotiny
