// aoti_torch_get_*, is_*: what a tensor is.
#include "aotiny/shims/handle.h"

using namespace aotiny;

AOTITorchError aoti_torch_get_data_ptr(AtenTensorHandle tensor, void** ret_data_ptr) {
  return guarded([&] { out(ret_data_ptr, "ret_data_ptr") = in(tensor, "tensor").raw_data(); });
}

AOTITorchError aoti_torch_get_storage_size(AtenTensorHandle tensor, int64_t* ret_size) {
  return guarded([&] {
    const Tensor& self = in(tensor, "tensor");
    out(ret_size, "ret_size") = self.defined() ? static_cast<int64_t>(self.storage()->nbytes()) : 0;
  });
}

AOTITorchError aoti_torch_get_storage_numel(AtenTensorHandle tensor, int64_t* ret_numel) {
  return guarded([&] {
    const Tensor& self = in(tensor, "tensor");
    out(ret_numel, "ret_numel") =
        self.defined() ? static_cast<int64_t>(self.storage()->nbytes() / self.itemsize()) : 0;
  });
}

AOTITorchError aoti_torch_get_storage_offset(AtenTensorHandle tensor, int64_t* ret_storage_offset) {
  return guarded([&] {
    out(ret_storage_offset, "ret_storage_offset") = in(tensor, "tensor").storage_offset();
  });
}

AOTITorchError aoti_torch_get_dim(AtenTensorHandle tensor, int64_t* ret_dim) {
  return guarded([&] { out(ret_dim, "ret_dim") = in(tensor, "tensor").ndim(); });
}

AOTITorchError aoti_torch_get_numel(AtenTensorHandle tensor, int64_t* ret_numel) {
  return guarded([&] { out(ret_numel, "ret_numel") = in(tensor, "tensor").numel(); });
}

// Torch's signature is not const; the values must not be written.
AOTITorchError aoti_torch_get_sizes(AtenTensorHandle tensor, int64_t** ret_sizes) {
  return guarded([&] {
    out(ret_sizes, "ret_sizes") = const_cast<int64_t*>(in(tensor, "tensor").sizes().data());
  });
}

AOTITorchError aoti_torch_get_size(AtenTensorHandle tensor, int64_t d, int64_t* ret_size) {
  return guarded([&] { out(ret_size, "ret_size") = in(tensor, "tensor").size(d); });
}

AOTITorchError aoti_torch_get_strides(AtenTensorHandle tensor, int64_t** ret_strides) {
  return guarded([&] {
    out(ret_strides, "ret_strides") = const_cast<int64_t*>(in(tensor, "tensor").strides().data());
  });
}

AOTITorchError aoti_torch_get_stride(AtenTensorHandle tensor, int64_t d, int64_t* ret_stride) {
  return guarded([&] { out(ret_stride, "ret_stride") = in(tensor, "tensor").stride(d); });
}

AOTITorchError aoti_torch_get_dtype(AtenTensorHandle tensor, int32_t* ret_dtype) {
  return guarded(
      [&] { out(ret_dtype, "ret_dtype") = static_cast<int32_t>(in(tensor, "tensor").dtype()); });
}

AOTITorchError aoti_torch_get_device_type(AtenTensorHandle tensor, int32_t* ret_device_type) {
  return guarded([&] {
    out(ret_device_type, "ret_device_type") =
        static_cast<int32_t>(in(tensor, "tensor").device().type);
  });
}

AOTITorchError aoti_torch_get_device_index(AtenTensorHandle tensor, int32_t* ret_device_index) {
  return guarded(
      [&] { out(ret_device_index, "ret_device_index") = in(tensor, "tensor").device().index; });
}

AOTITorchError aoti_torch_get_layout(AtenTensorHandle tensor, int32_t* ret_layout) {
  return guarded([&] {
    in(tensor, "tensor");
    out(ret_layout, "ret_layout") = aoti_torch_layout_strided();
  });
}

AOTITorchError aoti_torch_is_contiguous(AtenTensorHandle tensor, bool* ret_is_contiguous) {
  return guarded(
      [&] { out(ret_is_contiguous, "ret_is_contiguous") = in(tensor, "tensor").is_contiguous(); });
}

AOTITorchError aoti_torch_is_defined(AtenTensorHandle tensor, bool* ret_is_defined) {
  return guarded([&] { out(ret_is_defined, "ret_is_defined") = in(tensor, "tensor").defined(); });
}
