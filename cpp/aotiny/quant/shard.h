// Equal parts of a weight for the devices or processes that share its product.
#pragma once

#include "aotiny/quant/views.h"

namespace aotiny {

// Part `rank` of `world` equal ones along a dimension, as a view. Fails with InvalidArgument, with
// the sizes that would do, where they are not equal or would cut a group, super-block or tile.
//
// With `pad`, the dimension is first thought longer by zeros, up to the next size that does; a
// shard that has zeros is a copy. So shards of N have rows of zeros at their end, whose products
// are to be dropped, and shards of K have columns of zeros, which activations are given zeros for.
Weight shard(const Weight& weight, int64_t rank, int64_t world, int64_t dim, bool pad = false);

}  // namespace aotiny
