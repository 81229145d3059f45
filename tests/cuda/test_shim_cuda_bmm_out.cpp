// aoti_torch_cuda_bmm_out against the CPU's product in fp64.
#include <array>

#include "aotiny/abi/aoti_torch_cuda.h"
#include "dense_testing.h"

namespace aotiny::cuda {
namespace {

constexpr DType kDTypes[] = {DType::Float32, DType::Float64, DType::Float16, DType::BFloat16};

int32_t bmm(Tensor& out, Tensor& self, Tensor& mat2) {
  return aoti_torch_cuda_bmm_out(handle(out), handle(self), handle(mat2));
}

TEST(CudaBmmOutArguments, WhatDoesNotFitIsRefused) {
  Tensor a = pretended({2, 3, 4}), b = pretended({2, 4, 5}), out = pretended({2, 3, 5});
  Tensor three = pretended({3, 4, 5}), flat = pretended({3, 4});
  Tensor half = pretended({2, 4, 5}, DType::Float16), host = filled({2, 4, 5}, 1);
  Tensor other = pretended({2, 4, 5}, DType::Float32, 1);
  Tensor windows = pretended({20}).as_strided(Ints{2, 3, 5}, Ints{1, 5, 1}, 0);
  expect_refused(aoti_torch_cuda_bmm_out(nullptr, handle(a), handle(b)), Status::InvalidArgument,
                 "out is null");
  expect_refused(aoti_torch_cuda_bmm_out(handle(out), nullptr, handle(b)), Status::InvalidArgument,
                 "self is null");
  expect_refused(aoti_torch_cuda_bmm_out(handle(out), handle(a), nullptr), Status::InvalidArgument,
                 "mat2 is null");
  expect_refused(bmm(out, a, host), Status::InvalidArgument,
                 "mat2 is on cpu, and out is on cuda:0");
  expect_refused(bmm(out, a, other), Status::InvalidArgument, "cuda:1");
  expect_refused(bmm(out, a, three), Status::InvalidArgument, "self 2, mat2 3, out 2");
  expect_refused(bmm(out, flat, b), Status::InvalidArgument, "self has 2 dimensions, not 3");
  expect_refused(bmm(flat, a, b), Status::InvalidArgument, "out has 2 dimensions, not 3");
  expect_refused(bmm(out, a, half), Status::InvalidType, "float16");
  expect_refused(bmm(out, a, a), Status::InvalidArgument, "4 columns, 3 rows");
  expect_refused(bmm(a, a, b), Status::InvalidArgument, "[2, 3, 4]");
  expect_refused(bmm(windows, a, b), Status::InvalidArgument, "elements of out overlap");
}

using CudaBmmOut = GpuTest;

TEST_F(CudaBmmOut, EveryLayoutOfEveryMatrix) {
  std::mt19937 random(1);
  for (const DType dtype : kDTypes) {
    for (const auto& [batch, m, n, k] :
         {std::array<int64_t, 4>{3, 7, 11, 30}, {5, 1, 16, 33}, {1, 9, 6, 8}}) {
      const Tensor a = randn(random, {batch, m, k}, dtype), b = randn(random, {batch, k, n}, dtype);
      const Exact exact = exact_product(a, b);
      for (const Layout layout_a : kLayouts) {
        for (const Layout layout_b : kLayouts) {
          for (const Layout layout_out : kLayouts) {
            Tensor x = laid_out(a, layout_a), y = laid_out(b, layout_b);
            InLayout out = in_layout({batch, m, n}, dtype, layout_out);
            ASSERT_EQ(bmm(out.view, x, y), kOk) << last_error();
            expect_exact(out.view, exact);
            expect_untouched_beside(out, "bmm");
            if (HasFailure()) {
              FAIL() << "layouts " << int(layout_a) << int(layout_b) << int(layout_out);
            }
          }
        }
      }
    }
  }
}

TEST_F(CudaBmmOut, SizesOfAttention) {
  std::mt19937 random(2);
  for (const DType dtype : kDTypes) {
    for (const auto& [batch, m, n, k] : {std::array<int64_t, 4>{32, 1, 77, 128},
                                         {12, 65, 65, 32},
                                         {4, 130, 64, 257},
                                         {2, 1, 1, 1},
                                         {70000, 2, 3, 4}}) {
      const Tensor a = randn(random, {batch, m, k}, dtype), b = randn(random, {batch, n, k}, dtype);
      const Exact exact = exact_product(a, b.transpose(1, 2));
      Tensor x = a.to(gpu()), y = b.to(gpu()).transpose(1, 2);
      Tensor out = filled({batch, m, n}, NAN, dtype).to(gpu());
      ASSERT_EQ(bmm(out, x, y), kOk) << last_error();
      expect_exact(out, exact, std::to_string(batch) + " matrices");
    }
  }
}

TEST_F(CudaBmmOut, OneMatrixForEveryBatch) {
  std::mt19937 random(3);
  for (const DType dtype : kDTypes) {
    const Tensor a = randn(random, {6, 5, 12}, dtype), b = randn(random, {1, 12, 9}, dtype);
    Tensor x = a.to(gpu()), y = b.to(gpu()).expand(Ints{6, 12, 9});
    Tensor out = filled({6, 5, 9}, NAN, dtype).to(gpu());
    ASSERT_EQ(bmm(out, x, y), kOk) << last_error();
    expect_exact(out, exact_product(a, b.expand(Ints{6, 12, 9})));
  }
}

TEST_F(CudaBmmOut, EmptySizes) {
  for (const auto& [batch, m, n, k] :
       {std::array<int64_t, 4>{0, 2, 4, 3}, {2, 0, 4, 3}, {2, 3, 0, 4}, {2, 2, 3, 0}}) {
    Tensor a = filled({batch, m, k}, 1).to(gpu()), b = filled({batch, k, n}, 1).to(gpu());
    Tensor out = filled({batch, m, n}, NAN).to(gpu());
    ASSERT_EQ(bmm(out, a, b), kOk) << last_error();
    EXPECT_EQ(values(out.to(kCPU)), std::vector<double>(static_cast<size_t>(batch * m * n), 0.0));
  }
}

TEST_F(CudaBmmOut, OutMayShareMemoryWithTheInputs) {
  std::mt19937 random(4);
  const Tensor a = randn(random, {4, 8, 8}), b = randn(random, {4, 8, 8});
  Tensor x = a.to(gpu()), y = b.to(gpu());
  ASSERT_EQ(bmm(x, x, y), kOk) << last_error();
  expect_exact(x, exact_product(a, b));
}

TEST_F(CudaBmmOut, UnderCapture) {
  std::mt19937 random(5);
  for (const DType dtype : kDTypes) {
    const Tensor first = randn(random, {4, 3, 64}, dtype), w = randn(random, {4, 64, 17}, dtype);
    const Tensor second = randn(random, {4, 3, 64}, dtype);
    Tensor x = first.to(gpu()), y = w.to(gpu()), out = filled({4, 3, 17}, NAN, dtype).to(gpu());
    Captured graph([&] { ASSERT_EQ(bmm(out, x, y), kOk) << last_error(); });
    for (const Tensor& input : {first, second}) {
      x.copy_(input);
      AOTINY_CUDA_CHECK(cudaDeviceSynchronize());
      graph.run();
      expect_exact(out, exact_product(input, w));
    }
  }
}

}  // namespace
}  // namespace aotiny::cuda
