// aoti_torch_cuda_addmm_out against the CPU's product in fp64.
#include <array>

#include "aotiny/abi/aoti_torch_cuda.h"
#include "dense_testing.h"

namespace aotiny::cuda {
namespace {

constexpr DType kDTypes[] = {DType::Float32, DType::Float64, DType::Float16, DType::BFloat16};

int32_t addmm(Tensor& out, Tensor& self, Tensor& mat1, Tensor& mat2, double beta = 1,
              double alpha = 1) {
  return aoti_torch_cuda_addmm_out(handle(out), handle(self), handle(mat1), handle(mat2), beta,
                                   alpha);
}

TEST(CudaAddmmOutArguments, WhatDoesNotFitIsRefused) {
  Tensor a = pretended({2, 3}), b = pretended({3, 4}), out = pretended({2, 4});
  Tensor bias = pretended({4}), wrong = pretended({3}), cube = pretended({1, 2, 4});
  Tensor half = pretended({4}, DType::BFloat16), wide = pretended({2, 5}), undefined;
  Tensor host = filled({4}, 1), other = pretended({4}, DType::Float32, 1);
  expect_refused(aoti_torch_cuda_addmm_out(handle(out), nullptr, handle(a), handle(b), 1, 1),
                 Status::InvalidArgument, "self is null");
  expect_refused(aoti_torch_cuda_addmm_out(nullptr, handle(bias), handle(a), handle(b), 1, 1),
                 Status::InvalidArgument, "out is null");
  expect_refused(aoti_torch_cuda_addmm_out(handle(out), handle(bias), nullptr, handle(b), 1, 1),
                 Status::InvalidArgument, "mat1 is null");
  expect_refused(aoti_torch_cuda_addmm_out(handle(out), handle(bias), handle(a), nullptr, 1, 1),
                 Status::InvalidArgument, "mat2 is null");
  expect_refused(addmm(out, undefined, a, b), Status::InvalidArgument, "self is undefined");
  expect_refused(addmm(out, host, a, b), Status::InvalidArgument,
                 "self is on cpu, and out is on cuda:0");
  expect_refused(addmm(out, other, a, b), Status::InvalidArgument,
                 "self is on cuda:1, and out is on cuda:0");
  expect_refused(addmm(out, wrong, a, b), Status::InvalidArgument, "[3]");
  expect_refused(addmm(out, wrong, a, b, 0), Status::InvalidArgument, "[3]");
  expect_refused(addmm(out, cube, a, b), Status::InvalidArgument, "3 dimensions");
  expect_refused(addmm(out, half, a, b), Status::InvalidType, "bfloat16");
  expect_refused(addmm(out, bias, b, a), Status::InvalidArgument, "4 columns, 2 rows");
  expect_refused(addmm(wide, bias, a, b), Status::InvalidArgument, "[2, 5]");
}

using CudaAddmmOut = GpuTest;

TEST_F(CudaAddmmOut, EveryBroadcastOfSelf) {
  std::mt19937 random(1);
  for (const DType dtype : kDTypes) {
    const Tensor a = randn(random, {21, 40}, dtype), w = randn(random, {35, 40}, dtype);
    Tensor x = a.to(gpu()), y = w.to(gpu()).transpose(0, 1);
    for (const Ints& sizes : {Ints{}, Ints{35}, Ints{1}, Ints{1, 35}, Ints{21, 1}, Ints{21, 35}}) {
      const Tensor added = randn(random, sizes, dtype);
      Tensor self = added.to(gpu());
      for (const auto& [beta, alpha] : {std::array<double, 2>{1, 1}, {0.5, -2}, {-1.25, 0.1}}) {
        const Exact exact =
            exact_product(a, w.transpose(0, 1), added.expand(Ints{21, 35}), alpha, beta);
        for (const Layout layout : kLayouts) {
          InLayout out = in_layout({21, 35}, dtype, layout);
          ASSERT_EQ(addmm(out.view, self, x, y, beta, alpha), kOk) << last_error();
          expect_exact(out.view, exact, "self " + std::to_string(sizes.size()) + "-D");
          expect_untouched_beside(out, "addmm");
        }
      }
    }
  }
}

TEST_F(CudaAddmmOut, StridedSelf) {
  std::mt19937 random(2);
  for (const DType dtype : kDTypes) {
    const Tensor a = randn(random, {21, 40}, dtype), b = randn(random, {40, 35}, dtype);
    const Tensor added = randn(random, {21, 35}, dtype);
    const Exact exact = exact_product(a, b, added, 2, -0.5);
    Tensor x = a.to(gpu()), y = b.to(gpu());
    for (const Layout layout : kLayouts) {
      Tensor self = laid_out(added, layout);
      Tensor out = filled({21, 35}, NAN, dtype).to(gpu());
      ASSERT_EQ(addmm(out, self, x, y, -0.5, 2), kOk) << last_error();
      expect_exact(out, exact);
    }
  }
}

TEST_F(CudaAddmmOut, SizesOfLinearLayers) {
  std::mt19937 random(3);
  for (const DType dtype : kDTypes) {
    for (const auto& [m, n, k] : {std::array<int64_t, 3>{1, 1, 1},
                                  {1, 257, 130},
                                  {8, 384, 1536},
                                  {16, 256, 8192},
                                  {130, 31, 1025},
                                  {2, 8, 20001},
                                  {300, 129, 70}}) {
      const Tensor a = randn(random, {m, k}, dtype), w = randn(random, {n, k}, dtype);
      const Tensor bias = randn(random, {n}, dtype);
      const Exact exact = exact_product(a, w.transpose(0, 1), bias.expand(Ints{m, n}), 1, 1);
      Tensor x = a.to(gpu()), y = w.to(gpu()).transpose(0, 1), self = bias.to(gpu());
      Tensor out = filled({m, n}, NAN, dtype).to(gpu());
      ASSERT_EQ(addmm(out, self, x, y), kOk) << last_error();
      expect_exact(out, exact);
    }
  }
}

TEST_F(CudaAddmmOut, ZeroBetaIgnoresNaN) {
  std::mt19937 random(4);
  for (const DType dtype : kDTypes) {
    const Tensor a = randn(random, {9, 12}, dtype), b = randn(random, {12, 30}, dtype);
    Tensor x = a.to(gpu()), y = b.to(gpu()), self = filled({30}, NAN, dtype).to(gpu());
    for (const Layout layout : {Layout::Rows, Layout::Columns, Layout::Neither}) {
      InLayout out = in_layout({9, 30}, dtype, layout);
      ASSERT_EQ(addmm(out.view, self, x, y, 0), kOk) << last_error();
      expect_exact(out.view, exact_product(a, b));
    }
  }
}

TEST_F(CudaAddmmOut, NoDepthGivesBetaTimesSelf) {
  for (const DType dtype : kDTypes) {
    Tensor a = filled({2, 0}, 1, dtype).to(gpu()), b = filled({0, 3}, 1, dtype).to(gpu());
    for (const Layout layout : {Layout::Rows, Layout::Columns, Layout::Neither}) {
      InLayout out = in_layout({2, 3}, dtype, layout);
      Tensor self = filled({3}, 4, dtype).to(gpu());
      ASSERT_EQ(addmm(out.view, self, a, b, 0.25, NAN), kOk) << last_error();
      EXPECT_EQ(values(out.view.to(kCPU)), std::vector<double>(6, 1.0));
      self = filled({3}, NAN, dtype).to(gpu());
      ASSERT_EQ(addmm(out.view, self, a, b, 0), kOk) << last_error();
      EXPECT_EQ(values(out.view.to(kCPU)), std::vector<double>(6, 0.0));
      expect_untouched_beside(out, "no depth");
    }
    for (const auto& [m, n] : {std::array<int64_t, 2>{0, 3}, {2, 0}}) {
      Tensor x = filled({m, 5}, 1, dtype).to(gpu()), y = filled({5, n}, 1, dtype).to(gpu());
      Tensor none = Tensor::empty(Ints{m, n}, dtype, gpu()), self = filled({1}, 1, dtype).to(gpu());
      EXPECT_EQ(addmm(none, self, x, y), kOk) << last_error();
    }
  }
}

TEST_F(CudaAddmmOut, SelfMayBeOutOrAPartOfIt) {
  std::mt19937 random(5);
  for (const DType dtype : kDTypes) {
    const Tensor a = randn(random, {40, 12}, dtype), b = randn(random, {12, 50}, dtype);
    const Tensor before = randn(random, {40, 50}, dtype);
    Tensor x = a.to(gpu()), y = b.to(gpu()), out = before.to(gpu());
    ASSERT_EQ(addmm(out, out, x, y), kOk);
    expect_exact(out, exact_product(a, b, before, 1, 1), "self is out");

    out = before.to(gpu());
    Tensor row = out.select(0, 17);
    ASSERT_EQ(addmm(out, row, x, y), kOk);
    expect_exact(out, exact_product(a, b, before.select(0, 17).expand(Ints{40, 50}), 1, 1), "row");

    const Tensor square = randn(random, {20, 20}, dtype), c = randn(random, {20, 20}, dtype);
    Tensor inside = square.to(gpu()), turned = inside.transpose(0, 1), z = c.to(gpu());
    ASSERT_EQ(addmm(inside, turned, z, inside), kOk);
    expect_exact(inside, exact_product(c, square, square.transpose(0, 1), 1, 1), "turned");
  }
}

TEST_F(CudaAddmmOut, UnderCapture) {
  std::mt19937 random(6);
  for (const DType dtype : kDTypes) {
    const Tensor first = randn(random, {5, 70}, dtype), second = randn(random, {5, 70}, dtype);
    const Tensor w = randn(random, {33, 70}, dtype), bias = randn(random, {33}, dtype);
    Tensor x = first.to(gpu()), y = w.to(gpu()).transpose(0, 1), self = bias.to(gpu());
    Tensor out = filled({5, 33}, NAN, dtype).to(gpu());
    Captured graph([&] { ASSERT_EQ(addmm(out, self, x, y, 2, 0.5), kOk) << last_error(); });
    for (const Tensor& input : {first, second}) {
      x.copy_(input);
      AOTINY_CUDA_CHECK(cudaDeviceSynchronize());
      graph.run();
      expect_exact(out, exact_product(input, w.transpose(0, 1), bias.expand(Ints{5, 33}), 0.5, 2));
    }
  }
}

}  // namespace
}  // namespace aotiny::cuda
