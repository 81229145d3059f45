#include "aotiny/kernels/attention_simd.h"
#include "aotiny/kernels/gemm_vector_avx2.h"

namespace aotiny {
namespace {

constexpr AttentionKernels kKernels{"avx2", AttentionSimd<Avx2Vector>::softmax};

}  // namespace

const AttentionKernels& attention_kernels_avx2() noexcept { return kKernels; }

}  // namespace aotiny
