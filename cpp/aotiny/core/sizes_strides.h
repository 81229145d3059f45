// The shape of a tensor: sizes and strides, inline up to five dimensions, and the overflow-checked
// arithmetic on them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <memory>
#include <span>
#include <vector>

#include "aotiny/core/status.h"

namespace aotiny {

using IntSpan = std::span<const int64_t>;

inline constexpr int64_t kMaxDims = 64;  // torch's limit

class SizesAndStrides {
 public:
  SizesAndStrides() = default;
  // Both spans have the same length, at most kMaxDims; fails with InvalidArgument otherwise.
  SizesAndStrides(IntSpan sizes, IntSpan strides) { assign(sizes, strides); }
  SizesAndStrides(const SizesAndStrides& other) { assign(other.sizes(), other.strides()); }
  SizesAndStrides& operator=(const SizesAndStrides& other) {
    if (this != &other) assign(other.sizes(), other.strides());
    return *this;
  }
  SizesAndStrides(SizesAndStrides&&) noexcept = default;
  SizesAndStrides& operator=(SizesAndStrides&&) noexcept = default;

  int64_t ndim() const noexcept { return ndim_; }
  IntSpan sizes() const noexcept { return {data(), static_cast<size_t>(ndim_)}; }
  IntSpan strides() const noexcept { return {data() + ndim_, static_cast<size_t>(ndim_)}; }

 private:
  static constexpr int64_t kInlineDims = 5;

  const int64_t* data() const noexcept { return heap_ ? heap_.get() : inline_; }

  void assign(IntSpan sizes, IntSpan strides) {
    require(sizes.size() == strides.size(), Status::InvalidArgument, sizes.size(), " sizes but ",
            strides.size(), " strides");
    require(sizes.size() <= kMaxDims, Status::InvalidArgument, sizes.size(),
            " dimensions, at most ", kMaxDims, " are supported");
    ndim_ = static_cast<int64_t>(sizes.size());
    heap_.reset(ndim_ > kInlineDims ? new int64_t[2 * sizes.size()] : nullptr);
    int64_t* out = heap_ ? heap_.get() : inline_;
    std::copy(sizes.begin(), sizes.end(), out);
    std::copy(strides.begin(), strides.end(), out + ndim_);
  }

  int64_t ndim_ = 0;
  int64_t inline_[2 * kInlineDims];
  std::unique_ptr<int64_t[]> heap_;
};

// Product of the sizes. Fails with InvalidArgument on a negative size or overflow.
int64_t checked_numel(IntSpan sizes);

// Number of elements that a view with these sizes and strides spans, from offset 0: 1 + the sum of
// (size - 1)·stride, or 0 if a size is 0. Fails on negative sizes or strides and on overflow.
int64_t checked_span(IntSpan sizes, IntSpan strides);

// count·itemsize; fails on overflow.
size_t checked_nbytes(int64_t count, size_t itemsize);

// Row-major strides, as torch computes them (a size of 0 counts as 1).
std::vector<int64_t> contiguous_strides(IntSpan sizes);

// Dimensions of size 1 may have any stride; a tensor with no element is contiguous.
bool is_contiguous(IntSpan sizes, IntSpan strides) noexcept;

// Whether the elements fill their span exactly, without overlap, in some order of dimensions.
bool is_non_overlapping_and_dense(IntSpan sizes, IntSpan strides);

// The strides of torch's empty_like with preserve_format: those of a dense tensor as they are,
// otherwise dense ones in the same order of dimensions.
std::vector<int64_t> preserved_strides(IntSpan sizes, IntSpan strides);

// `dim` in 0..ndim-1, counting from the end if negative; fails with the numbers otherwise. A
// 0-dimensional tensor accepts 0 and -1.
int64_t wrap_dim(int64_t dim, int64_t ndim, const char* what);

// "[2, 3, 4]"
struct Shape {
  IntSpan values;
};
std::ostream& operator<<(std::ostream& out, Shape shape);

}  // namespace aotiny
