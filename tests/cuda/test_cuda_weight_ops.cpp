// Operators with weights whose operands share memory; what each kernel computes is in the tests
// named after it.
#include "cuda_products.h"

namespace aotiny::cuda {
namespace {

using CudaWeightOps = GpuTest;

constexpr FormatId kInt8 = kFormatId<Int8Traits<Metadata::A>>;

// Rows that begin one element after another, whose elements share memory; `out` elsewhere, and over
// them.
TEST_F(CudaWeightOps, WindowsWithAnOut) {
  const int64_t m = 5, k = 64;
  const Weight stack = random_stack(kInt8, 2, k, k, 32, 1).to(gpu());
  std::vector<Tensor> planes;
  for (const Tensor& plane : stack.planes()) planes.push_back(plane.select(0, 1));
  const Weight weight(kInt8, planes, 32);
  for (const Activation activation : {Activation::Int8, Activation::Native}) {
    for (const DType dtype : float_dtypes()) {
      SCOPED_TRACE(::testing::Message() << activation << ' ' << dtype);
      const Tensor memory = random_tensor({1000}, 2, dtype).to(gpu()), before = memory.clone();
      const Tensor rows = memory.as_strided(Ints{m, k}, Ints{1, 1}, 3);
      const Tensor batches = memory.as_strided(Ints{2, m, k}, Ints{2, 1, 1}, 3);
      const auto expected = bytes_of(matmul(rows.contiguous(), weight, activation));
      const auto products = bytes_of(bmm(batches.contiguous(), stack, activation));
      for (const int64_t at : {200, 40}) {
        const Tensor out = memory.slice(0, at, at + m * k).view(Ints{m, k});
        matmul(rows, weight, activation, nullptr, &out);
        EXPECT_EQ(bytes_of(out), expected) << at;
        memory.copy_(before);
        const Tensor outs = memory.slice(0, at, at + 2 * m * k).view(Ints{2, m, k});
        bmm(batches, stack, activation, &outs);
        EXPECT_EQ(bytes_of(outs), products) << at;
        memory.copy_(before);
      }
    }
  }
}

}  // namespace
}  // namespace aotiny::cuda
