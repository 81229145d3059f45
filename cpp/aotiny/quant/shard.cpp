#include "aotiny/quant/shard.h"

#include <algorithm>
#include <cstring>

#include "aotiny/quant/copies.h"
#include "aotiny/quant/quantize.h"

namespace aotiny {
namespace {

// `weight` with `padded` along an axis, the rest of it being zeros.
Weight pad_axis(const Weight& weight, Axis axis, int64_t padded) {
  const int64_t length = length_of(weight, axis), missing = padded - length;
  std::vector<int64_t> sizes = {axis == Axis::N ? missing : weight.n(),
                                axis == Axis::K ? missing : weight.k()};
  if (weight.is_stack()) {
    sizes.insert(sizes.begin(), axis == Axis::Batch ? missing : weight.batch());
  }
  const Tensor values = Tensor::empty(sizes, DType::Float32);
  std::memset(values.raw_data(), 0, static_cast<size_t>(values.numel()) * values.itemsize());
  Weight zeros = quantize(values, weight.format(), weight.group_size()).to(weight.device());
  if (weight.is_transposed()) zeros = zeros.transposed();
  // Elements counted per row serve the zeros along K as well: codes of 0 are 0 in any steps.
  for (size_t i = 0; i < zeros.planes().size(); ++i) {
    if (axis == Axis::K && weight.info().planes[i].per == Per::Row) {
      zeros.planes()[i].copy_(weight.planes()[i]);
    }
  }
  const Weight parts[] = {weight, zeros};
  return cat(parts, axis);
}

}  // namespace

Weight shard(const Weight& weight, int64_t rank, int64_t world, int64_t dim, bool pad) {
  require(world >= 1 && rank >= 0 && rank < world, Status::InvalidArgument, "shard: rank ", rank,
          " is not one of ", world);
  const Axis axis = axis_of(weight, dim, "shard");
  const int64_t length = length_of(weight, axis), multiple = cut_multiple(weight, axis);
  // Parts in multiples, rounded up.
  const int64_t multiples = length / multiple;
  const int64_t part = (multiples / world + (multiples % world != 0)) * multiple;
  const bool fits = part <= length / world && part * world == length;
  if (!pad && !fits) {
    const char* unit = axis == Axis::Batch ? "weights" : axis == Axis::N ? "rows" : "columns";
    fail(Status::InvalidArgument, "shard: ", length, " ", unit, " of ", weight.info().name,
         weight.info().variant, " do not make ", world, " equal shards",
         multiple > 1 ? " without cutting " + cut_name(weight, axis, length / world) : "",
         "; with pad=True each has ", part);
  }
  const int64_t begin = std::min(length, rank > length / part ? length : rank * part);
  const int64_t end = std::min(length, begin + part);
  if (begin == end) {  // zeros alone, which have the first part's shape
    const int64_t model = std::min(length, part);
    const Weight like = slice(weight, axis, 0, model);
    return slice(pad_axis(like, axis, model + part), axis, model, model + part);
  }
  const Weight own = slice(weight, axis, begin, end);
  return end - begin == part ? own : pad_axis(own, axis, part);
}

}  // namespace aotiny
