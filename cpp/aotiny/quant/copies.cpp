#include "aotiny/quant/copies.h"

#include <algorithm>

#include "aotiny/core/overlap.h"

namespace aotiny {
namespace {

std::optional<int64_t> batch_of(const Weight& weight) {
  return weight.is_stack() ? std::optional(weight.batch()) : std::nullopt;
}

void check_target(const Weight& target) {
  const FormatInfo& info = target.info();
  require(!target.is_readonly(), Status::InvalidArgument, "copy_: the ", info.name,
          " is read-only, its memory must not be written to; its clone can be");
  for (size_t i = 0; i < target.planes().size(); ++i) {
    const Tensor& plane = target.planes()[i];
    require(has_distinct_elements(plane), Status::InvalidArgument, "copy_: elements of ",
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
