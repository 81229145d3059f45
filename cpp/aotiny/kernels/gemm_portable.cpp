// Also where the table is chosen.
#include "aotiny/core/dtype.h"
#include "aotiny/kernels/gemm_simd.h"
#include "aotiny/kernels/gemm_vector_portable.h"

namespace aotiny {
namespace {

template <class Half>
void to_float(int64_t count, const uint16_t* in, float* out) {
  for (int64_t i = 0; i < count; ++i) {
    Half value;
    value.bits = in[i];
    out[i] = static_cast<float>(value);
  }
}

template <class Half>
void from_float(int64_t count, const float* in, uint16_t* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = Half(in[i]).bits;
}

using Simd = GemmSimd<PortableVector>;

constexpr GemmKernels kKernels{"portable",
                               PortableVector::kLanes,
                               PortableVector::kTileRows,
                               PortableVector::kDotRows,
                               Simd::tile,
                               Simd::pack,
                               Simd::dot,
                               Simd::transpose,
                               Simd::finish,
                               Simd::finish_transposed<float>,
                               nullptr,
                               to_float<BFloat16>,
                               to_float<Float16>,
                               from_float<BFloat16>,
                               from_float<Float16>};

}  // namespace

const GemmKernels& gemm_kernels_portable() noexcept { return kKernels; }

const GemmKernels& gemm_kernels(const CpuFeatures& features) noexcept {
#if defined(__x86_64__)
  if (features.avx512) return gemm_kernels_avx512();
  if (features.avx2) return gemm_kernels_avx2();
#endif
  return gemm_kernels_portable();
}

}  // namespace aotiny
