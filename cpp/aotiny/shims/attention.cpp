// aoti_torch_cpu__scaled_dot_product_flash_attention_for_cpu.
#include <cmath>

#include "aotiny/kernels/attention.h"
#include "aotiny/shims/handle.h"

using namespace aotiny;

namespace {

Strides4 strides_of(const Tensor& tensor) {
  return {tensor.stride(0), tensor.stride(1), tensor.stride(2), tensor.stride(3)};
}

const Tensor& input(AtenTensorHandle handle, const char* name) {
  const Tensor& tensor = cpu_in(handle, name);
  require(tensor.ndim() == 4, Status::InvalidArgument, name, " has ", tensor.ndim(),
          " dimensions, not 4 [batch, heads, rows, depth]: ", tensor);
  return tensor;
}

void require_shapes(const Tensor& q, const Tensor& k, const Tensor& v) {
  const DType dtype = q.dtype();
  require(dtype == DType::Float32 || dtype == DType::Float64 || dtype == DType::Float16 ||
              dtype == DType::BFloat16,
          Status::InvalidType, "attention of ", dtype,
          " tensors: only float32, float64, float16 and bfloat16 are supported");
  require(k.dtype() == dtype && v.dtype() == dtype, Status::InvalidType, "query has dtype ", dtype,
          ", key ", k.dtype(), ", value ", v.dtype());
  const bool fits =
      k.size(0) == q.size(0) && k.size(3) == q.size(3) && std::ranges::equal(k.sizes(), v.sizes());
  require(fits, Status::InvalidArgument, "query ", Shape{q.sizes()}, ", key ", Shape{k.sizes()},
          " and value ", Shape{v.sizes()}, " do not fit");
  require(q.numel() == 0 || (k.size(1) > 0 && q.size(1) % k.size(1) == 0), Status::InvalidArgument,
          q.size(1), " query heads are no multiple of ", k.size(1), " key heads");
}

// The mask expanded to [batch, heads, queries, keys].
Tensor expanded_mask(const Tensor& mask, const Tensor& q, const Tensor& k) {
  require(mask.defined() && mask.device() == kCPU, Status::InvalidArgument,
          "attn_mask must be a tensor on the CPU, not ", mask);
  require(mask.ndim() == 2 || mask.ndim() == 4, Status::InvalidArgument, "attn_mask has ",
          mask.ndim(), " dimensions, neither 2 nor 4: ", mask);
  require(mask.dtype() == q.dtype() || mask.dtype() == DType::Float32, Status::InvalidType,
          "attn_mask has dtype ", mask.dtype(), ", neither that of the query, ", q.dtype(),
          ", nor float32");
  const int64_t sizes[4] = {q.size(0), q.size(1), q.size(2), k.size(2)};
  return mask.expand(sizes);
}

}  // namespace

AOTITorchError aoti_torch_cpu__scaled_dot_product_flash_attention_for_cpu(
    AtenTensorHandle query, AtenTensorHandle key, AtenTensorHandle value, double dropout_p,
    int32_t is_causal, AtenTensorHandle* attn_mask, double* scale, AtenTensorHandle* ret0,
    AtenTensorHandle* ret1) {
  return guarded([&] {
    NewHandle ret_out(ret0, "ret0");
    NewHandle ret_logsumexp(ret1, "ret1");
    const Tensor& q = input(query, "query");
    const Tensor& k = input(key, "key");
    const Tensor& v = input(value, "value");
    require(dropout_p == 0.0, Status::NotSupported, "attention with dropout ", dropout_p,
            " is not supported, only 0");
    require_shapes(q, k, v);

    AttentionProblem problem;
    problem.dtype = q.dtype();
    problem.batch = q.size(0);
    problem.heads = q.size(1);
    problem.kv_heads = k.size(1);
    problem.queries = q.size(2);
    problem.keys = k.size(2);
    problem.depth = q.size(3);
    problem.causal = is_causal != 0;
    problem.scale = scale != nullptr ? *scale : 1.0 / std::sqrt(static_cast<double>(q.size(3)));
    problem.q = strides_of(q);
    problem.k = strides_of(k);
    problem.v = strides_of(v);
    AttentionOperands operands{.q = q.raw_data(), .k = k.raw_data(), .v = v.raw_data()};
    Tensor mask;
    if (const Tensor* given = optional_in(attn_mask, "attn_mask")) {
      mask = expanded_mask(*given, q, k);
      problem.mask_dtype = mask.dtype();
      problem.mask = strides_of(mask);
      operands.mask = mask.raw_data();
    }

    const Tensor result =
        Tensor::empty_strided(q.sizes(), preserved_strides(q.sizes(), q.strides()), q.dtype());
    problem.out = strides_of(result);
    operands.out = result.raw_data();
    // In memory the heads of a row lie side by side, as torch has them.
    const int64_t sizes[3] = {q.size(0), q.size(1), q.size(2)};
    const int64_t strides[3] = {q.size(1) * q.size(2), 1, q.size(1)};
    const Tensor logsumexp = Tensor::empty_strided(
        sizes, strides, q.dtype() == DType::Float64 ? DType::Float64 : DType::Float32);
    problem.logsumexp = {strides[0], strides[1], strides[2], 0};
    operands.logsumexp = logsumexp.raw_data();

    attention(problem, operands, cpu_features());
    ret_out = result;
    ret_logsumexp = logsumexp;
  });
}
