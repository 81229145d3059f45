// The least and the greatest of some integers.
#pragma once

#include <cuda_runtime.h>

#include "aotiny/quant/weight_kernels.h"

namespace aotiny::cuda {

std::pair<int64_t, int64_t> index_range(const void* indices, DType dtype, int64_t count,
                                        Device device, cudaStream_t stream);

}  // namespace aotiny::cuda
