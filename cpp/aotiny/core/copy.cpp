// Tensor::copy_: any strides, any pair of real dtypes, any devices.
//
// Dimensions are sorted by the destination's strides and merged where both sides allow it, which
// leaves the usual cases (contiguous, transposed, broadcast) with one or two loops. From device to
// device only blocks of bytes travel: what has gaps or needs converting is packed before and
// unpacked after.
#include <cstring>
#include <numeric>
#include <vector>

#include "aotiny/core/device_interface.h"
#include "aotiny/core/overlap.h"
#include "aotiny/core/parallel.h"
#include "aotiny/core/tensor.h"

namespace aotiny {
namespace {

// Outermost first; at least one dimension.
std::vector<LoopDim> loop_dims(const Tensor& destination, const Tensor& source) {
  std::vector<LoopDim> dims;
  for (int64_t d = 0; d < destination.ndim(); ++d) {
    if (destination.sizes()[d] == 1) continue;
    dims.push_back({destination.sizes()[d], destination.strides()[d], source.strides()[d]});
  }
  std::stable_sort(dims.begin(), dims.end(), [](const LoopDim& a, const LoopDim& b) {
    return a.destination_stride > b.destination_stride;
  });
  std::vector<LoopDim> merged;
  for (const LoopDim& dim : dims) {
    if (!merged.empty()) {
      LoopDim& outer = merged.back();
      if (outer.destination_stride == dim.size * dim.destination_stride &&
          outer.source_stride == dim.size * dim.source_stride) {
        outer = {outer.size * dim.size, dim.destination_stride, dim.source_stride};
        continue;
      }
    }
    merged.push_back(dim);
  }
  if (merged.empty()) merged.push_back({1, 1, 1});
  return merged;
}

template <class To, class From>
void copy_row(To* to, const From* from, int64_t count, int64_t to_stride, int64_t from_stride) {
  if (to_stride == 1 && from_stride == 1) {
    if constexpr (std::is_same_v<To, From>) {
      std::memcpy(static_cast<void*>(to), from, static_cast<size_t>(count) * sizeof(To));
    } else {
      for (int64_t i = 0; i < count; ++i) to[i] = convert<To>(from[i]);
    }
    return;
  }
  for (int64_t i = 0; i < count; ++i) to[i * to_stride] = convert<To>(from[i * from_stride]);
}

constexpr int64_t kGrain = 32768;  // elements worth a thread

template <class To, class From>
void copy_strided(To* to, const From* from, const std::vector<LoopDim>& dims) {
  const LoopDim inner = dims.back();
  int64_t rows = 1;
  for (size_t d = 0; d + 1 < dims.size(); ++d) rows *= dims[d].size;
  if (rows == 1) {
    parallel_for(inner.size, kGrain, [&](int64_t begin, int64_t end) {
      copy_row(to + begin * inner.destination_stride, from + begin * inner.source_stride,
               end - begin, inner.destination_stride, inner.source_stride);
    });
    return;
  }
  parallel_for(rows, std::max<int64_t>(1, kGrain / inner.size), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      int64_t rest = row, to_offset = 0, from_offset = 0;
      for (size_t d = dims.size() - 1; d-- > 0;) {
        const int64_t index = rest % dims[d].size;
        rest /= dims[d].size;
        to_offset += index * dims[d].destination_stride;
        from_offset += index * dims[d].source_stride;
      }
      copy_row(to + to_offset, from + from_offset, inner.size, inner.destination_stride,
               inner.source_stride);
    }
  });
}

struct Bytes16 {
  uint64_t low, high;
};

// Copies between equal dtypes only move bytes, so one instance a width serves all of them,
// complex and 8-bit floats included.
void copy_same_dtype(void* to, const void* from, size_t itemsize,
                     const std::vector<LoopDim>& dims) {
  switch (itemsize) {
    case 1:
      return copy_strided(static_cast<uint8_t*>(to), static_cast<const uint8_t*>(from), dims);
    case 2:
      return copy_strided(static_cast<uint16_t*>(to), static_cast<const uint16_t*>(from), dims);
    case 4:
      return copy_strided(static_cast<uint32_t*>(to), static_cast<const uint32_t*>(from), dims);
    case 8:
      return copy_strided(static_cast<uint64_t*>(to), static_cast<const uint64_t*>(from), dims);
    default:
      return copy_strided(static_cast<Bytes16*>(to), static_cast<const Bytes16*>(from), dims);
  }
}

void copy_on_host(const StridedCopy& copy) {
  if (copy.destination_dtype == copy.source_dtype) {
    copy_same_dtype(copy.destination, copy.source, itemsize(copy.source_dtype), copy.dims);
    return;
  }
  visit_dtype(copy.destination_dtype, "copy", [&](auto to) {
    visit_dtype(copy.source_dtype, "copy", [&](auto from) {
      using To = typename decltype(to)::type;
      using From = typename decltype(from)::type;
      copy_strided(static_cast<To*>(copy.destination), static_cast<const From*>(copy.source),
                   copy.dims);
    });
  });
}

// Fails with InvalidType unless the dtypes are equal or both are real.
void check_convertible(DType to, DType from) {
  if (to == from) return;
  visit_dtype(to, "copy", [](auto) {});
  visit_dtype(from, "copy", [](auto) {});
}

StridedCopy plan_copy(const Tensor& destination, const Tensor& source) {
  return {destination.raw_data(), source.raw_data(), destination.dtype(), source.dtype(),
          loop_dims(destination, source)};
}

// `expanded` is `source` with the destination's sizes; packing it would write repetitions out.
void copy_across(const Tensor& destination, const Tensor& source, const Tensor& expanded,
                 bool non_blocking) {
  const DeviceType library = destination.device() == kCPU ? source.device().type  //
                                                          : destination.device().type;
  const auto transfer = [&](const Tensor& to, const Tensor& from, bool may_return_early) {
    device_interface(library).transfer(to.raw_data(), to.device(), from.raw_data(), from.device(),
                                       static_cast<size_t>(from.numel()) * from.itemsize(),
                                       may_return_early);
  };
  if (plan_copy(destination, expanded).is_one_block()) {
    transfer(destination, expanded, non_blocking);
    return;
  }
  const Tensor packed = source.contiguous();
  const Tensor landed = Tensor::empty(source.sizes(), source.dtype(), destination.device());
  transfer(landed, packed, false);
  destination.copy_(landed);
}

}  // namespace

void Tensor::copy_(const Tensor& source, bool non_blocking) const {
  require(defined() && source.defined(), Status::InvalidArgument, "copy: a tensor is undefined");
  const Tensor expanded = source.expand(sizes());
  if (numel() == 0) return;
  check_convertible(dtype(), source.dtype());
  if (device() != source.device()) {
    copy_across(*this, source, expanded, non_blocking);
    return;
  }
  if (raw_data() == expanded.raw_data() && dtype() == expanded.dtype() &&
      std::ranges::equal(strides(), expanded.strides())) {
    return;
  }
  if (may_overlap(*this, expanded)) {
    Tensor temporary = empty(source.sizes(), source.dtype(), device());
    temporary.copy_(source);
    copy_(temporary);
    return;
  }
  const StridedCopy copy = plan_copy(*this, expanded);
  if (device() == kCPU) {
    copy_on_host(copy);
  } else {
    device_interface(device().type).copy(copy, device());
  }
}

void Tensor::zero_() const {
  require(defined(), Status::InvalidArgument, "zero: the tensor is undefined");
  if (numel() == 0) return;
  // All bytes zero is zero in every dtype.
  const auto zero_bytes = [](const Tensor& block) {
    const size_t nbytes = static_cast<size_t>(block.numel()) * block.itemsize();
    if (block.device() == kCPU) {
      std::memset(block.raw_data(), 0, nbytes);
    } else {
      device_interface(block.device().type).zero(block.raw_data(), nbytes, block.device());
    }
  };
  if (is_non_overlapping_and_dense(sizes(), strides())) {
    zero_bytes(*this);
    return;
  }
  const Tensor zero = empty({}, dtype(), device());
  zero_bytes(zero);
  copy_(zero);
}

}  // namespace aotiny
