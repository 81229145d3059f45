#include "aotiny/core/sizes_strides.h"

#include <numeric>
#include <ostream>

namespace aotiny {
namespace {

int64_t checked_multiply(int64_t a, int64_t b, IntSpan sizes) {
  int64_t product;
  require(!__builtin_mul_overflow(a, b, &product), Status::InvalidArgument,
          "the number of elements of shape ", Shape{sizes}, " overflows 64 bits");
  return product;
}

// Dimensions from the innermost (smallest stride) outwards; ties keep the later dimension inside.
std::vector<int64_t> by_stride(IntSpan sizes, IntSpan strides) {
  std::vector<int64_t> order(sizes.size());
  std::iota(order.rbegin(), order.rend(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return strides[a] < strides[b]; });
  return order;
}

}  // namespace

int64_t checked_numel(IntSpan sizes) {
  int64_t numel = 1;
  for (int64_t size : sizes) {
    require(size >= 0, Status::InvalidArgument, "shape ", Shape{sizes}, " has a negative size");
    numel = checked_multiply(numel, size, sizes);
  }
  return numel;
}

int64_t checked_span(IntSpan sizes, IntSpan strides) {
  require(sizes.size() == strides.size(), Status::InvalidArgument, sizes.size(), " sizes but ",
          strides.size(), " strides");
  int64_t last = 0;
  bool empty = false;
  for (size_t d = 0; d < sizes.size(); ++d) {
    require(sizes[d] >= 0, Status::InvalidArgument, "shape ", Shape{sizes}, " has a negative size");
    require(strides[d] >= 0, Status::InvalidArgument, "strides ", Shape{strides},
            " have a negative value");
    if (sizes[d] == 0) {
      empty = true;
      continue;
    }
    const int64_t extent = checked_multiply(sizes[d] - 1, strides[d], sizes);
    require(!__builtin_add_overflow(last, extent, &last), Status::InvalidArgument,
            "the extent of shape ", Shape{sizes}, " with strides ", Shape{strides},
            " overflows 64 bits");
  }
  if (empty) return 0;
  require(!__builtin_add_overflow(last, int64_t{1}, &last), Status::InvalidArgument,
          "the extent of shape ", Shape{sizes}, " overflows 64 bits");
  return last;
}

size_t checked_nbytes(int64_t count, size_t itemsize) {
  size_t nbytes;
  require(count >= 0 && !__builtin_mul_overflow(static_cast<size_t>(count), itemsize, &nbytes) &&
              nbytes <= static_cast<size_t>(INT64_MAX),
          Status::InvalidArgument, count, " elements of ", itemsize, " bytes overflow 64 bits");
  return nbytes;
}

std::vector<int64_t> contiguous_strides(IntSpan sizes) {
  std::vector<int64_t> strides(sizes.size());
  int64_t stride = 1;
  for (size_t d = sizes.size(); d-- > 0;) {
    strides[d] = stride;
    stride = checked_multiply(stride, std::max<int64_t>(sizes[d], 1), sizes);
  }
  return strides;
}

bool is_contiguous(IntSpan sizes, IntSpan strides) noexcept {
  uint64_t expected = 1;  // may wrap around before a size of 0 is met
  bool contiguous = true;
  for (size_t d = sizes.size(); d-- > 0;) {
    if (sizes[d] == 0) return true;
    if (sizes[d] != 1) {
      contiguous = contiguous && static_cast<uint64_t>(strides[d]) == expected;
      expected *= static_cast<uint64_t>(sizes[d]);
    }
  }
  return contiguous;
}

bool is_non_overlapping_and_dense(IntSpan sizes, IntSpan strides) {
  if (is_contiguous(sizes, strides)) return true;
  int64_t expected = 1;
  for (int64_t d : by_stride(sizes, strides)) {
    if (sizes[d] == 1) continue;
    if (strides[d] != expected) return false;
    expected *= sizes[d];
  }
  return true;
}

std::vector<int64_t> preserved_strides(IntSpan sizes, IntSpan strides) {
  if (is_non_overlapping_and_dense(sizes, strides)) return {strides.begin(), strides.end()};
  // Insertion sort, because the comparison is no order: a broadcast dimension (stride 0) compares
  // with nothing and stays where it is, as it does in torch.
  const auto outside = [&](int64_t a, int64_t b) {
    if (strides[a] == 0 || strides[b] == 0) return 0;
    if (strides[a] != strides[b]) return strides[a] > strides[b] ? 1 : -1;
    return sizes[a] > sizes[b] ? 1 : 0;
  };
  std::vector<int64_t> order(sizes.size());  // from the innermost dimension outwards
  std::iota(order.rbegin(), order.rend(), 0);
  for (size_t i = 1; i < order.size(); ++i) {
    size_t moving = i;
    for (size_t j = i; j-- > 0;) {
      const int comparison = outside(order[j], order[moving]);
      if (comparison < 0) break;
      if (comparison == 0) continue;
      std::swap(order[j], order[moving]);
      moving = j;
    }
  }
  std::vector<int64_t> preserved(sizes.size());
  int64_t stride = 1;
  for (int64_t d : order) {
    preserved[d] = stride;
    stride *= std::max<int64_t>(sizes[d], 1);
  }
  return preserved;
}

int64_t wrap_dim(int64_t dim, int64_t ndim, const char* what) {
  const int64_t limit = std::max<int64_t>(ndim, 1);
  require(dim >= -limit && dim < limit, Status::InvalidArgument, what, ": dimension ", dim,
          " is outside ", -limit, "..", limit - 1);
  return dim < 0 ? dim + limit : dim;
}

std::ostream& operator<<(std::ostream& out, Shape shape) {
  out << '[';
  const char* separator = "";
  for (int64_t value : shape.values) {
    out << separator << value;
    separator = ", ";
  }
  return out << ']';
}

}  // namespace aotiny
