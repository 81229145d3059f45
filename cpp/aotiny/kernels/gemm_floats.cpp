#include "aotiny/kernels/gemm_floats.h"

#include <algorithm>

namespace aotiny {
namespace {

constexpr int64_t kChunk = 64;

}  // namespace

void load_floats(const GemmKernels& kernels, DType dtype, int64_t count, const char* in,
                 int64_t stride, float* out) {
  const auto* bits = reinterpret_cast<const uint16_t*>(in);
  if (dtype == DType::Float32) {
    const auto* values = reinterpret_cast<const float*>(in);
    for (int64_t j = 0; j < count; ++j) out[j] = values[j * stride];
  } else if (stride == 1) {
    (dtype == DType::BFloat16 ? kernels.bf16_to_float : kernels.fp16_to_float)(count, bits, out);
  } else {
    uint16_t gathered[kChunk];
    for (int64_t j0 = 0; j0 < count; j0 += kChunk) {
      const int64_t length = std::min(kChunk, count - j0);
      for (int64_t j = 0; j < length; ++j) gathered[j] = bits[(j0 + j) * stride];
      load_floats(kernels, dtype, length, reinterpret_cast<const char*>(gathered), 1, out + j0);
    }
  }
}

void store_floats(const GemmKernels& kernels, DType dtype, int64_t count, const float* in,
                  char* out, int64_t stride) {
  if (dtype == DType::Float32) {
    for (int64_t j = 0; j < count; ++j) reinterpret_cast<float*>(out)[j * stride] = in[j];
    return;
  }
  auto* target = reinterpret_cast<uint16_t*>(out);
  if (stride == 1) {
    (dtype == DType::BFloat16 ? kernels.float_to_bf16 : kernels.float_to_fp16)(count, in, target);
    return;
  }
  uint16_t bits[kChunk];
  for (int64_t j0 = 0; j0 < count; j0 += kChunk) {
    const int64_t length = std::min(kChunk, count - j0);
    (dtype == DType::BFloat16 ? kernels.float_to_bf16 : kernels.float_to_fp16)(length, in + j0,
                                                                               bits);
    for (int64_t j = 0; j < length; ++j) target[(j0 + j) * stride] = bits[j];
  }
}

}  // namespace aotiny
