// cumsum and cumprod. The result is contiguous; its dtype is the one asked for, otherwise int64
// for integers and bool and the input's own for floats.
#include "aotiny/kernels/scan.h"
#include "aotiny/shims/handle.h"
#include "aotiny/shims/rows.h"

using namespace aotiny;

namespace {

AOTITorchError scan(ScanOp op, const char* what, AtenTensorHandle self, int64_t dim,
                    const int32_t* dtype, AtenTensorHandle* ret0) {
  return guarded([&] {
    NewHandle ret(ret0, "ret0");
    const Tensor& tensor = cpu_in(self, "self");
    const int64_t d = wrap_dim(dim, tensor.ndim(), what);
    const DType result_dtype = dtype != nullptr                    ? dtype_from_code(*dtype)
                               : is_floating_point(tensor.dtype()) ? tensor.dtype()
                                                                   : DType::Int64;
    const Tensor result = Tensor::empty(tensor.sizes(), result_dtype);
    const RowsToWrite rows(result, d);
    const RowShape shape(tensor, d);
    scan_rows(result_dtype, op, rows_of(tensor.to(result_dtype), d).raw_data(),
              rows.rows().raw_data(), shape.count, shape.length);
    rows.store();
    ret = result;
  });
}

}  // namespace

AOTITorchError aoti_torch_cpu_cumsum(AtenTensorHandle self, int64_t dim, int32_t* dtype,
                                     AtenTensorHandle* ret0) {
  return scan(ScanOp::Sum, "cumsum", self, dim, dtype, ret0);
}

AOTITorchError aoti_torch_cpu_cumprod(AtenTensorHandle self, int64_t dim, int32_t* dtype,
                                      AtenTensorHandle* ret0) {
  return scan(ScanOp::Product, "cumprod", self, dim, dtype, ret0);
}
