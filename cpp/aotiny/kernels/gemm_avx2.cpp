#include "aotiny/kernels/gemm_simd.h"
#include "aotiny/kernels/gemm_vector_avx2.h"

namespace aotiny {
namespace {

// Calls step(i, true) on whole blocks of eight and, for the rest, copies in and out of a buffer.
template <class In, class Out, class Step>
void blocks_of_8(int64_t count, const In* in, Out* out, Step step) {
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) step(in + i, out + i);
  if (i == count) return;
  In head[8] = {};
  Out tail[8];
  for (int64_t j = i; j < count; ++j) head[j - i] = in[j];
  step(head, tail);
  for (int64_t j = i; j < count; ++j) out[j] = tail[j - i];
}

__m128i load8(const uint16_t* in) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(in)); }
void store8(uint16_t* out, __m128i value) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), value);
}

void bf16_to_float(int64_t count, const uint16_t* in, float* out) {
  blocks_of_8(count, in, out, [](const uint16_t* from, float* to) {
    const __m256i bits = _mm256_slli_epi32(_mm256_cvtepu16_epi32(load8(from)), 16);
    _mm256_storeu_ps(to, _mm256_castsi256_ps(bits));
  });
}

void fp16_to_float(int64_t count, const uint16_t* in, float* out) {
  blocks_of_8(count, in, out, [](const uint16_t* from, float* to) {
    _mm256_storeu_ps(to, _mm256_cvtph_ps(load8(from)));
  });
}

void float_to_bf16(int64_t count, const float* in, uint16_t* out) {
  blocks_of_8(count, in, out, [](const float* from, uint16_t* to) {
    const __m256 value = _mm256_loadu_ps(from);
    const __m256i bits = _mm256_castps_si256(value);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i rounded =
        _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x00400000));
    const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(value, value, _CMP_UNORD_Q));
    const __m256i kept = _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, nan), 16);
    store8(to, _mm_packus_epi32(_mm256_castsi256_si128(kept), _mm256_extracti128_si256(kept, 1)));
  });
}

void float_to_fp16(int64_t count, const float* in, uint16_t* out) {
  blocks_of_8(count, in, out, [](const float* from, uint16_t* to) {
    store8(to,
           _mm256_cvtps_ph(_mm256_loadu_ps(from), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  });
}

using Simd = GemmSimd<Avx2Vector>;

constexpr GemmKernels kKernels{"avx2",
                               Avx2Vector::kLanes,
                               Avx2Vector::kTileRows,
                               Avx2Vector::kDotRows,
                               Simd::tile,
                               Simd::pack,
                               Simd::dot,
                               Simd::transpose,
                               Simd::finish,
                               Simd::finish_transposed<float>,
                               nullptr,
                               bf16_to_float,
                               fp16_to_float,
                               float_to_bf16,
                               float_to_fp16};

}  // namespace

const GemmKernels& gemm_kernels_avx2() noexcept { return kKernels; }

}  // namespace aotiny
