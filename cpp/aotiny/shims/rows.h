// A dimension of a tensor as the rows of a dense matrix, which is what row kernels take.
#pragma once

#include <utility>

#include "aotiny/core/tensor.h"

namespace aotiny {

// How many rows along `dim` there are, and how long they are. A 0-dimensional tensor is one row of
// one element.
struct RowShape {
  RowShape(const Tensor& tensor, int64_t dim)
      : length(tensor.ndim() == 0 ? 1 : tensor.sizes()[dim]),
        count(length == 0 ? 0 : tensor.numel() / length) {}
  int64_t length;
  int64_t count;
};

// The rows of `tensor` along `dim` one after the other, copied only if they do not lie so.
inline Tensor rows_of(const Tensor& tensor, int64_t dim) {
  return tensor.transpose(dim, -1).contiguous();
}

// Dense rows to write a result along `dim` into: its own memory where that is laid out so,
// otherwise memory that `store` copies into place.
class RowsToWrite {
 public:
  RowsToWrite(const Tensor& result, int64_t dim)
      : target_(result.transpose(dim, -1)),
        rows_(target_.is_contiguous()
                  ? target_
                  : Tensor::empty(target_.sizes(), target_.dtype(), target_.device())) {}
  const Tensor& rows() const { return rows_; }
  void store() const { target_.copy_(rows_); }

 private:
  Tensor target_;
  Tensor rows_;
};

}  // namespace aotiny
