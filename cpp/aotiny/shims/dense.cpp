// aoti_torch_cpu_mm_out, addmm_out, bmm_out, baddbmm_out: dense products into a tensor that keeps
// its strides.
#include "aotiny/shims/dense.h"

#include <algorithm>

#include "aotiny/core/parallel.h"
#include "aotiny/kernels/gemm.h"

using namespace aotiny;

namespace {

Strides2 matrix_strides(const Tensor& tensor) { return {tensor.stride(-2), tensor.stride(-1)}; }

// The matrix number `index` of a batch; of a single matrix, or of no tensor, the memory itself.
char* matrix_at(const Tensor& tensor, int64_t index) {
  auto* data = static_cast<char*>(tensor.raw_data());
  if (data == nullptr || tensor.ndim() == 2) return data;
  return data + index * tensor.stride(0) * static_cast<int64_t>(tensor.itemsize());
}

// c = beta·added + alpha·(a x b); c is out, or a temporary in its place.
void compute(const DenseProduct& product, const Tensor& c) {
  GemmProblem problem;
  problem.dtype = c.dtype();
  problem.m = c.size(-2);
  problem.n = c.size(-1);
  problem.k = product.a.size(-1);
  problem.a = matrix_strides(product.a);
  problem.b = matrix_strides(product.b);
  problem.c = matrix_strides(c);
  problem.threads = max_threads();

  const auto run = [&](int64_t begin, int64_t end, const GemmProblem& each) {
    GemmOperands operands;
    operands.alpha = product.alpha;
    operands.beta = product.beta;
    if (product.added.defined()) operands.d_strides = matrix_strides(product.added);
    for (int64_t i = begin; i < end; ++i) {
      operands.a = matrix_at(product.a, i);
      operands.b = matrix_at(product.b, i);
      operands.c = matrix_at(c, i);
      operands.d = matrix_at(product.added, i);
      gemm(each, operands);
    }
  };
  // Enough matrices for every thread: each thread takes whole ones.
  const int64_t batch = c.ndim() == 2 ? 1 : c.size(0);
  if (batch < problem.threads) return run(0, batch, problem);
  GemmProblem serial = problem;
  serial.threads = 1;
  constexpr int64_t kWorkPerThread = 1 << 19;  // multiply-adds
  const int64_t work = problem.m * problem.n * std::max<int64_t>(problem.k, 1);
  parallel_for(batch, kWorkPerThread / std::max<int64_t>(work, 1) + 1,
               [&](int64_t begin, int64_t end) { run(begin, end, serial); });
}

void run(const DenseProduct& product) {
  if (!product.is_aliased) return compute(product, product.out);
  const Tensor temporary = Tensor::empty(product.out.sizes(), product.out.dtype());
  compute(product, temporary);
  product.out.copy_(temporary);
}

}  // namespace

AOTITorchError aoti_torch_cpu_mm_out(AtenTensorHandle out, AtenTensorHandle self,
                                     AtenTensorHandle mat2) {
  return guarded([&] { run(mm_arguments(DeviceType::CPU, out, self, mat2)); });
}

AOTITorchError aoti_torch_cpu_addmm_out(AtenTensorHandle out, AtenTensorHandle self,
                                        AtenTensorHandle mat1, AtenTensorHandle mat2, double beta,
                                        double alpha) {
  return guarded(
      [&] { run(addmm_arguments(DeviceType::CPU, out, self, mat1, mat2, beta, alpha)); });
}

AOTITorchError aoti_torch_cpu_bmm_out(AtenTensorHandle out, AtenTensorHandle self,
                                      AtenTensorHandle mat2) {
  return guarded([&] { run(bmm_arguments(DeviceType::CPU, out, self, mat2)); });
}

AOTITorchError aoti_torch_cpu_baddbmm_out(AtenTensorHandle out, AtenTensorHandle self,
                                          AtenTensorHandle batch1, AtenTensorHandle batch2,
                                          double beta, double alpha) {
  return guarded(
      [&] { run(baddbmm_arguments(DeviceType::CPU, out, self, batch1, batch2, beta, alpha)); });
}
