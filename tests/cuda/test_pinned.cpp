// Pinned host memory.
#include "aotiny/core/pinned.h"

#include "gpu_test.h"

namespace aotiny::cuda {
namespace {

using Pinned = GpuTest;

TEST_F(Pinned, BlocksAreCachedAndCounted) {
  PinnedAllocator pinned;
  void* block = pinned.allocate(1000, kCPU);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(block) % 64, 0u);
  EXPECT_GE(pinned.stats(kCPU).allocated_bytes, 1000u);
  pinned.deallocate(block, 1000, kCPU);
  EXPECT_EQ(pinned.stats(kCPU).allocated_bytes, 0u);
  EXPECT_EQ(pinned.allocate(1000, kCPU), block);
  pinned.deallocate(block, 1000, kCPU);
  EXPECT_EQ(pinned.stats(kCPU).num_allocations, 2u);
  EXPECT_EQ(pinned.stats(kCPU).num_system_allocations, 1u);
  EXPECT_GT(pinned.stats(kCPU).reserved_bytes, 0u);
  pinned.empty_cache(kCPU);
  EXPECT_EQ(pinned.stats(kCPU).reserved_bytes, 0u);
  EXPECT_EQ(pinned.allocate(0, kCPU), nullptr);
}

TEST_F(Pinned, MoreThanThereIsIsAnError) {
  PinnedAllocator pinned;
  const auto text =
      failure(Status::MemoryAllocationFailed, [&] { pinned.allocate(size_t{1} << 50, kCPU); });
  EXPECT_TRUE(contains(text, std::to_string(size_t{1} << 50) + " bytes of pinned")) << text;
  EXPECT_EQ(cudaPeekAtLastError(), cudaSuccess);
  failure(Status::MemoryAllocationFailed, [&] { pinned.allocate(SIZE_MAX, kCPU); });
}

TEST_F(Pinned, CopiesBothWays) {
  const Tensor host = Tensor::empty_pinned(Ints{5, 7}, DType::Int32);
  EXPECT_EQ(host.device(), kCPU);
  for (int i = 0; i < 35; ++i) host.data<int32_t>()[i] = i * i;
  const Tensor device = Tensor::empty(Ints{5, 7}, DType::Int32, gpu());
  device.copy_(host, true);
  const Tensor back = Tensor::empty_pinned(Ints{5, 7}, DType::Int32);
  back.copy_(device, true);
  synchronize_stream(0, nullptr, "the test");
  EXPECT_EQ(values_of<int32_t>(back), values_of<int32_t>(host));
}

TEST_F(Pinned, ABlockInUseIsNotHandedOut) {
  const int64_t nbytes = 64 << 20;
  const Tensor device = Tensor::empty(Ints{nbytes}, DType::UInt8, gpu());
  Tensor host = Tensor::empty_pinned(Ints{nbytes}, DType::UInt8);
  void* address = host.raw_data();
  keep_busy(nullptr, device.raw_data(), nbytes, 5);
  host.copy_(device, true);
  host = Tensor();
  const Tensor other = Tensor::empty_pinned(Ints{nbytes}, DType::UInt8);
  EXPECT_NE(other.raw_data(), address);
  synchronize_stream(0, nullptr, "the test");
  const Tensor same = Tensor::empty_pinned(Ints{nbytes}, DType::UInt8);
  EXPECT_EQ(same.raw_data(), address);
}

TEST_F(Pinned, MayBeAskedForDuringACapture) {
  const Tensor device = Tensor::empty(Ints{16}, DType::UInt8, gpu());
  Tensor host;
  Captured graph([&] {
    host = Tensor::empty_pinned(Ints{16}, DType::UInt8);
    host.copy_(device, true);
  });
  AOTINY_CUDA_CHECK(cudaMemset(device.raw_data(), 9, 16));
  graph.run();
  EXPECT_EQ(values_of<uint8_t>(host), std::vector<uint8_t>(16, 9));
}

}  // namespace
}  // namespace aotiny::cuda
