// aoti_torch_cuda_topk, sort_stable: values with the indices they had, both along one dimension.
#include <vector>

#include "aotiny/abi/aoti_torch_cuda.h"
#include "aotiny/kernels/sort_rows.h"
#include "aotiny/shims/cuda_handle.h"
#include "aotiny/shims/rows.h"

using namespace aotiny;
using cuda::SortProblem;

namespace {

// The first problem.k elements in order of each row of `tensor` along `dim`.
void sort_into(const SortProblem& problem, const Tensor& tensor, int64_t dim, const Tensor& values,
               const Tensor& indices) {
  const cuda::Work work(tensor.device());
  const Tensor rows = rows_of(tensor, dim);
  const RowsToWrite value_rows(values, dim), index_rows(indices, dim);
  const Tensor scratch = work.scratch(sort_scratch_bytes(problem));
  sort_rows(problem, rows.raw_data(), value_rows.rows().raw_data(),
            index_rows.rows().data<int64_t>(), scratch.raw_data(), work.stream());
  value_rows.store();
  index_rows.store();
}

}  // namespace

// The result is always sorted, which torch allows where it is not asked for.
AOTITorchError aoti_torch_cuda_topk(AtenTensorHandle self, int64_t k, int64_t dim, int32_t largest,
                                    int32_t /*sorted*/, AtenTensorHandle* ret0,
                                    AtenTensorHandle* ret1) {
  return guarded([&] {
    NewHandle ret_values(ret0, "ret0"), ret_indices(ret1, "ret1");
    const Tensor& tensor = cuda::cuda_in(self, "self");
    const int64_t d = wrap_dim(dim, tensor.ndim(), "topk");
    const RowShape shape(tensor, d);
    require(k >= 0 && k <= shape.length, Status::InvalidArgument, "topk: k ", k, " is outside 0..",
            shape.length, ", the size of dimension ", d);
    std::vector<int64_t> sizes(tensor.sizes().begin(), tensor.sizes().end());
    if (sizes.empty()) {
      k = 1;  // one element stays one element, as in torch
    } else {
      sizes[d] = k;
    }
    const SortProblem problem{tensor.dtype(), shape.count, shape.length, k, largest != 0};
    check_sort(problem, "topk");
    const Tensor values = Tensor::empty(sizes, tensor.dtype(), tensor.device());
    const Tensor indices = Tensor::empty(sizes, DType::Int64, tensor.device());
    sort_into(problem, tensor, d, values, indices);
    ret_values = values;
    ret_indices = indices;
  });
}

// The sort is stable whether that is asked for or not.
AOTITorchError aoti_torch_cuda_sort_stable(AtenTensorHandle self, int32_t* /*stable*/, int64_t dim,
                                           int32_t descending, AtenTensorHandle* ret0,
                                           AtenTensorHandle* ret1) {
  return guarded([&] {
    NewHandle ret_values(ret0, "ret0"), ret_indices(ret1, "ret1");
    const Tensor& tensor = cuda::cuda_in(self, "self");
    const int64_t d = wrap_dim(dim, tensor.ndim(), "sort");
    const RowShape shape(tensor, d);
    const SortProblem problem{tensor.dtype(), shape.count, shape.length, shape.length,
                              descending != 0};
    check_sort(problem, "sort");
    const std::vector<int64_t> strides = preserved_strides(tensor.sizes(), tensor.strides());
    const Tensor values =
        Tensor::empty_strided(tensor.sizes(), strides, tensor.dtype(), tensor.device());
    const Tensor indices =
        Tensor::empty_strided(tensor.sizes(), strides, DType::Int64, tensor.device());
    sort_into(problem, tensor, d, values, indices);
    ret_values = values;
    ret_indices = indices;
  });
}
