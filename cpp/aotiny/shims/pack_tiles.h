// 4-bit codes as the tiles of Int4TilePacked: what torch's _convert_weight_to_int4pack makes.
#pragma once

#include "aotiny/core/tensor.h"

namespace aotiny {

// qdata int32 [⌈N/8⌉, K/(16·t), 32, t/2], contiguous, of t = `inner_k_tiles` 2, 4 or 8, on the
// device of `codes`: uint8 [N, K/2], two codes a byte with the even k in the high nibble, or int32
// [N, K] with codes 0..15, of any strides. K is a multiple of 16·t; rows from N on are zeros. Codes
// of int32 are checked, which waits for the stream and is refused while that is being captured.
Tensor pack_tiles(const Tensor& codes, int64_t inner_k_tiles);

}  // namespace aotiny
