#include "aotiny/quant/reshape.h"

#include <algorithm>

#include "aotiny/quant/copies.h"

namespace aotiny {
namespace {

// The axis in front, after a stack's own: the one that merges with it.
Axis leading_axis(const Weight& weight) { return weight.is_transposed() ? Axis::K : Axis::N; }

// Dimension 0 merged into dimension `dim`; nullopt where strides do not allow it.
std::optional<Tensor> merge_dims(const Tensor& plane, int64_t dim) {
  std::vector<int64_t> sizes(plane.sizes().begin() + 1, plane.sizes().end());
  std::vector<int64_t> strides(plane.strides().begin() + 1, plane.strides().end());
  const int64_t outer = plane.size(0), inner = plane.size(dim);
  if (outer > 1) {
    if (inner == 1) strides[dim - 1] = plane.stride(0);
    if (plane.stride(0) != inner * strides[dim - 1]) return std::nullopt;
  }
  sizes[dim - 1] *= outer;
  return plane.as_strided(sizes, strides, plane.storage_offset());
}

// Dimension `dim` in `parts` equal ones, with a dimension for them in front.
Tensor split_dim(const Tensor& plane, int64_t dim, int64_t parts) {
  std::vector<int64_t> sizes(plane.sizes().begin(), plane.sizes().end());
  std::vector<int64_t> strides(plane.strides().begin(), plane.strides().end());
  sizes[dim] /= parts;
  const int64_t step = strides[dim] * sizes[dim];
  sizes.insert(sizes.begin(), parts);
  strides.insert(strides.begin(), step);
  return plane.as_strided(sizes, strides, plane.storage_offset());
}

// A stack as one weight; nullopt, and the plane that is in the way, where this takes a copy.
std::optional<Weight> merged_view(const Weight& weight, const char*& obstacle) {
  std::vector<Tensor> planes;
  for (size_t i = 0; i < weight.planes().size(); ++i) {
    const PlaneSpec& spec = weight.info().planes[i];
    const Tensor& plane = weight.planes()[i];
    const auto dim = plane_dim(weight, spec, leading_axis(weight));
    std::optional<Tensor> merged;
    if (dim) merged = merge_dims(plane, *dim);
    if (!dim && weight.batch() == 1) merged = plane.select(0, 0);
    if (!merged || !has_dense_rows(spec, *merged)) {
      obstacle = spec.name;
      return std::nullopt;
    }
    planes.push_back(*merged);
  }
  return with_planes(weight, std::move(planes));
}

// A weight as a stack of `parts`; nullopt as above.
std::optional<Weight> split_view(const Weight& weight, int64_t parts, const char*& obstacle) {
  std::vector<Tensor> planes;
  for (size_t i = 0; i < weight.planes().size(); ++i) {
    const PlaneSpec& spec = weight.info().planes[i];
    const Tensor& plane = weight.planes()[i];
    const auto dim = plane_dim(weight, spec, leading_axis(weight));
    if (!dim && parts > 1) {
      obstacle = spec.name;
      return std::nullopt;
    }
    planes.push_back(split_dim(plane, dim.value_or(0), dim ? parts : 1));
  }
  return with_planes(weight, std::move(planes));
}

Weight merged_copy(const Weight& weight) {
  std::vector<Weight> parts;
  for (int64_t b = 0; b < weight.batch(); ++b) parts.push_back(select(weight, 0, b));
  return cat(parts, leading_axis(weight));
}

Weight split_copy(const Weight& weight, int64_t parts) {
  const Axis axis = leading_axis(weight);
  const int64_t length = length_of(weight, axis) / parts;
  std::vector<Weight> all;
  for (int64_t b = 0; b < parts; ++b) {
    all.push_back(slice(weight, axis, b * length, (b + 1) * length));
  }
  return stack(all);
}

// `sizes` without a -1. Fails unless they are those of a weight over the same elements.
std::vector<int64_t> check_sizes(const char* what, const Weight& weight, IntSpan sizes) {
  const std::vector<int64_t> own = weight.sizes();
  std::vector<int64_t> wanted(sizes.begin(), sizes.end());
  require((wanted.size() == 2 || wanted.size() == 3) &&
              (wanted.back() == own.back() || wanted.back() == -1),
          Status::InvalidArgument, what, ": a weight ", Shape{own}, " cannot become ", Shape{sizes},
          ": 2 or 3 dimensions with the last as it is can");
  const int64_t numel = checked_numel(own);
  const auto positive = [&wanted] {
    return std::ranges::all_of(wanted, [](int64_t size) { return size > 0; });
  };
  const auto unknown = std::ranges::find(wanted, -1);
  if (unknown != wanted.end()) {
    *unknown = 1;
    if (positive()) *unknown = numel / checked_numel(wanted);
  }
  require(positive() && checked_numel(wanted) == numel && wanted.back() == own.back(),
          Status::InvalidArgument, what, ": shape ", Shape{sizes}, " does not fit a weight ",
          Shape{own});
  return wanted;
}

Weight regroup(const char* what, const Weight& weight, IntSpan sizes, bool may_copy) {
  const std::vector<int64_t> wanted = check_sizes(what, weight, sizes);
  if (wanted == weight.sizes()) return weight;
  const char* obstacle = "";
  const auto refuse = [&] {
    fail(Status::InvalidArgument, what, ": ", weight.info().name, weight.info().variant, " ",
         Shape{weight.sizes()}, " becomes ", Shape{wanted}, " only by a copy, because of its ",
         obstacle, "; reshape makes one");
  };
  Weight result = weight;
  if (weight.is_stack()) {
    const auto merged = merged_view(weight, obstacle);
    if (!merged && !may_copy) refuse();
    result = merged ? *merged : merged_copy(weight);
  }
  if (wanted.size() == 2) return result;
  const Axis axis = leading_axis(weight);
  const int64_t length = length_of(result, axis) / wanted[0], multiple = cut_multiple(weight, axis);
  require(length % multiple == 0, Status::InvalidArgument, what, ": ", wanted[0], " weights of ",
          length, axis == Axis::N ? " rows" : " along K", " would cut ",
          cut_name(weight, axis, length), "; lengths are multiples of ", multiple);
  const auto split = split_view(result, wanted[0], obstacle);
  if (!split && !may_copy) refuse();
  return split ? *split : split_copy(result, wanted[0]);
}

}  // namespace

Weight view(const Weight& weight, IntSpan sizes) { return regroup("view", weight, sizes, false); }

Weight reshape(const Weight& weight, IntSpan sizes) {
  return regroup("reshape", weight, sizes, true);
}

Weight squeeze(const Weight& weight) {
  require(weight.is_stack() && weight.batch() == 1, Status::InvalidArgument,
          "squeeze: the weight has shape ", Shape{weight.sizes()}, ", not one weight in a stack");
  return select(weight, 0, 0);
}

Weight unsqueeze(const Weight& weight) {
  require(!weight.is_stack(), Status::InvalidArgument, "unsqueeze: the weight ",
          Shape{weight.sizes()}, " is a stack already");
  std::vector<Tensor> planes;
  for (const Tensor& plane : weight.planes()) planes.push_back(split_dim(plane, 0, 1));
  return with_planes(weight, std::move(planes));
}

}  // namespace aotiny
