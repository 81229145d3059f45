#include "aotiny/core/overlap.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace aotiny {
namespace {

// [begin, end) of the bytes that a tensor's elements lie in.
struct Extent {
  explicit Extent(const Tensor& tensor)
      : begin(reinterpret_cast<uintptr_t>(tensor.raw_data())),
        end(begin +
            checked_nbytes(checked_span(tensor.sizes(), tensor.strides()), tensor.itemsize())) {}
  uintptr_t begin, end;
};

}  // namespace

bool may_overlap(const Tensor& a, const Tensor& b) {
  if (a.device() != b.device() || a.numel() == 0 || b.numel() == 0) return false;
  const Extent x(a), y(b);
  return x.begin < y.end && y.begin < x.end;
}

bool has_distinct_elements(const Tensor& tensor) {
  if (tensor.numel() == 0) return true;
  std::vector<std::pair<int64_t, int64_t>> dims;  // stride, size
  for (int64_t dim = 0; dim < tensor.ndim(); ++dim) {
    if (tensor.size(dim) > 1) dims.emplace_back(tensor.stride(dim), tensor.size(dim));
  }
  std::ranges::sort(dims);
  int64_t reach = 0;
  for (const auto& [stride, size] : dims) {
    if (stride <= reach) return false;
    reach += stride * (size - 1);
  }
  return true;
}

}  // namespace aotiny
