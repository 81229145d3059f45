// Which elements share memory, as far as sizes and strides tell.
#pragma once

#include "aotiny/core/tensor.h"

namespace aotiny {

// False where no byte belongs to both: the tensors are on different devices, one has no elements,
// or one ends before the other begins. True for two columns of a matrix too, which interleave.
bool may_overlap(const Tensor& a, const Tensor& b);

// True only if no two elements are the same memory: from the smallest stride on, each steps over
// all that those before it reach. Writing any other tensor has no defined result.
bool has_distinct_elements(const Tensor& tensor);

}  // namespace aotiny
