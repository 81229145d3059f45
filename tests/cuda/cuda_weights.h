// What the tests of weights on a device share: weights of every format and layout.
#pragma once

#include <numeric>

#include "aotiny/abi/aoti_torch_cuda.h"
#include "aotiny/quant/copies.h"
#include "gpu_test.h"
#include "quant_testing.h"
#include "weight_handles.h"

namespace aotiny::cuda {

inline std::vector<uint8_t> bytes_of(const Tensor& tensor) {
  const Tensor dense = tensor.to(kCPU).contiguous();
  const auto* begin = static_cast<const uint8_t*>(dense.raw_data());
  return {begin, begin + dense.numel() * static_cast<int64_t>(dense.itemsize())};
}

// The least K above 0 that a format holds in groups of this size; 0 if it has no such groups.
inline int64_t least_k(FormatId format, int64_t group_size) {
  const FormatInfo& info = format_info(format);
  const int64_t k = std::lcm(std::lcm(group_size, info.k_multiple),
                             info.has_super_blocks() ? kSuperBlock : int64_t{1});
  try {
    check_shape(info, info.n_multiple, k, group_size);
  } catch (const Error&) {
    return 0;
  }
  return k;
}

// Group sizes to try; those of odd multiples of 16 end in the middle of a block of 32.
inline constexpr int64_t kGroupSizes[] = {16, 32, 48, 64, 80, 96, 128, 160, 256, 512};

// Calls f(format, group_size, least K) for every format with every group size that it has.
template <class F>
void for_formats_and_groups(const F& f) {
  for (const FormatId format : testing::all_formats()) {
    for (const int64_t group_size : kGroupSizes) {
      if (const int64_t k = least_k(format, group_size); k > 0) f(format, group_size, k);
    }
  }
}

// A stack of `batch` weights on the CPU, quantized from seeded values.
inline Weight random_stack(FormatId format, int64_t batch, int64_t n, int64_t k, int64_t group_size,
                           uint32_t seed) {
  std::vector<Weight> weights;
  for (int64_t b = 0; b < batch; ++b) {
    weights.push_back(
        testing::random_weight(format, n, k, group_size, seed + static_cast<uint32_t>(b)));
  }
  return stack(weights);
}

// The same tensor, but it says of itself to be on a GPU: for checks of arguments where there is
// none. Nothing may read it.
inline Tensor as_if_on_gpu(const Tensor& tensor, int index = 0) {
  return Tensor::from_blob(tensor.raw_data(), tensor.sizes(), tensor.strides(), 0, tensor.dtype(),
                           gpu(index));
}

inline Weight as_if_on_gpu(const Weight& weight) {
  std::vector<Tensor> planes;
  for (const Tensor& plane : weight.planes()) planes.push_back(as_if_on_gpu(plane));
  return Weight(weight.format(), std::move(planes), weight.group_size());
}

// How far products of the same numbers in these dtypes may be apart, normwise: those of 16 bits are
// rounded, and native ones round the weight to them too.
inline double tolerance_of(DType dtype) {
  return dtype == DType::Float32 ? 1e-5 : dtype == DType::Float16 ? 1e-3 : 6e-3;
}

}  // namespace aotiny::cuda
