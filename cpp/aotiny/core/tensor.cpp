#include "aotiny/core/tensor.h"

#include <algorithm>
#include <array>
#include <ostream>
#include <vector>

#include "aotiny/core/device_interface.h"

namespace aotiny {

Tensor Tensor::empty(IntSpan sizes, DType dtype, Device device) {
  const int64_t numel = checked_numel(sizes);
  StorageRef storage = StorageRef::allocate(checked_nbytes(numel, aotiny::itemsize(dtype)), device);
  return Tensor(std::move(storage), SizesAndStrides(sizes, contiguous_strides(sizes)), 0, numel,
                dtype);
}

Tensor Tensor::empty_strided(IntSpan sizes, IntSpan strides, DType dtype, Device device) {
  const int64_t numel = checked_numel(sizes);
  const size_t nbytes = checked_nbytes(checked_span(sizes, strides), aotiny::itemsize(dtype));
  StorageRef storage = StorageRef::allocate(nbytes, device);
  return Tensor(std::move(storage), SizesAndStrides(sizes, strides), 0, numel, dtype);
}

Tensor Tensor::empty_pinned(IntSpan sizes, DType dtype) {
  const int64_t numel = checked_numel(sizes);
  const size_t nbytes = checked_nbytes(numel, aotiny::itemsize(dtype));
  StorageRef storage =
      StorageRef::allocate(nbytes, kCPU, device_interface(DeviceType::CUDA).pinned_allocator());
  return Tensor(std::move(storage), SizesAndStrides(sizes, contiguous_strides(sizes)), 0, numel,
                dtype);
}

Tensor Tensor::from_blob(void* data, IntSpan sizes, IntSpan strides, int64_t storage_offset,
                         DType dtype, Device device, Deleter deleter) {
  require(storage_offset >= 0, Status::InvalidArgument, "storage offset ", storage_offset,
          " is negative");
  const int64_t numel = checked_numel(sizes);
  int64_t span = checked_span(sizes, strides);
  if (span > 0) {
    require(!__builtin_add_overflow(span, storage_offset, &span), Status::InvalidArgument,
            "storage offset ", storage_offset, " overflows 64 bits");
  }
  require(data != nullptr || span == 0, Status::InvalidArgument, "data is null, but shape ",
          Shape{sizes}, " has elements");
  const size_t nbytes = checked_nbytes(span, aotiny::itemsize(dtype));
  // The CPU loads elements from anywhere; a kernel that does is a fault which ends the process's
  // use of the device.
  const auto address = reinterpret_cast<uintptr_t>(data);
  require(device == kCPU || numel == 0 || address % aotiny::itemsize(dtype) == 0,
          Status::InvalidArgument, "data begins at address ", address, " on ", device,
          ", not a multiple of ", aotiny::itemsize(dtype), ", the size of ", dtype);
  SizesAndStrides shape(sizes, strides);
  return Tensor(StorageRef::make(data, nbytes, device, deleter), std::move(shape), storage_offset,
                numel, dtype);
}

Tensor Tensor::as_strided(IntSpan sizes, IntSpan strides, int64_t storage_offset) const {
  require(defined(), Status::InvalidArgument, "cannot view an undefined tensor");
  require(storage_offset >= 0, Status::InvalidArgument, "storage offset ", storage_offset,
          " is negative");
  const int64_t numel = checked_numel(sizes);
  const int64_t span = checked_span(sizes, strides);
  if (span > 0) {
    const int64_t capacity = static_cast<int64_t>(storage_->nbytes() / itemsize());
    require(storage_offset <= capacity && span <= capacity - storage_offset,
            Status::InvalidArgument, "a view of shape ", Shape{sizes}, ", strides ", Shape{strides},
            " and offset ", storage_offset, " needs ", span,
            " elements from there, but the storage holds ", capacity);
  }
  return Tensor(storage_, SizesAndStrides(sizes, strides), storage_offset, numel, dtype_);
}

Tensor Tensor::slice(int64_t dim, std::optional<int64_t> start, std::optional<int64_t> end,
                     int64_t step) const {
  require(ndim() > 0, Status::InvalidArgument, "slice: a 0-dimensional tensor has no dimensions");
  require(step >= 1, Status::InvalidArgument, "slice: step ", step, " is below 1");
  const int64_t d = wrap_dim(dim, ndim(), "slice");
  const int64_t length = sizes()[d];
  const auto clamp_bound = [length](int64_t bound) {
    return std::clamp<int64_t>(bound < 0 ? bound + length : bound, 0, length);
  };
  const int64_t first = clamp_bound(start.value_or(0));
  const int64_t last = std::max(first, clamp_bound(end.value_or(length)));
  std::vector<int64_t> new_sizes(sizes().begin(), sizes().end());
  std::vector<int64_t> new_strides(strides().begin(), strides().end());
  new_sizes[d] = last == first ? 0 : (last - first - 1) / step + 1;
  if (new_sizes[d] > 1) new_strides[d] *= step;  // otherwise no step is taken, and any may be given
  // An empty slice keeps the old offset: first·stride may lie past the storage.
  const int64_t skipped = new_sizes[d] == 0 ? 0 : first * strides()[d];
  return as_strided(new_sizes, new_strides, storage_offset_ + skipped);
}

Tensor Tensor::select(int64_t dim, int64_t index) const {
  require(ndim() > 0, Status::InvalidArgument, "select: a 0-dimensional tensor has no dimensions");
  const int64_t d = wrap_dim(dim, ndim(), "select");
  const int64_t length = sizes()[d];
  require(index >= -length && index < length, Status::InvalidArgument, "select: index ", index,
          " is outside dimension ", d, " of size ", length);
  const int64_t wrapped = index < 0 ? index + length : index;
  std::vector<int64_t> new_sizes(sizes().begin(), sizes().end());
  std::vector<int64_t> new_strides(strides().begin(), strides().end());
  new_sizes.erase(new_sizes.begin() + d);
  new_strides.erase(new_strides.begin() + d);
  return as_strided(new_sizes, new_strides, storage_offset_ + wrapped * strides()[d]);
}

Tensor Tensor::permute(IntSpan dims) const {
  require(static_cast<int64_t>(dims.size()) == ndim(), Status::InvalidArgument,
          "permute: ", dims.size(), " dimensions given for a tensor of ", ndim());
  std::vector<int64_t> new_sizes, new_strides;
  std::vector<bool> seen(dims.size(), false);
  for (int64_t dim : dims) {
    const int64_t d = wrap_dim(dim, ndim(), "permute");
    require(!seen[d], Status::InvalidArgument, "permute: dimension ", d, " is repeated in ",
            Shape{dims});
    seen[d] = true;
    new_sizes.push_back(sizes()[d]);
    new_strides.push_back(strides()[d]);
  }
  return as_strided(new_sizes, new_strides, storage_offset_);
}

Tensor Tensor::transpose(int64_t dim0, int64_t dim1) const {
  std::vector<int64_t> dims(static_cast<size_t>(ndim()));
  for (int64_t d = 0; d < ndim(); ++d) dims[d] = d;
  const int64_t a = wrap_dim(dim0, ndim(), "transpose");
  const int64_t b = wrap_dim(dim1, ndim(), "transpose");
  if (!dims.empty()) std::swap(dims[a], dims[b]);
  return permute(dims);
}

namespace {

// `sizes` with its -1, if any, replaced so that the product is `numel`.
std::vector<int64_t> infer_size(IntSpan sizes, int64_t numel) {
  std::vector<int64_t> inferred(sizes.begin(), sizes.end());
  const auto unknown = std::find(inferred.begin(), inferred.end(), -1);
  if (unknown != inferred.end()) {
    *unknown = 1;
    const int64_t known = checked_numel(inferred);
    require(known > 0 && numel % known == 0, Status::InvalidArgument, "shape ", Shape{sizes},
            " does not fit ", numel, " elements");
    *unknown = numel / known;
  }
  require(checked_numel(inferred) == numel, Status::InvalidArgument, "shape ", Shape{sizes},
          " does not fit ", numel, " elements");
  return inferred;
}

// Strides with which `new_sizes` views the same elements in the same order; nullopt if there are
// none. Dimensions of the old shape are grouped into runs that are contiguous among themselves,
// and each run must be cut exactly by a run of new dimensions.
std::optional<std::vector<int64_t>> view_strides(const Tensor& tensor, IntSpan new_sizes) {
  if (tensor.numel() == 0) return contiguous_strides(new_sizes);
  std::vector<int64_t> new_strides(new_sizes.size());
  int64_t d_new = static_cast<int64_t>(new_sizes.size()) - 1;
  int64_t run_stride = tensor.ndim() > 0 ? tensor.strides().back() : 1;
  int64_t run_numel = 1;
  int64_t new_numel = 1;
  for (int64_t d = tensor.ndim() - 1; d >= 0; --d) {
    run_numel *= tensor.sizes()[d];
    const bool run_ends =
        d == 0 || (tensor.sizes()[d - 1] != 1 && tensor.strides()[d - 1] != run_numel * run_stride);
    if (!run_ends) continue;
    while (d_new >= 0 && (new_numel < run_numel || new_sizes[d_new] == 1)) {
      new_strides[d_new] = new_numel * run_stride;
      new_numel *= new_sizes[d_new];
      --d_new;
    }
    if (new_numel != run_numel) return std::nullopt;
    if (d > 0) {
      run_stride = tensor.strides()[d - 1];
      run_numel = new_numel = 1;
    }
  }
  while (d_new >= 0) new_strides[d_new--] = 1;  // only sizes of 1 are left
  return new_strides;
}

}  // namespace

Tensor Tensor::view(IntSpan sizes) const {
  const std::vector<int64_t> new_sizes = infer_size(sizes, numel());
  const auto new_strides = view_strides(*this, new_sizes);
  require(new_strides.has_value(), Status::InvalidArgument, "view: shape ", Shape{sizes},
          " cannot view ", *this, " without a copy");
  return as_strided(new_sizes, *new_strides, storage_offset_);
}

Tensor Tensor::view_dtype(DType dtype) const {
  require(defined(), Status::InvalidArgument, "cannot view an undefined tensor");
  const auto from = static_cast<int64_t>(itemsize());
  const auto to = static_cast<int64_t>(aotiny::itemsize(dtype));
  const int64_t alignment = device() == kCPU ? std::min<int64_t>(to, alignof(double)) : to;
  const auto address = reinterpret_cast<uintptr_t>(raw_data());
  require(numel_ == 0 || address % static_cast<uintptr_t>(alignment) == 0, Status::InvalidArgument,
          "view: the address ", raw_data(), " is not aligned for ", dtype,
          ", which wants a multiple of ", alignment);
  if (from == to) return Tensor(storage_, shape_, storage_offset_, numel_, dtype);
  require(ndim() > 0 && is_contiguous(), Status::InvalidArgument, "view: ", *this,
          " cannot be viewed as ", dtype, ", of another item size: it is not contiguous");
  std::vector<int64_t> new_sizes(sizes().begin(), sizes().end());
  const int64_t row = checked_numel(std::array{new_sizes.back(), from});
  require(row % to == 0 && storage_offset_ * from % to == 0, Status::InvalidArgument,
          "view: ", *this, " at offset ", storage_offset_, " cannot be viewed as ", dtype, ": ",
          row, " bytes are no multiple of ", to);
  new_sizes.back() = row / to;
  const int64_t new_numel = checked_numel(new_sizes);
  return Tensor(storage_, SizesAndStrides(new_sizes, contiguous_strides(new_sizes)),
                storage_offset_ * from / to, new_numel, dtype);
}

Tensor Tensor::reshape(IntSpan sizes) const {
  const std::vector<int64_t> new_sizes = infer_size(sizes, numel());
  if (const auto new_strides = view_strides(*this, new_sizes)) {
    return as_strided(new_sizes, *new_strides, storage_offset_);
  }
  return contiguous().view(new_sizes);
}

Tensor Tensor::expand(IntSpan new_sizes) const {
  const int64_t added = static_cast<int64_t>(new_sizes.size()) - ndim();
  require(added >= 0, Status::InvalidArgument, "shape ", Shape{sizes()}, " does not broadcast to ",
          Shape{new_sizes});
  std::vector<int64_t> new_strides(new_sizes.size(), 0);
  for (int64_t d = 0; d < ndim(); ++d) {
    if (sizes()[d] == new_sizes[d + added]) {
      new_strides[d + added] = strides()[d];
    } else {
      require(sizes()[d] == 1, Status::InvalidArgument, "shape ", Shape{sizes()},
              " does not broadcast to ", Shape{new_sizes});
    }
  }
  return as_strided(new_sizes, new_strides, storage_offset_);
}

Tensor Tensor::clone() const {
  Tensor copy = empty_strided(sizes(), preserved_strides(sizes(), strides()), dtype_, device());
  copy.copy_(*this);
  return copy;
}

Tensor Tensor::contiguous() const {
  if (is_contiguous()) return *this;
  Tensor copy = empty(sizes(), dtype_, device());
  copy.copy_(*this);
  return copy;
}

Tensor Tensor::to(DType dtype) const {
  if (dtype == dtype_) return *this;
  Tensor converted = empty_strided(sizes(), preserved_strides(sizes(), strides()), dtype, device());
  converted.copy_(*this);
  return converted;
}

Tensor Tensor::to(Device device) const {
  if (device == this->device()) return *this;
  Tensor moved = empty_strided(sizes(), preserved_strides(sizes(), strides()), dtype_, device);
  moved.copy_(*this);
  return moved;
}

std::ostream& operator<<(std::ostream& out, const Tensor& tensor) {
  if (!tensor.defined()) return out << "an undefined tensor";
  return out << tensor.dtype() << ' ' << Shape{tensor.sizes()} << " with strides "
             << Shape{tensor.strides()} << " on " << tensor.device();
}

}  // namespace aotiny
