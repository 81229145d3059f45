// torch's CPU op on its own packed 4-bit weights.
#include <algorithm>

#include "aotiny/kernels/int4pack.h"
#include "aotiny/shims/handle.h"

using namespace aotiny;

namespace {

// The value of an integer tensor of one element.
int64_t integer(const Tensor& tensor, const char* name) {
  require(
      tensor.numel() == 1 && tensor.dtype() != DType::Bool && !is_floating_point(tensor.dtype()),
      Status::InvalidArgument, name, " is ", tensor, ", not one integer");
  return *tensor.to(DType::Int64).data<int64_t>();
}

}  // namespace

AOTITorchError aoti_torch_cpu__weight_int4pack_mm_cpu_tensor(AtenTensorHandle x, AtenTensorHandle w,
                                                             AtenTensorHandle q_group_size,
                                                             AtenTensorHandle q_scale_and_zeros,
                                                             AtenTensorHandle* ret0) {
  return guarded([&] {
    NewHandle ret(ret0, "ret0");
    const Tensor& activations = cpu_in(x, "x");
    const Tensor& weights = cpu_in(w, "w");
    const Tensor& pairs = cpu_in(q_scale_and_zeros, "q_scale_and_zeros");
    const int64_t group_size = integer(cpu_in(q_group_size, "q_group_size"), "q_group_size");
    const DType dtype = activations.dtype();
    require(dtype == DType::Float32 || dtype == DType::Float16 || dtype == DType::BFloat16,
            Status::InvalidType, "x has dtype ", dtype, ", not float32, float16 or bfloat16");
    require(weights.dtype() == DType::UInt8, Status::InvalidType, "w has dtype ", weights.dtype(),
            ", not uint8");
    require(pairs.dtype() == dtype, Status::InvalidType, "q_scale_and_zeros has dtype ",
            pairs.dtype(), ", but x has ", dtype);
    require(activations.ndim() == 2, Status::InvalidArgument, "x is ", activations,
            ", not 2-dimensional");
    const int64_t m = activations.size(0), k = activations.size(1);
    require(group_size == 32 || group_size == 64 || group_size == 128 || group_size == 256,
            Status::InvalidArgument, "group size ", group_size, " is not 32, 64, 128 or 256");
    require(k % group_size == 0, Status::InvalidArgument, "x has ", k,
            " columns, not a multiple of the group size ", group_size);
    require(weights.ndim() == 2 && weights.is_contiguous() && weights.size(1) == k / 2 &&
                weights.size(0) % 16 == 0,
            Status::InvalidArgument, "w is ", weights, ", not contiguous [N, ", k / 2,
            "] with N a multiple of 16");
    const int64_t n = weights.size(0);
    const int64_t pair_sizes[] = {k / group_size, n, 2};
    require(std::ranges::equal(pairs.sizes(), pair_sizes), Status::InvalidArgument,
            "q_scale_and_zeros is ", pairs, ", not of shape ", Shape{pair_sizes});

    const Tensor dense_x = activations.to(DType::Float32).contiguous();
    const Tensor dense_pairs = pairs.contiguous();
    const int64_t sizes[] = {m, n};
    const Tensor result = Tensor::empty(sizes, DType::Float32);
    int4pack_mm({.m = m,
                 .n = n,
                 .k = k,
                 .group_size = group_size,
                 .layout = int4pack_layout(),
                 .x = dense_x.data<float>(),
                 .x_sums = nullptr,
                 .weights = weights.data<uint8_t>(),
                 .scales_and_zeros = dense_pairs.raw_data(),
                 .scale_dtype = dtype,
                 .y = result.data<float>()});
    ret = result.to(dtype);
  });
}
