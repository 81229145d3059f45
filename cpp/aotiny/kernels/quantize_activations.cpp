#include "aotiny/kernels/quantize_activations.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "aotiny/core/parallel.h"

namespace aotiny {
namespace {

template <class T>
void quantize_row(const void* source, int64_t k, KOrder order, int64_t step, int8_t* q,
                  BlockScale* blocks) {
  const T* x = static_cast<const T*>(source);
  for (; k > 0; k -= kBlock, x += kBlock, q += kBlock * step, blocks += step) {
    float values[kBlock];
    uint32_t largest = 0;  // as bits: the order of the magnitudes, NaN and infinity above all
    for (int64_t i = 0; i < kBlock; ++i) {
      values[i] = convert<float>(x[i]);
      largest = std::max(largest, std::bit_cast<uint32_t>(values[i]) & 0x7fffffffu);
    }
    const bool finite = largest < 0x7f800000u;
    const float d = std::bit_cast<float>(largest) / 127;
    const bool usable = finite && d > 0;
    int sum = 0, first_sum = 0;
    for (int64_t i = 0; i < kBlock; ++i) {
      const int code =
          usable ? std::clamp(static_cast<int>(std::lrintf(values[i] / d)), -127, 127) : 0;
      q[order == KOrder::Natural ? i : i / 2 + i % 2 * (kBlock / 2)] = static_cast<int8_t>(code);
      sum += code;
      if (i < kBlock / 2) first_sum += code;
    }
    *blocks = {finite ? d : std::numeric_limits<float>::quiet_NaN(), static_cast<float>(sum),
               static_cast<float>(first_sum)};
  }
}

// Rows of at least this many elements together are worth a thread's start.
constexpr int64_t kGrain = 32768;

}  // namespace

const QuantizeRowKernels kQuantizeRow{"portable", quantize_row<float>, quantize_row<Float16>,
                                      quantize_row<BFloat16>};

const QuantizeRowKernels& quantize_row_kernels(const CpuFeatures& features) {
#if defined(__x86_64__)
  if (features.avx512) return kQuantizeRowAvx512;
  if (features.avx2) return kQuantizeRowAvx2;
#else
  static_cast<void>(features);
#endif
  return kQuantizeRow;
}

void quantize_activations(const void* x, DType dtype, int64_t row_stride, int64_t m, int64_t k,
                          KOrder order, int64_t tile_rows, int8_t* q, BlockScale* blocks,
                          const CpuFeatures& features) {
  const QuantizeRowKernels& kernels = quantize_row_kernels(features);
  const QuantizeRow quantize = dtype == DType::Float32   ? kernels.float32
                               : dtype == DType::Float16 ? kernels.float16
                                                         : kernels.bfloat16;
  const int64_t row_bytes = row_stride * static_cast<int64_t>(itemsize(dtype));
  parallel_for(m, 1 + kGrain / k, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i / tile_rows * tile_rows;
      const int64_t rows = std::min(tile_rows, m - first);
      quantize(static_cast<const char*>(x) + i * row_bytes, k, order, rows,
               q + first * k + (i - first) * kBlock, blocks + first * (k / kBlock) + (i - first));
    }
  });
}

}  // namespace aotiny
