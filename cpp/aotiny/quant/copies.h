// New memory for weights: copies, and weights made of several.
#pragma once

#include <span>

#include "aotiny/quant/views.h"

namespace aotiny {

// In memory of its own on the same device, every plane contiguous, not read-only.
Weight clone(const Weight& weight);

// The weight itself if every plane is contiguous, otherwise its clone.
Weight contiguous(const Weight& weight);

// The bytes of `source`, which may be on another device, into the memory of `target`, which may be
// a view. Fails with InvalidArgument or InvalidType, with the numbers, unless both are of one
// format, shape, orientation and group size, and if the target is read-only or has elements that
// share memory.
void copy_into(const Weight& target, const Weight& source);

// One after another along a dimension. All are of one format and group size, on one device, and of
// one shape but for that dimension. Elements counted per row (the steps of metadata B) serve all of
// K, so along K they must be equal; where they differ this fails with InvalidArgument, saying so.
Weight cat(std::span<const Weight> weights, int64_t dim);
Weight cat(std::span<const Weight> weights, Axis axis);

// Weights of one shape, on one device, as a stack.
Weight stack(std::span<const Weight> weights);

}  // namespace aotiny
