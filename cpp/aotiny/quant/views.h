// Views of weights: parts that share the memory of the whole.
//
// Dimensions are those of Weight::sizes(), from the end if negative. A weight can be cut between
// any two rows (of Int4TilePacked, between tiles of 8), between groups along K (super-blocks of 256
// or blocks where a format has them) and between the weights of a stack.
#pragma once

#include <optional>

#include "aotiny/quant/weight.h"

namespace aotiny {

// What a dimension of a weight stands for, however it is transposed.
enum class Axis : uint8_t { Batch, N, K };

// Fails with InvalidArgument, beginning with `what`, for a dimension that the weight has not.
Axis axis_of(const Weight& weight, int64_t dim, const char* what);

int64_t length_of(const Weight& weight, Axis axis);

// Positions at which an axis can be cut are multiples of this.
int64_t cut_multiple(const Weight& weight, Axis axis);

// The same, in words: "groups of 64", "super-blocks of 256", "tiles of 8 rows" ...
std::string cut_name(const Weight& weight, Axis axis, int64_t length);

// Where an axis begins in a plane's tensor of a weight; nullopt for K of elements counted per row.
std::optional<int64_t> plane_dim(const Weight& weight, const PlaneSpec& spec, Axis axis);

// From `begin` to before `end`, both within the axis. Fails with InvalidArgument, naming the
// nearest places, where a cut would go through a group, super-block or tile, and where nothing is
// left.
Weight slice(const Weight& weight, Axis axis, int64_t begin, int64_t end);

// The same with Python's rules for negative and out-of-range bounds.
Weight slice(const Weight& weight, int64_t dim, std::optional<int64_t> begin,
             std::optional<int64_t> end);

// `length` from `begin` on; fails where that is outside.
Weight narrow(const Weight& weight, int64_t dim, int64_t begin, int64_t length);

// One weight of a stack. Fails for other dimensions: a row is no weight.
Weight select(const Weight& weight, int64_t dim, int64_t index);

// The last two dimensions exchanged; a dimension with itself is the weight as it is. Fails where
// one of them is a stack's.
Weight transpose(const Weight& weight, int64_t dim0, int64_t dim1);

// A weight with planes of `weight`'s format, orientation and protection.
Weight with_planes(const Weight& weight, std::vector<Tensor> planes);

}  // namespace aotiny
