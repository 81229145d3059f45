// Codes to the tiles of Int4TilePacked.
#pragma once

#include <cuda_runtime.h>

#include "aotiny/quant/weight_kernels.h"

namespace aotiny::cuda {

void pack_tiles(const int32_t* codes, int64_t n, int64_t k, int inner_k_tiles, int32_t* qdata,
                cudaStream_t stream);

}  // namespace aotiny::cuda
