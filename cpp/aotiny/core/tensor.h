// A tensor: a view of shared storage with sizes, strides, an offset and a dtype.
//
// Copying a Tensor shares its storage. Views never copy; clone, contiguous and to do. Every view is
// checked against its storage, so a tensor that exists can be read without further checks.
#pragma once

#include <optional>
#include <utility>

#include "aotiny/core/device.h"
#include "aotiny/core/dtype.h"
#include "aotiny/core/sizes_strides.h"
#include "aotiny/core/storage.h"

namespace aotiny {

class Tensor {
 public:
  Tensor() = default;  // undefined: no storage, no dimensions, no elements

  static Tensor empty(IntSpan sizes, DType dtype, Device device = kCPU);
  static Tensor empty_strided(IntSpan sizes, IntSpan strides, DType dtype, Device device = kCPU);
  // On the CPU, in memory that CUDA devices read and write directly.
  static Tensor empty_pinned(IntSpan sizes, DType dtype);
  // Views memory that `deleter` will release (by default: that somebody else owns), from `data`, on
  // a device a multiple of the dtype's size, to the last element that the view reaches.
  static Tensor from_blob(void* data, IntSpan sizes, IntSpan strides, int64_t storage_offset,
                          DType dtype, Device device = kCPU, Deleter deleter = {});
  // A 0-dimensional tensor of this value.
  template <class T>
  static Tensor scalar(T value) {
    Tensor tensor = empty({}, dtype_of<T>());
    *tensor.data<T>() = value;
    return tensor;
  }

  bool defined() const noexcept { return static_cast<bool>(storage_); }
  int64_t ndim() const noexcept { return shape_.ndim(); }
  IntSpan sizes() const noexcept { return shape_.sizes(); }
  IntSpan strides() const noexcept { return shape_.strides(); }
  int64_t size(int64_t dim) const { return sizes()[wrap_dim(dim, ndim(), "size")]; }
  int64_t stride(int64_t dim) const { return strides()[wrap_dim(dim, ndim(), "stride")]; }
  int64_t storage_offset() const noexcept { return storage_offset_; }  // in elements
  int64_t numel() const noexcept { return numel_; }
  DType dtype() const noexcept { return dtype_; }
  Device device() const noexcept { return defined() ? storage_->device() : kCPU; }
  size_t itemsize() const noexcept { return aotiny::itemsize(dtype_); }
  const StorageRef& storage() const noexcept { return storage_; }
  bool is_contiguous() const noexcept { return aotiny::is_contiguous(sizes(), strides()); }

  // Address of the first element, the offset included; nullptr where there is no memory.
  void* raw_data() const noexcept {
    if (!defined() || storage_->data() == nullptr) return nullptr;
    return static_cast<char*>(storage_->data()) +
           storage_offset_ * static_cast<int64_t>(itemsize());
  }
  // The same, typed; fails with InvalidType if T is not the dtype.
  template <class T>
  T* data() const {
    require(dtype_ == dtype_of<T>(), Status::InvalidType, "tensor has dtype ", dtype_, ", not ",
            dtype_of<T>());
    return static_cast<T*>(raw_data());
  }

  // Views. `storage_offset` is absolute, in elements.
  Tensor as_strided(IntSpan sizes, IntSpan strides, int64_t storage_offset) const;
  // Elements start, start + step, ... before end of dimension `dim`, with Python's rules for
  // negative and out-of-range bounds; step >= 1.
  Tensor slice(int64_t dim, std::optional<int64_t> start, std::optional<int64_t> end,
               int64_t step = 1) const;
  Tensor select(int64_t dim, int64_t index) const;  // drops the dimension
  Tensor permute(IntSpan dims) const;
  Tensor transpose(int64_t dim0, int64_t dim1) const;
  // As a view; one size may be -1. Fails with InvalidArgument where only a copy could do it.
  Tensor view(IntSpan sizes) const;
  Tensor reshape(IntSpan sizes) const;  // a view if possible, else a contiguous copy
  // The same bytes as elements of another dtype. With another item size the last dimension grows
  // or shrinks, and the tensor is contiguous. Fails with InvalidArgument where elements would be
  // cut or not be aligned.
  Tensor view_dtype(DType dtype) const;
  Tensor expand(IntSpan sizes) const;  // broadcast, with stride 0

  // Copies.
  Tensor clone() const;       // a dense tensor keeps its strides, any other its order of dimensions
  Tensor contiguous() const;  // itself if it is
  Tensor to(DType dtype) const;    // itself if it has it; strides as clone
  Tensor to(Device device) const;  // itself if it is there; strides as clone
  // Elementwise from a tensor whose shape broadcasts to this one's, converting the dtype, from any
  // device to any. Overlapping memory is copied through a temporary. On a device the copy takes its
  // place in the current stream. Between host and device it is over when this returns; only with
  // `non_blocking`, and pinned host memory that needs no conversion, may it be still under way.
  void copy_(const Tensor& source, bool non_blocking = false) const;
  // Sets every element to zero.
  void zero_() const;

 private:
  Tensor(StorageRef storage, SizesAndStrides shape, int64_t storage_offset, int64_t numel,
         DType dtype)
      : storage_(std::move(storage)),
        shape_(std::move(shape)),
        storage_offset_(storage_offset),
        numel_(numel),
        dtype_(dtype) {}

  StorageRef storage_;
  SizesAndStrides shape_;
  int64_t storage_offset_ = 0;
  int64_t numel_ = 0;
  DType dtype_ = DType::Float32;
};

// "float32 [2, 3] with strides [3, 1] on cpu", for messages.
std::ostream& operator<<(std::ostream& out, const Tensor& tensor);

}  // namespace aotiny
