#include "aotiny/quant/views.h"

#include <algorithm>
#include <numeric>
#include <sstream>

namespace aotiny {
namespace {

const char* name_of(Axis axis) {
  switch (axis) {
    case Axis::Batch:
      return "B";
    case Axis::N:
      return "N";
    default:
      return "K";
  }
}

// How far along a plane's own dimension `length` along the weight's axis reaches.
int64_t plane_length(const PlaneSpec& spec, Axis axis, int64_t length, int64_t group_size) {
  const bool tiles = spec.layout == Layout::Tiles;
  switch (axis) {
    case Axis::Batch:
      return length;
    case Axis::N:
      return tiles ? length / 8 : length;
    default:
      if (tiles) return length / (32 * spec.count);
      if (spec.layout == Layout::Groups) return length / group_size;
      return spec.columns(length, group_size);
  }
}

void check_cut(const Weight& weight, Axis axis, int64_t position) {
  const int64_t multiple = cut_multiple(weight, axis), below = position / multiple * multiple;
  require(position == below, Status::InvalidArgument, "slice: a cut at ", name_of(axis), " = ",
          position, " goes through ", cut_name(weight, axis, position), " of ", weight.info().name,
          weight.info().variant, "; the nearest places are ", below, " and ", below + multiple);
}

}  // namespace

Axis axis_of(const Weight& weight, int64_t dim, const char* what) {
  const int64_t from_end = weight.is_stack() ? 3 : 2;
  const int64_t d = wrap_dim(dim, from_end, what) - weight.is_stack();
  if (d < 0) return Axis::Batch;
  return (d == 0) != weight.is_transposed() ? Axis::N : Axis::K;
}

int64_t length_of(const Weight& weight, Axis axis) {
  switch (axis) {
    case Axis::Batch:
      return weight.batch();
    case Axis::N:
      return weight.n();
    default:
      return weight.k();
  }
}

int64_t cut_multiple(const Weight& weight, Axis axis) {
  const FormatInfo& info = weight.info();
  if (axis == Axis::Batch) return 1;
  if (axis == Axis::N) return info.n_multiple;
  return std::lcm(std::lcm(weight.group_size(), info.k_multiple),
                  info.has_super_blocks() ? kSuperBlock : 1);
}

std::string cut_name(const Weight& weight, Axis axis, int64_t length) {
  std::ostringstream name;
  if (axis == Axis::N) {
    name << "tiles of " << weight.info().n_multiple << " rows";
  } else if (length % weight.group_size() != 0) {
    name << "groups of " << weight.group_size();
  } else if (weight.info().has_super_blocks()) {
    name << "super-blocks of " << kSuperBlock;
  } else {
    name << "blocks of " << weight.info().k_multiple;
  }
  return name.str();
}

std::optional<int64_t> plane_dim(const Weight& weight, const PlaneSpec& spec, Axis axis) {
  if (axis == Axis::Batch) return 0;
  if (axis == Axis::N) return weight.is_stack() + spec.n_dim();
  if (spec.per == Per::Row) return std::nullopt;
  return weight.is_stack() + spec.k_dim();
}

Weight with_planes(const Weight& weight, std::vector<Tensor> planes) {
  Weight result(weight.format(), std::move(planes), weight.group_size(), weight.is_readonly());
  return weight.is_transposed() ? result.transposed() : result;
}

Weight slice(const Weight& weight, Axis axis, int64_t begin, int64_t end) {
  require(begin < end, Status::InvalidArgument, "slice: ", begin, ":", end, " of ", name_of(axis),
          " = ", length_of(weight, axis), " is empty, a weight has elements");
  check_cut(weight, axis, begin);
  check_cut(weight, axis, end);
  std::vector<Tensor> planes;
  for (size_t i = 0; i < weight.planes().size(); ++i) {
    const PlaneSpec& spec = weight.info().planes[i];
    const Tensor& plane = weight.planes()[i];
    const auto dim = plane_dim(weight, spec, axis);
    const auto at = [&](int64_t k) { return plane_length(spec, axis, k, weight.group_size()); };
    planes.push_back(dim ? plane.slice(*dim, at(begin), at(end)) : plane);
  }
  return with_planes(weight, std::move(planes));
}

Weight slice(const Weight& weight, int64_t dim, std::optional<int64_t> begin,
             std::optional<int64_t> end) {
  const Axis axis = axis_of(weight, dim, "slice");
  const int64_t length = length_of(weight, axis);
  const auto bound = [length](int64_t at) {
    return std::clamp<int64_t>(at < 0 ? at + length : at, 0, length);
  };
  return slice(weight, axis, bound(begin.value_or(0)), bound(end.value_or(length)));
}

Weight narrow(const Weight& weight, int64_t dim, int64_t begin, int64_t length) {
  const Axis axis = axis_of(weight, dim, "narrow");
  const int64_t size = length_of(weight, axis);
  const int64_t first = begin < 0 ? begin + size : begin;
  require(first >= 0 && first <= size && length >= 0 && length <= size - first,
          Status::InvalidArgument, "narrow: ", length, " from ", begin, " on are not within ",
          name_of(axis), " = ", size);
  return slice(weight, axis, first, first + length);
}

Weight select(const Weight& weight, int64_t dim, int64_t index) {
  require(axis_of(weight, dim, "select") == Axis::Batch, Status::InvalidArgument,
          "select: a row or column of a weight ", Shape{weight.sizes()},
          " is no weight; a slice of length 1 keeps the dimension");
  std::vector<Tensor> planes;
  for (const Tensor& plane : weight.planes()) planes.push_back(plane.select(0, index));
  return with_planes(weight, std::move(planes));
}

Weight transpose(const Weight& weight, int64_t dim0, int64_t dim1) {
  const Axis a = axis_of(weight, dim0, "transpose"), b = axis_of(weight, dim1, "transpose");
  if (a == b) return weight;
  require(a != Axis::Batch && b != Axis::Batch, Status::InvalidArgument, "transpose: of a stack ",
          Shape{weight.sizes()},
          " only the last two dimensions can be "
          "exchanged, not ",
          dim0, " and ", dim1);
  return weight.transposed();
}

}  // namespace aotiny
