// Also where the table is chosen.
#include "aotiny/kernels/attention_simd.h"
#include "aotiny/kernels/gemm_vector_portable.h"

namespace aotiny {
namespace {

constexpr AttentionKernels kKernels{"portable", AttentionSimd<PortableVector>::softmax};

}  // namespace

const AttentionKernels& attention_kernels_portable() noexcept { return kKernels; }

const AttentionKernels& attention_kernels(const CpuFeatures& features) noexcept {
#if defined(__x86_64__)
  if (features.avx512) return attention_kernels_avx512();
  if (features.avx2) return attention_kernels_avx2();
#endif
  return attention_kernels_portable();
}

}  // namespace aotiny
