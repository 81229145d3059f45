// Views: new handles on the storage of an existing tensor.
#include "aotiny/shims/handle.h"

using namespace aotiny;

AOTITorchError aoti_torch__reinterpret_tensor(AtenTensorHandle self, int64_t ndim,
                                              const int64_t* sizes_ptr, const int64_t* strides_ptr,
                                              int64_t storage_offset,
                                              AtenTensorHandle* ret_new_tensor) {
  return guarded([&] {
    NewHandle ret(ret_new_tensor, "ret_new_tensor");
    const Tensor& base = in(self, "self");
    int64_t offset;
    require(!__builtin_add_overflow(base.storage_offset(), storage_offset, &offset),
            Status::InvalidArgument, "storage offset ", base.storage_offset(), " plus ",
            storage_offset, " overflows 64 bits");
    ret = base.as_strided(int_span(sizes_ptr, ndim, "sizes_ptr"),
                          int_span(strides_ptr, ndim, "strides_ptr"), offset);
  });
}

AOTITorchError aoti_torch__alloc_from_pool(AtenTensorHandle self, int64_t offset_bytes,
                                           int32_t dtype, int64_t ndim, const int64_t* sizes_ptr,
                                           const int64_t* strides_ptr,
                                           AtenTensorHandle* ret_new_tensor) {
  return guarded([&] {
    NewHandle ret(ret_new_tensor, "ret_new_tensor");
    const Tensor& pool = defined_in(self, "self");
    require(pool.is_contiguous(), Status::InvalidArgument, "self is not contiguous: ", pool);
    const DType element = dtype_from_code(dtype);
    const auto width = static_cast<int64_t>(itemsize(element));
    const int64_t nbytes = pool.numel() * static_cast<int64_t>(pool.itemsize());
    require(offset_bytes >= 0 && offset_bytes <= nbytes && offset_bytes % width == 0,
            Status::InvalidArgument, "offset_bytes ", offset_bytes, " is not a multiple of ", width,
            " in 0..", nbytes, ", the bytes of self");
    // The bytes from there to the last whole element.
    const int64_t flat[] = {pool.numel()};
    const Tensor bytes = pool.view(flat).view_dtype(DType::UInt8);
    const int64_t rest = (nbytes - offset_bytes) / width * width;
    const Tensor part = bytes.slice(0, offset_bytes, offset_bytes + rest).view_dtype(element);
    const IntSpan sizes = int_span(sizes_ptr, ndim, "sizes_ptr");
    const IntSpan strides = int_span(strides_ptr, ndim, "strides_ptr");
    require(checked_span(sizes, strides) <= part.numel(), Status::InvalidArgument, "shape ",
            Shape{sizes}, " with strides ", Shape{strides}, " at byte ", offset_bytes,
            " does not lie in the ", nbytes, " bytes of self");
    ret = part.as_strided(sizes, strides, part.storage_offset());
  });
}

// The signature has no number of dimensions: it is that of `self`.
AOTITorchError aoti_torch_as_strided(AtenTensorHandle self, const int64_t* sizes_ptr,
                                     const int64_t* strides_ptr, AtenTensorHandle* ret) {
  return guarded([&] {
    NewHandle handle(ret, "ret");
    const Tensor& base = in(self, "self");
    handle =
        base.as_strided(int_span(sizes_ptr, base.ndim(), "sizes_ptr"),
                        int_span(strides_ptr, base.ndim(), "strides_ptr"), base.storage_offset());
  });
}
