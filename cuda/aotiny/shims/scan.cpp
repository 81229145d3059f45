// aoti_torch_cuda_cumsum, cumprod. The result is contiguous; its dtype is the one asked for,
// otherwise int64 for integers and bool and the input's own for floats.
#include "aotiny/abi/aoti_torch_cuda.h"
#include "aotiny/kernels/scan_rows.h"
#include "aotiny/shims/cuda_handle.h"
#include "aotiny/shims/rows.h"

using namespace aotiny;
using cuda::ScanOp;
using cuda::ScanProblem;

namespace {

AOTITorchError scan(ScanOp op, const char* what, AtenTensorHandle self, int64_t dim,
                    const int32_t* dtype, AtenTensorHandle* ret0) {
  return guarded([&] {
    NewHandle ret(ret0, "ret0");
    const Tensor& tensor = cuda::cuda_in(self, "self");
    const int64_t d = wrap_dim(dim, tensor.ndim(), what);
    const DType result_dtype = dtype != nullptr                    ? dtype_from_code(*dtype)
                               : is_floating_point(tensor.dtype()) ? tensor.dtype()
                                                                   : DType::Int64;
    cuda::check_scan(result_dtype, what);
    const cuda::Work work(tensor.device());
    const Tensor rows = rows_of(tensor.to(result_dtype), d);
    const Tensor result = Tensor::empty(tensor.sizes(), result_dtype, tensor.device());
    const RowsToWrite target(result, d);
    const RowShape shape(tensor, d);
    const ScanProblem problem{result_dtype, op, shape.count, shape.length};
    const Tensor scratch = work.scratch(scan_scratch_bytes(problem));
    scan_rows(problem, rows.raw_data(), target.rows().raw_data(), scratch.raw_data(),
              work.stream());
    target.store();
    ret = result;
  });
}

}  // namespace

AOTITorchError aoti_torch_cuda_cumsum(AtenTensorHandle self, int64_t dim, int32_t* dtype,
                                      AtenTensorHandle* ret0) {
  return scan(ScanOp::Sum, "cumsum", self, dim, dtype, ret0);
}

AOTITorchError aoti_torch_cuda_cumprod(AtenTensorHandle self, int64_t dim, int32_t* dtype,
                                       AtenTensorHandle* ret0) {
  return scan(ScanOp::Product, "cumprod", self, dim, dtype, ret0);
}
