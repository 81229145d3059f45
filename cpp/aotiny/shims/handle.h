// How a shim reads its arguments: handles are pointers to heap-allocated Tensors.
//
// A shim is one `guarded` body that validates everything first and then works:
//
//   AOTITorchError aoti_torch_get_dim(AtenTensorHandle tensor, int64_t* ret_dim) {
//     return guarded([&] { out(ret_dim, "ret_dim") = in(tensor, "tensor").ndim(); });
//   }
#pragma once

#include <exception>
#include <utility>

#include "aotiny/abi/aoti_torch.h"
#include "aotiny/core/tensor.h"

namespace aotiny {

// The tensor of a handle; fails with InvalidArgument if it is null, naming the argument.
inline Tensor& in(AtenTensorHandle handle, const char* name) {
  require(handle != nullptr, Status::InvalidArgument, name, " is null");
  return *reinterpret_cast<Tensor*>(handle);
}

// The same, for an argument that must have a value: fails on an undefined tensor.
inline Tensor& defined_in(AtenTensorHandle handle, const char* name) {
  Tensor& tensor = in(handle, name);
  require(tensor.defined(), Status::InvalidArgument, name, " is undefined");
  return tensor;
}

// Fails with InvalidArgument, naming the argument and both places, for a tensor on a device of
// another type. An undefined tensor is on none.
inline void check_device_type(DeviceType type, const Tensor& tensor, const char* name) {
  require(!tensor.defined() || tensor.device().type == type, Status::InvalidArgument, name,
          " is on ", tensor.device(), ", not on ",
          type == DeviceType::CPU ? "the CPU" : "a CUDA device");
}

// A tensor with a value, on a device of this type.
inline Tensor& defined_on(DeviceType type, AtenTensorHandle handle, const char* name) {
  Tensor& tensor = defined_in(handle, name);
  check_device_type(type, tensor, name);
  return tensor;
}

// A tensor with a value whose memory is read or written here: it must be the CPU's.
inline Tensor& cpu_in(AtenTensorHandle handle, const char* name) {
  return defined_on(DeviceType::CPU, handle, name);
}

// An optional tensor argument: null for none, otherwise a pointer to a handle.
inline Tensor* optional_in(AtenTensorHandle* handle, const char* name) {
  return handle == nullptr ? nullptr : &in(*handle, name);
}

// The target of an out-pointer; fails with InvalidArgument if it is null, naming the argument.
template <class T>
inline T& out(T* pointer, const char* name) {
  require(pointer != nullptr, Status::InvalidArgument, name, " is null");
  return *pointer;
}

// A new handle that owns the tensor.
inline AtenTensorHandle new_handle(Tensor tensor) {
  return reinterpret_cast<AtenTensorHandle>(new Tensor(std::move(tensor)));
}

// An output handle: null from the beginning of the call, and null again if the call fails after it
// was set. Declare it before anything that can fail; in one expression, `NewHandle(...) = value`,
// the value would come first.
class NewHandle {
 public:
  NewHandle(AtenTensorHandle* pointer, const char* name)
      : handle_(out(pointer, name)), exceptions_(std::uncaught_exceptions()) {
    handle_ = nullptr;
  }
  ~NewHandle() {
    if (std::uncaught_exceptions() > exceptions_) {
      delete reinterpret_cast<Tensor*>(std::exchange(handle_, nullptr));
    }
  }
  NewHandle(const NewHandle&) = delete;
  void operator=(Tensor tensor) { handle_ = new_handle(std::move(tensor)); }

 private:
  AtenTensorHandle& handle_;
  int exceptions_;
};

// Sizes or strides given as pointer and count; a null pointer is fine where the count is 0.
inline IntSpan int_span(const int64_t* values, int64_t count, const char* name) {
  require(count >= 0 && count <= kMaxDims, Status::InvalidArgument, name, " has ", count,
          " values, outside 0..", kMaxDims);
  require(values != nullptr || count == 0, Status::InvalidArgument, name, " is null");
  return {values, static_cast<size_t>(count)};
}

}  // namespace aotiny
