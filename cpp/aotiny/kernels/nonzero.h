// Where an array is not zero.
#pragma once

#include <cstdint>
#include <vector>

#include "aotiny/core/dtype.h"

namespace aotiny {

// Finds the elements of in [numel] that are not zero (NaN is not) in two steps, so that the caller
// can make room in between. Fails with InvalidType for dtypes that are not real.
class Nonzero {
 public:
  Nonzero(DType dtype, const void* in, int64_t numel);

  int64_t count() const { return first_.back(); }
  // Dimension d of the i-th of these elements, in row-major order of an array of these sizes, goes
  // to indices[d·count + i].
  void write_indices(const int64_t* sizes, int64_t ndim, int64_t* indices) const;

 private:
  DType dtype_;
  const void* in_;
  int64_t numel_;
  std::vector<int64_t> first_;  // elements found before each block, and in all
};

}  // namespace aotiny
