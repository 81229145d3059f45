#include "aotiny/kernels/attention_simd.h"
#include "aotiny/kernels/gemm_vector_avx512.h"

namespace aotiny {
namespace {

constexpr AttentionKernels kKernels{"avx512", AttentionSimd<Avx512Vector>::softmax};

}  // namespace

const AttentionKernels& attention_kernels_avx512() noexcept { return kKernels; }

}  // namespace aotiny
