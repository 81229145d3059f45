// Codes to the tiles of Int4TilePacked, which int4_tile_packed.h draws.
//
//   codes i32 [N, K], 0..15, or u8 [N, K/2], two a byte with the even k in the high nibble
//   qdata i32 [⌈N/8⌉, K/(16·t), 32, t/2]; rows from N on are zeros
//
// t, the inner k-tiles, is 2, 4 or 8; K is a multiple of 16·t. Both are contiguous.
#pragma once

#include <cuda_runtime.h>

#include "aotiny/quant/weight_kernels.h"

namespace aotiny::cuda {

void pack_tiles(const TilePacking& packing, cudaStream_t stream);

}  // namespace aotiny::cuda
