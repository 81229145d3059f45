// topk and sort: values with the indices they had, both along one dimension.
#include <vector>

#include "aotiny/kernels/sort.h"
#include "aotiny/shims/handle.h"
#include "aotiny/shims/rows.h"

using namespace aotiny;

// The result is always sorted, which torch allows where it is not asked for.
AOTITorchError aoti_torch_cpu_topk(AtenTensorHandle self, int64_t k, int64_t dim, int32_t largest,
                                   int32_t /*sorted*/, AtenTensorHandle* ret0,
                                   AtenTensorHandle* ret1) {
  return guarded([&] {
    NewHandle ret_values(ret0, "ret0"), ret_indices(ret1, "ret1");
    const Tensor& tensor = cpu_in(self, "self");
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
    const Tensor values = Tensor::empty(sizes, tensor.dtype());
    const Tensor indices = Tensor::empty(sizes, DType::Int64);
    const RowsToWrite value_rows(values, d), index_rows(indices, d);
    topk_rows(tensor.dtype(), rows_of(tensor, d).raw_data(), value_rows.rows().raw_data(),
              index_rows.rows().data<int64_t>(), shape.count, shape.length, k, largest != 0);
    value_rows.store();
    index_rows.store();
    ret_values = values;
    ret_indices = indices;
  });
}

// The sort is stable whether that is asked for or not.
AOTITorchError aoti_torch_cpu_sort_stable(AtenTensorHandle self, int32_t* /*stable*/, int64_t dim,
                                          int32_t descending, AtenTensorHandle* ret0,
                                          AtenTensorHandle* ret1) {
  return guarded([&] {
    NewHandle ret_values(ret0, "ret0"), ret_indices(ret1, "ret1");
    const Tensor& tensor = cpu_in(self, "self");
    const int64_t d = wrap_dim(dim, tensor.ndim(), "sort");
    const RowShape shape(tensor, d);
    const std::vector<int64_t> strides = preserved_strides(tensor.sizes(), tensor.strides());
    const Tensor values = Tensor::empty_strided(tensor.sizes(), strides, tensor.dtype());
    const Tensor indices = Tensor::empty_strided(tensor.sizes(), strides, DType::Int64);
    const RowsToWrite value_rows(values, d), index_rows(indices, d);
    sort_rows(tensor.dtype(), rows_of(tensor, d).raw_data(), value_rows.rows().raw_data(),
              index_rows.rows().data<int64_t>(), shape.count, shape.length, descending != 0);
    value_rows.store();
    index_rows.store();
    ret_values = values;
    ret_indices = indices;
  });
}
