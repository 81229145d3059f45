// How cuBLAS is opened and called. What it computes is tested through the shims that use it.
#include "aotiny/core/cublas.h"

#include <algorithm>
#include <string>
#include <thread>

#include "gpu_test.h"

namespace aotiny::cuda {
namespace {

constexpr int kMajor = CUDART_VERSION / 1000;

// Needs no GPU: the library is there or it is not.
TEST(CublasLibrary, IsOfTheRuntimesVersionOrSaysWhereItWasLookedFor) {
  try {
    EXPECT_EQ(cublas_version() / 10000, kMajor);
  } catch (const Error& error) {
    const std::string text = error.what();
    EXPECT_EQ(error.status(), Status::NotFound) << text;
    for (const std::string& part :
         {std::string("dense products on CUDA are not available: cuBLAS"),
          "libcublas.so." + std::to_string(kMajor), std::string("nvidia-cublas"),
          std::string("the linker's path"), std::string("/nvidia/cu"),
          std::string("/usr/local/cuda/lib64")}) {
      EXPECT_TRUE(contains(text, part)) << part << " in " << text;
    }
  }
}

using Cublas = GpuTest;

// [n, n] x [n, n], all of it contiguous.
CublasProduct square(const Tensor& a, const Tensor& b, const Tensor& c) {
  const int64_t n = c.size(0);
  const auto of = [n](const Tensor& x) { return CublasMatrices{x.raw_data(), false, n, 0}; };
  return {.dtype = a.dtype(),
          .c_dtype = c.dtype(),
          .m = n,
          .n = n,
          .k = n,
          .a = of(a),
          .b = of(b),
          .c = of(c)};
}

Tensor ones(int64_t n, DType dtype = DType::Float32) {
  Tensor values = Tensor::empty(Ints{n, n}, dtype);
  values.copy_(Tensor::scalar(1.0f));
  return values.to(gpu());
}

TEST_F(Cublas, FailuresNameTheProduct) {
  const Tensor a = ones(5), b = ones(5), c = ones(5);
  CublasProduct product = square(a, b, c);
  product.a.leading = 2;
  const std::string text = failure(Status::Internal, [&] { cublas_product(product, 0); });
  EXPECT_TRUE(contains(text, "float32 matrices, m = 5, n = 5, k = 5, batch = 1")) << text;
  EXPECT_TRUE(contains(text, "cublasStatus_t 7")) << text;
  failure(Status::InvalidArgument, [&] { cublas_product(product, device_count()); });
  product = square(a, b, c);
  product.dtype = DType::Int8;
  failure(Status::InvalidType, [&] { cublas_product(product, 0); });
  product.dtype = DType::Float32;
  cublas_product(product, 0);
  EXPECT_EQ(values_of<float>(c.to(kCPU)), std::vector<float>(25, 5.0f));
}

TEST_F(Cublas, TheWorkspaceIsTheAllocatorsAndComesBack) {
  const Tensor a = ones(64), b = ones(64), c = ones(64);
  cuda_interface().allocator().reset_peak(gpu());
  const AllocatorStats before = cuda_interface().allocator().stats(gpu());
  cublas_product(square(a, b, c), 0);
  const AllocatorStats after = cuda_interface().allocator().stats(gpu());
  EXPECT_EQ(after.num_allocations, before.num_allocations + 1);
  EXPECT_EQ(after.allocated_bytes, before.allocated_bytes);
  EXPECT_GE(after.peak_allocated_bytes, before.allocated_bytes + (4u << 20));
}

TEST_F(Cublas, OutOfMemoryIsAnErrorAndNothingIsTheWorse) {
  const Tensor a = ones(8), b = ones(8), c = ones(8);
  CudaAllocator& allocator = cuda_interface().allocator();
  allocator.set_limit(gpu(), allocator.stats(gpu()).allocated_bytes + 4096);
  const std::string text =
      failure(Status::MemoryAllocationFailed, [&] { cublas_product(square(a, b, c), 0); });
  EXPECT_TRUE(contains(text, "the limit is")) << text;
  allocator.set_limit(gpu(), 0);
  cublas_product(square(a, b, c), 0);
  EXPECT_EQ(values_of<float>(c.to(kCPU)), std::vector<float>(64, 8.0f));
}

TEST_F(Cublas, ThreadsMayComeAndGo) {
  const Tensor a = ones(96, DType::BFloat16), b = ones(96, DType::BFloat16);
  for (int i = 0; i < 50; ++i) {
    std::thread([&] {
      const Stream stream(0);
      const StreamGuard guard(0, stream.get());
      const Tensor c = Tensor::empty(Ints{96, 96}, DType::BFloat16, gpu());
      cublas_product(square(a, b, c), 0);
      const auto values = values_of<float>(c.to(kCPU).to(DType::Float32));
      EXPECT_EQ(std::count(values.begin(), values.end(), 96.0f), 96 * 96);
    }).join();
  }
}

// Run by itself, this captures the first product of the process.
TEST_F(Cublas, TheFirstProductMayBeCaptured) {
  const Tensor a = ones(128, DType::Float16), b = ones(128, DType::Float16);
  const Tensor c = Tensor::empty(Ints{128, 128}, DType::Float16, gpu());
  Captured graph([&] { cublas_product(square(a, b, c), 0); });
  for (int i = 0; i < 2; ++i) {
    c.zero_();
    AOTINY_CUDA_CHECK(cudaDeviceSynchronize());
    graph.run();
    const auto values = values_of<float>(c.to(kCPU).to(DType::Float32));
    EXPECT_EQ(std::count(values.begin(), values.end(), 128.0f), 128 * 128);
  }
}

// A thread that multiplies does not spoil what another captures, nor the other way round.
TEST_F(Cublas, AnotherThreadMayCaptureMeanwhile) {
  const Tensor a = ones(64), b = ones(64), c = ones(64), d = ones(64);
  Captured graph([&] {
    cublas_product(square(a, b, c), 0);
    std::thread([&] {
      const Stream stream(0);
      const StreamGuard guard(0, stream.get());
      EXPECT_NO_THROW(cublas_product(square(a, b, d), 0));
      const OutsideCapture outside;
      AOTINY_CUDA_CHECK(cudaStreamSynchronize(stream.get()));
    }).join();
    cublas_product(square(a, b, c), 0);
  });
  graph.run();
  EXPECT_EQ(values_of<float>(c.to(kCPU)), std::vector<float>(64 * 64, 64.0f));
  EXPECT_EQ(values_of<float>(d.to(kCPU)), std::vector<float>(64 * 64, 64.0f));
}

TEST_F(Cublas, TheLastDevice) {
  const int last = device_count() - 1;
  Tensor host = Tensor::empty(Ints{32, 32}, DType::Float64);
  host.copy_(Tensor::scalar(2.0));
  const Tensor a = host.to(gpu(last)), b = host.to(gpu(last)), c = host.to(gpu(last));
  CublasProduct product = square(a, b, c);
  product.beta = 3.0;
  cublas_product(product, last);
  EXPECT_EQ(values_of<double>(c.to(kCPU)), std::vector<double>(32 * 32, 134.0));
}

}  // namespace
}  // namespace aotiny::cuda
