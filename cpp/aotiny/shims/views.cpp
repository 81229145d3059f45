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
