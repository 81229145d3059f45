// aoti_torch_cuda_baddbmm_out against the CPU's product in fp64.
#include <array>

#include "aotiny/abi/aoti_torch_cuda.h"
#include "dense_testing.h"

namespace aotiny::cuda {
namespace {

constexpr DType kDTypes[] = {DType::Float32, DType::Float64, DType::Float16, DType::BFloat16};

int32_t baddbmm(Tensor& out, Tensor& self, Tensor& batch1, Tensor& batch2, double beta = 1,
                double alpha = 1) {
  return aoti_torch_cuda_baddbmm_out(handle(out), handle(self), handle(batch1), handle(batch2),
                                     beta, alpha);
}

TEST(CudaBaddbmmOutArguments, WhatDoesNotFitIsRefused) {
  Tensor a = pretended({2, 3, 4}), b = pretended({2, 4, 5}), out = pretended({2, 3, 5});
  Tensor three = pretended({3, 4, 5}), deep = pretended({1, 2, 3, 5}), wrong = pretended({4});
  Tensor half = pretended({5}, DType::Float16), bias = pretended({5}), flat = pretended({3, 4});
  Tensor host = filled({5}, 1), other = pretended({2, 4, 5}, DType::Float32, 1);
  expect_refused(aoti_torch_cuda_baddbmm_out(nullptr, handle(bias), handle(a), handle(b), 1, 1),
                 Status::InvalidArgument, "out is null");
  expect_refused(aoti_torch_cuda_baddbmm_out(handle(out), nullptr, handle(a), handle(b), 1, 1),
                 Status::InvalidArgument, "self is null");
  expect_refused(aoti_torch_cuda_baddbmm_out(handle(out), handle(bias), nullptr, handle(b), 1, 1),
                 Status::InvalidArgument, "batch1 is null");
  expect_refused(aoti_torch_cuda_baddbmm_out(handle(out), handle(bias), handle(a), nullptr, 1, 1),
                 Status::InvalidArgument, "batch2 is null");
  expect_refused(baddbmm(out, host, a, b), Status::InvalidArgument,
                 "self is on cpu, and out is on cuda:0");
  expect_refused(baddbmm(out, bias, a, other), Status::InvalidArgument,
                 "batch2 is on cuda:1, and out is on cuda:0");
  expect_refused(baddbmm(out, bias, a, three), Status::InvalidArgument,
                 "batch1 2, batch2 3, out 2");
  expect_refused(baddbmm(out, bias, flat, b), Status::InvalidArgument, "batch1 has 2 dimensions");
  expect_refused(baddbmm(out, deep, a, b), Status::InvalidArgument, "self has 4 dimensions");
  expect_refused(baddbmm(out, wrong, a, b), Status::InvalidArgument, "[4]");
  expect_refused(baddbmm(out, half, a, b), Status::InvalidType, "float16");
  expect_refused(baddbmm(out, bias, a, a), Status::InvalidArgument, "4 columns, 3 rows");
}

using CudaBaddbmmOut = GpuTest;

TEST_F(CudaBaddbmmOut, EveryBroadcastOfSelfIntoEveryLayout) {
  std::mt19937 random(1);
  for (const DType dtype : kDTypes) {
    for (const auto& [batch, m, n, k] :
         {std::array<int64_t, 4>{3, 9, 15, 20}, {1, 4, 7, 33}, {40, 1, 6, 9}}) {
      const Tensor a = randn(random, {batch, m, k}, dtype), b = randn(random, {batch, k, n}, dtype);
      Tensor x = laid_out(a, Layout::BatchInside), y = laid_out(b, Layout::Columns);
      for (const Ints& sizes :
           {Ints{}, Ints{n}, Ints{m, 1}, Ints{batch, 1, 1}, Ints{m, n}, Ints{batch, m, n}}) {
        const Tensor added = randn(random, sizes, dtype);
        Tensor self = added.to(gpu());
        const Exact exact = exact_product(a, b, added.expand(Ints{batch, m, n}), -2, 0.5);
        for (const Layout layout : kLayouts) {
          InLayout out = in_layout({batch, m, n}, dtype, layout);
          ASSERT_EQ(baddbmm(out.view, self, x, y, 0.5, -2), kOk) << last_error();
          expect_exact(out.view, exact, "self " + std::to_string(sizes.size()) + "-D");
          expect_untouched_beside(out, "baddbmm");
        }
      }
    }
  }
}

TEST_F(CudaBaddbmmOut, ZeroBetaIgnoresNaN) {
  std::mt19937 random(2);
  for (const DType dtype : kDTypes) {
    const Tensor a = randn(random, {2, 9, 12}, dtype), b = randn(random, {2, 12, 30}, dtype);
    Tensor x = a.to(gpu()), y = b.to(gpu()), self = filled({30}, NAN, dtype).to(gpu());
    Tensor out = filled({2, 9, 30}, NAN, dtype).to(gpu());
    ASSERT_EQ(baddbmm(out, self, x, y, 0), kOk) << last_error();
    expect_exact(out, exact_product(a, b));
  }
}

TEST_F(CudaBaddbmmOut, NoDepthGivesBetaTimesSelf) {
  for (const DType dtype : kDTypes) {
    Tensor a = filled({2, 3, 0}, 1, dtype).to(gpu()), b = filled({2, 0, 4}, 1, dtype).to(gpu());
    Tensor self = filled({4}, 4, dtype).to(gpu()), out = filled({2, 3, 4}, NAN, dtype).to(gpu());
    ASSERT_EQ(baddbmm(out, self, a, b, 0.25), kOk) << last_error();
    EXPECT_EQ(values(out.to(kCPU)), std::vector<double>(24, 1.0));
    self = filled({4}, NAN, dtype).to(gpu());
    ASSERT_EQ(baddbmm(out, self, a, b, 0), kOk) << last_error();
    EXPECT_EQ(values(out.to(kCPU)), std::vector<double>(24, 0.0));
  }
}

TEST_F(CudaBaddbmmOut, SelfMayBeOutOrAPartOfIt) {
  std::mt19937 random(3);
  const Tensor a = randn(random, {3, 8, 5}), b = randn(random, {3, 5, 8});
  const Tensor before = randn(random, {3, 8, 8});
  Tensor x = a.to(gpu()), y = b.to(gpu()), out = before.to(gpu());
  ASSERT_EQ(baddbmm(out, out, x, y), kOk) << last_error();
  expect_exact(out, exact_product(a, b, before, 1, 1));
  out = before.to(gpu());
  Tensor turned = out.select(0, 1).transpose(0, 1);
  ASSERT_EQ(baddbmm(out, turned, x, y), kOk) << last_error();
  expect_exact(
      out, exact_product(a, b, before.select(0, 1).transpose(0, 1).expand(Ints{3, 8, 8}), 1, 1));
}

TEST_F(CudaBaddbmmOut, UnderCapture) {
  std::mt19937 random(4);
  const Tensor a = randn(random, {3, 8, 5}), b = randn(random, {3, 5, 9}), c = randn(random, {9});
  Tensor x = a.to(gpu()), y = b.to(gpu()), self = c.to(gpu());
  InLayout out = in_layout({3, 8, 9}, DType::Float32, Layout::Neither);
  Captured graph([&] { ASSERT_EQ(baddbmm(out.view, self, x, y, -1, 3), kOk) << last_error(); });
  for (int i = 0; i < 2; ++i) {
    out.view.copy_(Tensor::scalar(NAN));
    AOTINY_CUDA_CHECK(cudaDeviceSynchronize());
    graph.run();
    expect_exact(out.view, exact_product(a, b, c.expand(Ints{3, 8, 9}), 3, -1));
    expect_untouched_beside(out, "replayed");
  }
}

}  // namespace
}  // namespace aotiny::cuda
