// Device memory: statistics, limits, streams, captures.
#include "aotiny/core/cuda_allocator.h"

#include <thread>

#include "aotiny/core/scratch.h"
#include "gpu_test.h"

namespace aotiny::cuda {
namespace {

using Allocation = GpuTest;

CudaAllocator& the_allocator() { return cuda_interface().allocator(); }
AllocatorStats stats() { return the_allocator().stats(gpu()); }

TEST_F(Allocation, CountsWhatItHandsOut) {
  the_allocator().empty_cache(gpu());
  the_allocator().reset_peak(gpu());
  const AllocatorStats before = stats();
  EXPECT_EQ(before.peak_allocated_bytes, before.allocated_bytes);
  {
    const Scratch<float> first(1000, gpu());
    const Scratch<float> second(3, gpu());
    EXPECT_EQ(reinterpret_cast<uintptr_t>(second.data()) % 64, 0u);
    EXPECT_EQ(stats().allocated_bytes, before.allocated_bytes + 4012);
    EXPECT_EQ(stats().num_allocations, before.num_allocations + 2);
    EXPECT_GE(stats().reserved_bytes, stats().allocated_bytes);
  }
  EXPECT_EQ(stats().allocated_bytes, before.allocated_bytes);
  EXPECT_EQ(stats().peak_allocated_bytes, before.allocated_bytes + 4012);
}

TEST_F(Allocation, NothingIsNull) {
  EXPECT_EQ(the_allocator().allocate(0, gpu()), nullptr);
  the_allocator().deallocate(nullptr, 0, gpu());
  int on_the_host = 0;
  the_allocator().deallocate(&on_the_host, 4, gpu());  // not from here: ignored
}

TEST_F(Allocation, CachedBlocksServeTheNextCall) {
  { const Scratch<char> warm(5 << 20, gpu()); }
  const AllocatorStats before = stats();
  for (int i = 0; i < 20; ++i) const Scratch<char> again(5 << 20, gpu());
  EXPECT_EQ(stats().num_allocations, before.num_allocations + 20);
  EXPECT_EQ(stats().num_system_allocations, before.num_system_allocations);
}

TEST_F(Allocation, EmptyCacheGivesMemoryBack) {
  { const Scratch<char> large(300 << 20, gpu()); }
  const uint64_t cached = stats().reserved_bytes;
  EXPECT_GE(cached, 300u << 20);
  the_allocator().empty_cache(gpu());
  EXPECT_LE(stats().reserved_bytes + (300u << 20), cached);
}

TEST_F(Allocation, UnknownDevicesAreRefused) {
  const int count = device_count();
  const auto text =
      failure(Status::InvalidArgument, [&] { the_allocator().allocate(16, gpu(count)); });
  EXPECT_TRUE(contains(text, "no device cuda:" + std::to_string(count))) << text;
  failure(Status::InvalidArgument, [&] { the_allocator().stats(gpu(count)); });
  failure(Status::InvalidArgument, [&] { the_allocator().empty_cache(gpu(count)); });
  failure(Status::InvalidArgument, [&] { the_allocator().set_limit(gpu(count), 1); });
}

TEST_F(Allocation, TheLimitHolds) {
  const uint64_t allocated = stats().allocated_bytes;
  the_allocator().set_limit(gpu(), allocated + 1000);
  const auto text =
      failure(Status::MemoryAllocationFailed, [] { const Scratch<char> much(1001, gpu()); });
  { const Scratch<char> enough(1000, gpu()); }
  the_allocator().set_limit(gpu(), 0);
  { const Scratch<char> much(1001, gpu()); }
  EXPECT_TRUE(contains(text, "cannot allocate 1001 bytes on cuda:0: " + std::to_string(allocated) +
                                 " bytes are allocated, and the limit "
                                 "is " +
                                 std::to_string(allocated + 1000)))
      << text;
}

TEST_F(Allocation, MoreThanThereIsIsAnErrorThatPoisonsNothing) {
  const AllocatorStats before = stats();
  const size_t much = size_t{1} << 46;
  const auto text =
      failure(Status::MemoryAllocationFailed, [&] { the_allocator().allocate(much, gpu()); });
  EXPECT_TRUE(contains(text, "cannot allocate " + std::to_string(much) + " bytes on cuda:0"))
      << text;
  EXPECT_TRUE(contains(text, "bytes are free")) << text;
  EXPECT_EQ(stats().allocated_bytes, before.allocated_bytes);
  EXPECT_EQ(cudaPeekAtLastError(), cudaSuccess);
  const Tensor small = Tensor::empty(Ints{3}, DType::Float32, gpu());
  small.zero_();
  EXPECT_EQ(values_of<float>(small.to(kCPU)), std::vector<float>(3, 0.0f));
}

TEST_F(Allocation, ABlockUsedOnAnotherStreamIsNotHandedOutTooEarly) {
  const Stream first(0), second(0);
  const size_t nbytes = 128 << 20;
  const StreamGuard guard(0, first.get());
  void* block = the_allocator().allocate(nbytes, gpu());
  {
    const StreamGuard inner(0, second.get());
    wait_for_stream(0, second.get(), 0, first.get());
    keep_busy(second.get(), block, nbytes, 1);
    the_allocator().deallocate(block, nbytes, gpu());
  }
  void* again = the_allocator().allocate(nbytes, gpu());
  ASSERT_EQ(again, block) << "the test says nothing unless the same memory comes back";
  AOTINY_CUDA_CHECK(cudaMemsetAsync(again, 2, nbytes, first.get()));
  AOTINY_CUDA_CHECK(cudaDeviceSynchronize());
  std::vector<uint8_t> values(nbytes);
  AOTINY_CUDA_CHECK(cudaMemcpy(values.data(), again, nbytes, cudaMemcpyDeviceToHost));
  EXPECT_EQ(std::count(values.begin(), values.end(), 2), static_cast<int64_t>(nbytes));
  the_allocator().deallocate(again, nbytes, gpu());
  AOTINY_CUDA_CHECK(cudaDeviceSynchronize());
}

TEST_F(Allocation, WorksWhileAStreamIsCaptured) {
  const Tensor input = Tensor::empty(Ints{1000}, DType::Float32, gpu());
  const Tensor output = Tensor::empty(Ints{1000}, DType::Float32, gpu());
  Captured graph([&] {
    const Tensor rounded = input.to(DType::BFloat16);  // comes and goes within the capture
    output.copy_(rounded);
  });
  for (const float value : {1.0f, 3.0f, 0.1f}) {
    input.copy_(Tensor::scalar(value));
    graph.run();
    EXPECT_EQ(values_of<float>(output.to(kCPU)),
              std::vector<float>(1000, static_cast<float>(BFloat16(value))));
  }
}

TEST_F(Allocation, ABlockFromBeforeACaptureMayComeBackDuringIt) {
  Tensor outside = Tensor::empty(Ints{1 << 20}, DType::Float32, gpu());
  const uint64_t before = stats().allocated_bytes;
  const Tensor kept = Tensor::empty(Ints{8}, DType::Float32, gpu());
  Captured graph([&] {
    outside = Tensor();
    kept.zero_();
    EXPECT_EQ(stats().allocated_bytes, before - (4u << 20) + 32);
    const auto text = failure(Status::InvalidState, [] { the_allocator().empty_cache(gpu()); });
    EXPECT_TRUE(contains(text, "during a capture")) << text;
  });
  graph.run();
  the_allocator().empty_cache(gpu());
  EXPECT_LT(stats().reserved_bytes, before + (64u << 20));
}

TEST_F(Allocation, ABlockThatComesBackDuringASpoiltCaptureIsKept) {
  const Stream stream(0);
  const StreamGuard guard(0, stream.get());
  the_allocator().empty_cache(gpu());
  const uint64_t before = stats().reserved_bytes;
  const size_t nbytes = size_t{300} << 20;
  void* block = the_allocator().allocate(nbytes, gpu());
  AOTINY_CUDA_CHECK(cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeThreadLocal));
  EXPECT_NE(cudaStreamSynchronize(stream.get()), cudaSuccess);
  the_allocator().deallocate(block, nbytes, gpu());
  cudaGraph_t graph = nullptr;
  EXPECT_EQ(cudaStreamEndCapture(stream.get(), &graph), cudaErrorStreamCaptureInvalidated);
  (void)cudaGetLastError();
  the_allocator().empty_cache(gpu());
  EXPECT_LE(stats().reserved_bytes, before);
}

TEST_F(Allocation, MoreThanThereIsIsToldAsThatWhileOthersCapture) {
  const auto too_much = [] {
    std::thread([] {
      const auto text = failure(Status::MemoryAllocationFailed,
                                [] { the_allocator().allocate(size_t{1} << 46, gpu()); });
      EXPECT_TRUE(contains(text, "cannot allocate 70368744177664 bytes on cuda:0")) << text;
      EXPECT_EQ(cudaPeekAtLastError(), cudaSuccess);
    }).join();
  };
  // Ours, which goes on: nothing waits for the device, nor for the end of the recording.
  const Tensor target = Tensor::empty(Ints{100}, DType::UInt8, gpu());
  const Stream stream(0);
  int calls = 0;
  const auto graph = cuda_interface().record(gpu(), stream.get(), [&] {
    ++calls;
    target.zero_();
    too_much();
  });
  EXPECT_EQ(calls, 1);
  // Somebody else's.
  AOTINY_CUDA_CHECK(cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeGlobal));
  too_much();
  cudaGraph_t spoilt = nullptr;
  if (cudaStreamEndCapture(stream.get(), &spoilt) == cudaSuccess) (void)cudaGraphDestroy(spoilt);
  (void)cudaGetLastError();
}

TEST_F(Allocation, WorksWhileAnotherThreadCaptures) {
  const Tensor input = Tensor::empty(Ints{1000}, DType::Float32, gpu());
  const Tensor output = Tensor::empty(Ints{1000}, DType::Float32, gpu());
  const auto use = [](cudaStream_t stream) {
    const StreamGuard guard(0, stream);
    for (int64_t i = 1; i < 20; ++i) {
      const Tensor one = Tensor::empty(Ints{i << 20}, DType::Float32, gpu());
      const Tensor other = Tensor::empty(Ints{i << 20}, DType::Float32, gpu());
      one.zero_();
      other.copy_(one);
    }
  };
  const Stream stream(0);
  Captured graph([&] {
    const Tensor before = input.to(DType::BFloat16);
    std::thread([&] {
      EXPECT_NO_THROW(use(stream.get()));
      EXPECT_NO_THROW(use(nullptr));
    }).join();
    output.copy_(before);
  });
  AOTINY_CUDA_CHECK(cudaDeviceSynchronize());
  input.copy_(Tensor::scalar(0.5f));
  AOTINY_CUDA_CHECK(cudaDeviceSynchronize());
  graph.run();
  EXPECT_EQ(values_of<float>(output.to(kCPU)), std::vector<float>(1000, 0.5f));
}

TEST_F(Allocation, ThreadsAllocateAtTheSameTime) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([] {
      const Stream stream(0);
      const StreamGuard guard(0, stream.get());
      for (int i = 1; i < 300; ++i) const Scratch<char> scratch(i * 1000, gpu());
      AOTINY_CUDA_CHECK(cudaStreamSynchronize(stream.get()));
    });
  }
  const uint64_t before = stats().num_allocations;
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(stats().num_allocations - before, 8u * 299u);
}

}  // namespace
}  // namespace aotiny::cuda
