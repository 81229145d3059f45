// Between stacks of weights and one long weight: [B, N, K] and [B·N, K] or, transposed, [B, K, N]
// and [B·K, N], as code for mixtures of experts does.
#pragma once

#include "aotiny/quant/views.h"

namespace aotiny {

// Another shape over the same elements in the same order, of 2 or 3 dimensions with the last as it
// is; one size may be -1. Fails with InvalidArgument for other shapes, where a group, super-block
// or tile would be cut, and where the memory does not allow it without a copy.
Weight view(const Weight& weight, IntSpan sizes);

// The same, as a copy where it has to be.
Weight reshape(const Weight& weight, IntSpan sizes);

// The one weight of a stack of one (fails for a longer one), and the reverse.
Weight squeeze(const Weight& weight);
Weight unsqueeze(const Weight& weight);

}  // namespace aotiny
