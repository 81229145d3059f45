// The least and the greatest of some integers: what a check of indices needs to know.
#pragma once

#include <cuda_runtime.h>

#include "aotiny/quant/weight_kernels.h"

namespace aotiny::cuda {

// Of `count` >= 1 contiguous int32 or int64. Waits for the stream, since the answer is the host's;
// fails with InvalidState while the stream is being captured, and with InvalidType for other
// dtypes.
std::pair<int64_t, int64_t> index_range(const void* indices, DType dtype, int64_t count,
                                        Device device, cudaStream_t stream);

}  // namespace aotiny::cuda
