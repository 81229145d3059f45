#include "aotiny/kernels/nonzero.h"

#include <algorithm>
#include <numeric>

#include "aotiny/core/parallel.h"

namespace aotiny {
namespace {

constexpr int64_t kBlock = 32768;

}  // namespace

Nonzero::Nonzero(DType dtype, const void* in, int64_t numel)
    : dtype_(dtype), in_(in), numel_(numel) {
  const int64_t blocks = (numel + kBlock - 1) / kBlock;
  first_.assign(static_cast<size_t>(blocks) + 1, 0);
  visit_dtype(dtype, "nonzero", [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* values = static_cast<const T*>(in);
    parallel_for(blocks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t block = begin; block < end; ++block) {
        const int64_t last = std::min(numel, (block + 1) * kBlock);
        first_[block + 1] = std::count_if(values + block * kBlock, values + last,
                                          [](T value) { return convert<bool>(value); });
      }
    });
  });
  std::partial_sum(first_.begin(), first_.end(), first_.begin());
}

void Nonzero::write_indices(const int64_t* sizes, int64_t ndim, int64_t* indices) const {
  if (count() == 0) return;
  visit_dtype(dtype_, "nonzero", [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* values = static_cast<const T*>(in_);
    parallel_for(static_cast<int64_t>(first_.size()) - 1, 1, [&](int64_t begin, int64_t end) {
      int64_t found = first_[begin];
      for (int64_t i = begin * kBlock; i < std::min(numel_, end * kBlock); ++i) {
        if (!convert<bool>(values[i])) continue;
        int64_t rest = i;
        for (int64_t d = ndim; d-- > 0; rest /= sizes[d]) {
          indices[d * count() + found] = rest % sizes[d];
        }
        ++found;
      }
    });
  });
}

}  // namespace aotiny
