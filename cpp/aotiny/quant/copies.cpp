#include "aotiny/quant/copies.h"

#include <algorithm>

namespace aotiny {
namespace {

std::optional<int64_t> batch_of(const Weight& weight) {
  return weight.is_stack() ? std::optional(weight.batch()) : std::nullopt;
}

// The first and the last but one byte that a plane reaches.
std::pair<const char*, const char*> bytes_of(const Tensor& plane) {
  const char* begin = static_cast<const char*>(plane.raw_data());
  return {begin, begin + checked_span(plane.sizes(), plane.strides()) *
                             static_cast<int64_t>(plane.itemsize())};
}

bool may_overlap(const Tensor& a, const Tensor& b) {
  if (a.device() != b.device()) return false;
  const auto [a_begin, a_end] = bytes_of(a);
  const auto [b_begin, b_end] = bytes_of(b);
  return a_begin < b_end && b_begin < a_end;
}

// Whether no two elements of a tensor are the same memory: from the smallest stride on, each steps
// over all that those before it reach.
bool elements_are_distinct(const Tensor& tensor) {
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

void check_target(const Weight& target) {
  const FormatInfo& info = target.info();
  require(!target.is_readonly(), Status::InvalidArgument, "copy_: the ", info.name,
          " is read-only, its memory must not be written to; its clone can be");
  for (size_t i = 0; i < target.planes().size(); ++i) {
    const Tensor& plane = target.planes()[i];
    require(elements_are_distinct(plane), Status::InvalidArgument, "copy_: elements of ",
            info.planes[i].name, " share memory: shape ", Shape{plane.sizes()}, ", strides ",
            Shape{plane.strides()});
    for (size_t j = 0; j < i; ++j) {
      require(!may_overlap(plane, target.planes()[j]), Status::InvalidArgument,
              "copy_: ", info.planes[j].name, " and ", info.planes[i].name, " share memory");
    }
  }
}

// Fails unless weights differ in nothing but, if it is given, their length along an axis.
void check_alike(const char* what, const Weight& a, const Weight& b, std::optional<Axis> but) {
  const FormatInfo &x = a.info(), &y = b.info();
  require(a.format() == b.format(), Status::InvalidType, what, ": ", x.name, x.variant, " and ",
          y.name, y.variant, " are different formats; convert one");
  require(a.group_size() == b.group_size(), Status::InvalidArgument, what, ": group sizes ",
          a.group_size(), " and ", b.group_size(), " differ");
  require(a.is_transposed() == b.is_transposed(), Status::InvalidArgument, what, ": the weight ",
          Shape{(a.is_transposed() ? a : b).sizes()}, " is transposed, the other ",
          Shape{(a.is_transposed() ? b : a).sizes()}, " is not");
  bool fits = a.is_stack() == b.is_stack();
  for (const Axis axis : {Axis::Batch, Axis::N, Axis::K}) {
    fits = fits && (axis == but || length_of(a, axis) == length_of(b, axis));
  }
  require(fits, Status::InvalidArgument, what, ": shapes ", Shape{a.sizes()}, " and ",
          Shape{b.sizes()}, " do not fit");
}

void check_device(const char* what, const Weight& a, const Weight& b) {
  require(a.device() == b.device(), Status::InvalidArgument, what, ": a weight is on ", a.device(),
          ", another on ", b.device(), "; to() moves one");
}

// Fails where elements per row, which the weights would share, differ.
void check_row_elements(const Weight& first, const Weight& other) {
  for (size_t i = 0; i < first.planes().size(); ++i) {
    const PlaneSpec& spec = first.info().planes[i];
    require(spec.per != Per::Row || has_same_bytes(first.planes()[i], other.planes()[i]),
            Status::InvalidArgument, "cat: ", spec.name, " of ", first.info().name,
            first.info().variant,
            " serve whole rows and differ between the weights, so that they "
            "cannot be joined along K; convert them to a variant without steps per row, as A or C, "
            "first");
  }
}

}  // namespace

Weight clone(const Weight& weight) {
  const Weight copy = Weight::empty(weight.format(), weight.n(), weight.k(), weight.group_size(),
                                    batch_of(weight), weight.device());
  for (size_t i = 0; i < weight.planes().size(); ++i) {
    copy.planes()[i].copy_(weight.planes()[i]);
  }
  return weight.is_transposed() ? copy.transposed() : copy;
}

Weight contiguous(const Weight& weight) { return weight.is_contiguous() ? weight : clone(weight); }

void copy_into(const Weight& target, const Weight& source) {
  check_alike("copy_", target, source, std::nullopt);
  check_target(target);
  // A plane of the target may lie where another one of the source is still to be read.
  bool overlaps = false;
  for (size_t i = 0; i < target.planes().size(); ++i) {
    for (size_t j = 0; j < source.planes().size(); ++j) {
      overlaps = overlaps || (i != j && may_overlap(target.planes()[i], source.planes()[j]));
    }
  }
  const Weight from = overlaps ? clone(source) : source;
  for (size_t i = 0; i < target.planes().size(); ++i) {
    target.planes()[i].copy_(from.planes()[i]);
  }
}

Weight cat(std::span<const Weight> weights, int64_t dim) {
  require(!weights.empty(), Status::InvalidArgument, "cat: there are no weights to join");
  return cat(weights, axis_of(weights[0], dim, "cat"));
}

Weight cat(std::span<const Weight> weights, Axis axis) {
  require(!weights.empty(), Status::InvalidArgument, "cat: there are no weights to join");
  const Weight& first = weights[0];
  int64_t total = 0;
  for (const Weight& weight : weights) {
    check_alike("cat", first, weight, axis);
    check_device("cat", first, weight);
    if (axis == Axis::K) check_row_elements(first, weight);
    require(!__builtin_add_overflow(total, length_of(weight, axis), &total),
            Status::InvalidArgument, "cat: the sizes overflow 64 bits");
  }
  std::optional<int64_t> batch = batch_of(first);
  if (axis == Axis::Batch) batch = total;
  Weight result =
      Weight::empty(first.format(), axis == Axis::N ? total : first.n(),
                    axis == Axis::K ? total : first.k(), first.group_size(), batch, first.device());
  if (first.is_transposed()) result = result.transposed();
  int64_t at = 0;
  for (const Weight& weight : weights) {
    const int64_t end = at + length_of(weight, axis);
    copy_into(slice(result, axis, at, end), weight);
    at = end;
  }
  return result;
}

Weight stack(std::span<const Weight> weights) {
  require(!weights.empty(), Status::InvalidArgument, "stack: there are no weights");
  const Weight& first = weights[0];
  for (const Weight& weight : weights) {
    check_alike("stack", first, weight, std::nullopt);
    check_device("stack", first, weight);
  }
  require(!first.is_stack(), Status::InvalidArgument, "stack: the weights are stacks already (",
          Shape{first.sizes()}, "); cat joins them along dimension 0");
  Weight result = Weight::empty(first.format(), first.n(), first.k(), first.group_size(),
                                static_cast<int64_t>(weights.size()), first.device());
  if (first.is_transposed()) result = result.transposed();
  for (size_t i = 0; i < weights.size(); ++i) {
    copy_into(select(result, 0, static_cast<int64_t>(i)), weights[i]);
  }
  return result;
}

}  // namespace aotiny
