// Handles made and deleted: new tensors, tensors over memory that exists, aliases.
#include "aotiny/core/device_interface.h"
#include "aotiny/shims/handle.h"

using namespace aotiny;

namespace {

// Torch's rule: a null `data` asks for new memory, where the offset has no meaning.
Tensor from_blob_or_empty(void* data, IntSpan sizes, IntSpan strides, int64_t storage_offset,
                          DType dtype, Device device) {
  if (data == nullptr) return Tensor::empty_strided(sizes, strides, dtype, device);
  Tensor tensor = Tensor::from_blob(data, sizes, strides, storage_offset, dtype, device);
  if (device != kCPU && tensor.numel() != 0) {
    device_interface(device.type).check_memory(data, device);
  }
  return tensor;
}

}  // namespace

AOTITorchError aoti_torch_new_tensor_handle(AtenTensorHandle orig_handle,
                                            AtenTensorHandle* new_handle) {
  return guarded([&] {
    NewHandle ret_handle(new_handle, "new_handle");
    ret_handle = in(orig_handle, "orig_handle");
  });
}

AOTITorchError aoti_torch_new_uninitialized_tensor(AtenTensorHandle* ret) {
  return guarded([&] {
    NewHandle ret_handle(ret, "ret");
    ret_handle = Tensor();
  });
}

AOTITorchError aoti_torch_delete_tensor_object(AtenTensorHandle tensor) {
  delete reinterpret_cast<Tensor*>(tensor);
  return static_cast<AOTITorchError>(Status::Ok);
}

AOTITorchError aoti_torch_empty_strided(int64_t ndim, const int64_t* sizes_ptr,
                                        const int64_t* strides_ptr, int32_t dtype,
                                        int32_t device_type, int32_t device_index,
                                        AtenTensorHandle* ret_new_tensor) {
  return guarded([&] {
    NewHandle ret(ret_new_tensor, "ret_new_tensor");
    ret = Tensor::empty_strided(int_span(sizes_ptr, ndim, "sizes_ptr"),
                                int_span(strides_ptr, ndim, "strides_ptr"), dtype_from_code(dtype),
                                device_from_codes(device_type, device_index));
  });
}

AOTITorchError aoti_torch_create_tensor_from_blob(void* data, int64_t ndim,
                                                  const int64_t* sizes_ptr,
                                                  const int64_t* strides_ptr,
                                                  int64_t storage_offset, int32_t dtype,
                                                  int32_t device_type, int32_t device_index,
                                                  AtenTensorHandle* ret) {
  return aoti_torch_create_tensor_from_blob_v2(data, ndim, sizes_ptr, strides_ptr, storage_offset,
                                               dtype, device_type, device_index, ret,
                                               aoti_torch_layout_strided(), nullptr, 0);
}

AOTITorchError aoti_torch_create_tensor_from_blob_v2(
    void* data, int64_t ndim, const int64_t* sizes_ptr, const int64_t* strides_ptr,
    int64_t storage_offset, int32_t dtype, int32_t device_type, int32_t device_index,
    AtenTensorHandle* ret, int32_t layout, const uint8_t* /*opaque_metadata*/,
    int64_t opaque_metadata_size) {
  return guarded([&] {
    NewHandle handle(ret, "ret");
    require(layout == aoti_torch_layout_strided(), Status::NotSupported, "layout ", layout,
            " is not supported, only strided (", aoti_torch_layout_strided(), ")");
    require(opaque_metadata_size == 0, Status::NotSupported, opaque_metadata_size,
            " bytes of opaque metadata given, but a strided tensor has none");
    handle = from_blob_or_empty(
        data, int_span(sizes_ptr, ndim, "sizes_ptr"), int_span(strides_ptr, ndim, "strides_ptr"),
        storage_offset, dtype_from_code(dtype), device_from_codes(device_type, device_index));
  });
}

AOTITorchError aoti_torch_assign_tensors(AtenTensorHandle src, AtenTensorHandle dst) {
  return guarded([&] {
    Tensor& target = in(dst, "dst");
    target = in(src, "src");
  });
}

AOTITorchError aoti_torch_assign_tensors_out(AtenTensorHandle src, AtenTensorHandle* ret_dst) {
  return guarded([&] {
    NewHandle ret_handle(ret_dst, "ret_dst");
    ret_handle = in(src, "src");
  });
}
