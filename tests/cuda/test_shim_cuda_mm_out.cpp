// aoti_torch_cuda_mm_out against the CPU's product in fp64.
#include <algorithm>
#include <array>
#include <thread>

#include "aotiny/abi/aoti_torch_cuda.h"
#include "dense_testing.h"

namespace aotiny::cuda {
namespace {

constexpr DType kDTypes[] = {DType::Float32, DType::Float64, DType::Float16, DType::BFloat16};

int32_t mm(Tensor& out, Tensor& self, Tensor& mat2) {
  return aoti_torch_cuda_mm_out(handle(out), handle(self), handle(mat2));
}

std::string shape_text(int64_t m, int64_t n, int64_t k) {
  return std::to_string(m) + " x " + std::to_string(n) + " x " + std::to_string(k);
}

TEST(CudaMmOutArguments, WhatDoesNotFitIsRefused) {
  Tensor a = pretended({2, 3}), b = pretended({3, 4}), out = pretended({2, 4});
  Tensor host = filled({3, 4}, 1), other = pretended({3, 4}, DType::Float32, 1);
  Tensor half = pretended({3, 4}, DType::Float16), cube = pretended({1, 2, 3}), undefined;
  Tensor wide = pretended({2, 5}), same = pretended({2, 1}).expand(Ints{2, 4});
  Tensor ints_out = pretended({2, 4}, DType::Int32), host_out = filled({2, 4}, 1);
  expect_refused(aoti_torch_cuda_mm_out(nullptr, handle(a), handle(b)), Status::InvalidArgument,
                 "out is null");
  expect_refused(aoti_torch_cuda_mm_out(handle(out), nullptr, handle(b)), Status::InvalidArgument,
                 "self is null");
  expect_refused(aoti_torch_cuda_mm_out(handle(out), handle(a), nullptr), Status::InvalidArgument,
                 "mat2 is null");
  expect_refused(mm(out, undefined, b), Status::InvalidArgument, "self is undefined");
  expect_refused(mm(host_out, a, b), Status::InvalidArgument,
                 "out is on cpu, not on a CUDA device");
  expect_refused(mm(out, a, host), Status::InvalidArgument, "mat2 is on cpu, and out is on cuda:0");
  expect_refused(mm(out, a, other), Status::InvalidArgument,
                 "mat2 is on cuda:1, and out is on cuda:0");
  expect_refused(mm(out, cube, b), Status::InvalidArgument, "self has 3 dimensions, not 2");
  expect_refused(mm(out, a, half), Status::InvalidType, "float16 and out has float32");
  expect_refused(mm(ints_out, a, b), Status::InvalidType, "product of int32 tensors");
  expect_refused(mm(out, b, a), Status::InvalidArgument, "4 columns, 2 rows");
  expect_refused(mm(wide, a, b), Status::InvalidArgument, "[2, 5]");
  expect_refused(mm(same, a, b), Status::InvalidArgument, "elements of out overlap");
}

TEST(CudaMmOutArguments, TheCpusFunctionRefusesCudaTensors) {
  Tensor a = pretended({2, 3}), b = pretended({3, 4}), out = pretended({2, 4});
  Tensor host = filled({2, 4}, 1);
  expect_refused(aoti_torch_cpu_mm_out(handle(out), handle(a), handle(b)), Status::InvalidArgument,
                 "out is on cuda:0, not on the CPU");
  expect_refused(aoti_torch_cpu_mm_out(handle(host), handle(a), handle(b)), Status::InvalidArgument,
                 "self is on cuda:0, and out is on cpu");
}

using CudaMmOut = GpuTest;

TEST_F(CudaMmOut, EveryLayoutOfEveryMatrix) {
  std::mt19937 random(1);
  for (const DType dtype : kDTypes) {
    for (const auto& [m, n, k] : {std::array<int64_t, 3>{7, 11, 30}, {1, 33, 65}, {19, 1, 16}}) {
      const Tensor a = randn(random, {m, k}, dtype), b = randn(random, {k, n}, dtype);
      const Exact exact = exact_product(a, b);
      for (const Layout layout_a : kLayouts) {
        for (const Layout layout_b : kLayouts) {
          for (const Layout layout_out : kLayouts) {
            Tensor x = laid_out(a, layout_a), y = laid_out(b, layout_b);
            InLayout out = in_layout({m, n}, dtype, layout_out);
            const Ints strides = ints(out.view.strides());
            ASSERT_EQ(mm(out.view, x, y), kOk) << last_error();
            expect_exact(out.view, exact, shape_text(m, n, k));
            expect_untouched_beside(out, shape_text(m, n, k));
            EXPECT_EQ(ints(out.view.strides()), strides);
            if (HasFailure())
              FAIL() << "layouts " << int(layout_a) << int(layout_b) << int(layout_out);
          }
        }
      }
    }
  }
}

TEST_F(CudaMmOut, SizesOfLinearLayers) {
  std::mt19937 random(2);
  for (const DType dtype : kDTypes) {
    for (const auto& [m, n, k] : {std::array<int64_t, 3>{1, 1, 1},
                                  {1, 257, 130},
                                  {3, 40, 33},
                                  {8, 384, 384},
                                  {17, 49, 65},
                                  {130, 31, 1025},
                                  {5, 2, 1537},
                                  {2, 8, 20001},
                                  {8, 384, 1536},
                                  {16, 256, 8192},
                                  {4, 64, 4096},
                                  {300, 129, 70},
                                  {1, 4096, 1024}}) {
      const Tensor a = randn(random, {m, k}, dtype), w = randn(random, {n, k}, dtype);
      const Exact exact = exact_product(a, w.transpose(0, 1));
      Tensor x = a.to(gpu()), y = w.to(gpu()).transpose(0, 1);
      Tensor out = filled({m, n}, NAN, dtype).to(gpu());
      ASSERT_EQ(mm(out, x, y), kOk) << last_error();
      expect_exact(out, exact, shape_text(m, n, k));
    }
  }
}

TEST_F(CudaMmOut, BroadcastInputs) {
  std::mt19937 random(3);
  for (const DType dtype : kDTypes) {
    const Tensor row = randn(random, {1, 30}, dtype), column = randn(random, {30, 1}, dtype);
    Tensor a = row.to(gpu()).expand(Ints{9, 30}), b = column.to(gpu()).expand(Ints{30, 8});
    Tensor out = filled({9, 8}, NAN, dtype).to(gpu());
    ASSERT_EQ(mm(out, a, b), kOk) << last_error();
    expect_exact(out, exact_product(row.expand(Ints{9, 30}), column.expand(Ints{30, 8})));
    Tensor scalar = row.select(1, 3).to(gpu()).expand(Ints{9, 1}), line = row.to(gpu());
    Tensor outer = filled({9, 30}, NAN, dtype).to(gpu());
    ASSERT_EQ(mm(outer, scalar, line), kOk) << last_error();
    expect_exact(outer, exact_product(row.select(1, 3).expand(Ints{9, 1}), row));
  }
}

TEST_F(CudaMmOut, EmptySizes) {
  for (const DType dtype : kDTypes) {
    for (const auto& [m, n, k] :
         {std::array<int64_t, 3>{0, 3, 4}, {3, 0, 4}, {3, 4, 0}, {0, 0, 0}}) {
      Tensor a = filled({m, k}, 1, dtype).to(gpu()), b = filled({k, n}, 1, dtype).to(gpu());
      InLayout out = in_layout({m, n}, dtype, Layout::Neither);
      ASSERT_EQ(mm(out.view, a, b), kOk) << last_error();
      EXPECT_EQ(values(out.view.to(kCPU)), std::vector<double>(static_cast<size_t>(m * n), 0.0));
      expect_untouched_beside(out, shape_text(m, n, k));
    }
  }
}

TEST_F(CudaMmOut, OutMayShareMemoryWithTheInputs) {
  std::mt19937 random(4);
  for (const DType dtype : kDTypes) {
    const Tensor a = randn(random, {16, 16}, dtype), b = randn(random, {16, 16}, dtype);
    Tensor x = a.to(gpu()), y = b.to(gpu());
    ASSERT_EQ(mm(x, x, y), kOk) << last_error();
    expect_exact(x, exact_product(a, b), "out is self");
    Tensor z = b.to(gpu()), turned = z.transpose(0, 1), again = a.to(gpu());
    ASSERT_EQ(mm(turned, again, z), kOk) << last_error();
    expect_exact(turned, exact_product(a, b), "out is mat2, transposed");
    Tensor memory = randn(random, {20, 16}, dtype), whole = memory.to(gpu());
    Tensor upper = whole.slice(0, 0, 16), lower = whole.slice(0, 4, 20), w = b.to(gpu());
    ASSERT_EQ(mm(lower, upper, w), kOk) << last_error();
    expect_exact(lower, exact_product(memory.slice(0, 0, 16), b), "out overlaps self");
  }
}

TEST_F(CudaMmOut, InfinityAndNanComeThrough) {
  for (const DType dtype : kDTypes) {
    const Tensor a = filled({3, 40}, 1), b = filled({40, 5}, 2);
    a.data<float>()[40 + 7] = INFINITY;
    a.data<float>()[80 + 39] = NAN;
    Tensor x = a.to(dtype).to(gpu()), y = b.to(dtype).to(gpu());
    Tensor out = filled({3, 5}, 0, dtype).to(gpu());
    ASSERT_EQ(mm(out, x, y), kOk) << last_error();
    const std::vector<double> got = values(out.to(kCPU));
    for (size_t i = 0; i < 5; ++i) {
      EXPECT_EQ(got[i], 80);
      EXPECT_EQ(got[5 + i], INFINITY);
      EXPECT_TRUE(std::isnan(got[10 + i]));
    }
  }
}

TEST_F(CudaMmOut, UnderCapture) {
  std::mt19937 random(5);
  for (const DType dtype : kDTypes) {
    const Tensor first = randn(random, {9, 70}, dtype), second = randn(random, {9, 70}, dtype);
    const Tensor w = randn(random, {33, 70}, dtype);
    Tensor x = first.to(gpu()), y = w.to(gpu()).transpose(0, 1);
    InLayout direct = in_layout({9, 33}, dtype, Layout::Rows);
    InLayout copied = in_layout({9, 33}, dtype, Layout::Neither);
    Captured graph([&] {
      ASSERT_EQ(mm(direct.view, x, y), kOk) << last_error();
      ASSERT_EQ(mm(copied.view, x, y), kOk) << last_error();
    });
    for (const Tensor& input : {first, second, first}) {
      x.copy_(input);
      direct.memory.copy_(Tensor::scalar(NAN));
      copied.memory.copy_(Tensor::scalar(NAN));
      AOTINY_CUDA_CHECK(cudaDeviceSynchronize());
      graph.run();
      const Exact exact = exact_product(input, w.transpose(0, 1));
      expect_exact(direct.view, exact, "replayed");
      expect_exact(copied.view, exact, "replayed, through copies");
      expect_untouched_beside(copied, "replayed");
    }
  }
}

TEST_F(CudaMmOut, InTheCurrentStream) {
  const Stream stream(0);
  const StreamGuard guard(0, stream.get());
  const int64_t size = 1024;
  Tensor a = Tensor::empty(Ints{size, size}, DType::UInt8, gpu());
  keep_busy(stream.get(), a.raw_data(), static_cast<size_t>(size * size), 3);
  Tensor x = a.to(DType::Float32), ones = filled({size, 4}, 1).to(gpu());
  Tensor out = filled({size, 4}, NAN).to(gpu());
  keep_busy(stream.get(), a.raw_data(), static_cast<size_t>(size * size), 5);
  x.copy_(a);
  ASSERT_EQ(mm(out, x, ones), kOk) << last_error();
  EXPECT_EQ(values(out.to(kCPU)), std::vector<double>(static_cast<size_t>(4 * size), 5.0 * size));
}

TEST_F(CudaMmOut, ThreadsOnStreamsOfTheirOwnAgreeWithTheSerialRun) {
  std::mt19937 random(6);
  constexpr int kThreads = 8, kRounds = 50;
  const Tensor a = randn(random, {64, 512}, DType::BFloat16).to(gpu());
  const Tensor w = randn(random, {256, 512}, DType::BFloat16).to(gpu());
  const auto rows_of = [](int thread) { return int64_t{5} + 7 * thread; };
  std::vector<std::vector<double>> serial, parallel(kThreads);
  const auto product_of = [&](int thread) {
    Tensor x = a.slice(0, 0, rows_of(thread)), y = w.transpose(0, 1);
    Tensor out = Tensor::empty(Ints{rows_of(thread), 256}, DType::BFloat16, gpu());
    EXPECT_EQ(mm(out, x, y), kOk) << last_error();
    return values(out.to(kCPU));
  };
  for (int thread = 0; thread < kThreads; ++thread) serial.push_back(product_of(thread));
  AOTINY_CUDA_CHECK(cudaDeviceSynchronize());
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      const Stream stream(0);
      const StreamGuard guard(0, stream.get());
      for (int round = 0; round < kRounds; ++round) {
        parallel[static_cast<size_t>(thread)] = product_of(thread);
        if (parallel[static_cast<size_t>(thread)] != serial[static_cast<size_t>(thread)]) break;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (size_t i = 0; i < kThreads; ++i) EXPECT_EQ(parallel[i], serial[i]) << "thread " << i;
}

TEST_F(CudaMmOut, OnAnotherDevice) {
  if (device_count() < 2) GTEST_SKIP() << "there is one GPU";
  std::mt19937 random(7);
  const Tensor a = randn(random, {9, 70}), b = randn(random, {70, 33});
  Tensor x = a.to(gpu(1)), y = b.to(gpu(1)), out = filled({9, 33}, NAN).to(gpu(1));
  ASSERT_EQ(mm(out, x, y), kOk) << last_error();
  expect_exact(out, exact_product(a, b));
  int current = -1;
  AOTINY_CUDA_CHECK(cudaGetDevice(&current));
  EXPECT_EQ(current, 0);
}

// Zeros, but for the last rows of a and columns of b.
TEST_F(CudaMmOut, SizesAndOffsetsBeyond32Bits) {
  if (cuda_interface().properties(gpu()).free_bytes < uint64_t{30} << 30) {
    GTEST_SKIP() << "needs 30 GB of free memory";
  }
  std::mt19937 random(8);
  constexpr int64_t kLarge = (int64_t{1} << 31) + 3;
  for (const auto& [m, n, k] :
       {std::array<int64_t, 3>{70001, 40003, 8}, {kLarge, 1, 2}, {1, kLarge, 2}}) {
    const int64_t rows = std::min<int64_t>(m, 2), columns = std::min<int64_t>(n, 2);
    const Tensor a = randn(random, {rows, k}, DType::BFloat16);
    const Tensor w = randn(random, {columns, k}, DType::BFloat16);
    const Tensor large_a = Tensor::empty(Ints{m, k}, DType::BFloat16, gpu());
    const Tensor large_w = Tensor::empty(Ints{n, k}, DType::BFloat16, gpu());
    large_a.zero_();
    large_w.zero_();
    large_a.slice(0, m - rows, m).copy_(a);
    large_w.slice(0, n - columns, n).copy_(w);
    Tensor x = large_a, y = large_w.transpose(0, 1);
    Tensor out = Tensor::empty(Ints{m, n}, DType::BFloat16, gpu());
    ASSERT_EQ(mm(out, x, y), kOk) << last_error();
    expect_exact(out.slice(0, m - rows, m).slice(1, n - columns, n),
                 exact_product(a, w.transpose(0, 1)), shape_text(m, n, k));
    const Tensor zeros = m > 2 ? out.slice(0, 0, 1).slice(1, 0, 1) : out.slice(1, 0, 1);
    EXPECT_EQ(values(zeros.to(kCPU)), std::vector<double>{0.0});
  }
}

}  // namespace
}  // namespace aotiny::cuda
