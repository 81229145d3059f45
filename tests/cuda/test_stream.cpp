// Current streams, waiting for streams, captures.
#include "aotiny/core/stream.h"

#include <thread>

#include "gpu_test.h"

namespace aotiny::cuda {
namespace {

using Streams = GpuTest;

TEST_F(Streams, CurrentIsAMatterOfTheThread) {
  const Stream stream(0);
  const StreamGuard guard(0, stream.get());
  cudaStream_t elsewhere = stream.get();
  std::thread([&] { elsewhere = current_stream(0); }).join();
  EXPECT_EQ(elsewhere, nullptr);
  EXPECT_EQ(current_stream(0), stream.get());
}

TEST_F(Streams, UnknownDevicesAreRefused) {
  const int count = device_count();
  failure(Status::InvalidArgument, [&] { current_stream(count); });
  failure(Status::InvalidArgument, [&] { set_current_stream(-1, nullptr); });
  failure(Status::InvalidArgument, [&] { Stream stream(count); });
}

TEST_F(Streams, TheThreadsDefaultStreamIsRefused) {
  const auto text =
      failure(Status::InvalidArgument, [] { set_current_stream(0, cudaStreamPerThread); });
  EXPECT_TRUE(text.starts_with("stream 2 cannot be the current stream of cuda:0")) << text;
  EXPECT_EQ(current_stream(0), nullptr);
}

TEST_F(Streams, OneWaitsForAnother) {
  const Stream first(0), second(0);
  const int64_t nbytes = 64 << 20;
  const Tensor block = Tensor::empty(Ints{nbytes}, DType::UInt8, gpu());
  AOTINY_CUDA_CHECK(cudaDeviceSynchronize());
  keep_busy(first.get(), block.raw_data(), nbytes, 1);
  wait_for_stream(0, second.get(), 0, first.get());
  AOTINY_CUDA_CHECK(cudaMemsetAsync(block.raw_data(), 2, nbytes, second.get()));
  AOTINY_CUDA_CHECK(cudaDeviceSynchronize());
  const auto values = values_of<uint8_t>(block.to(kCPU));
  EXPECT_EQ(std::count(values.begin(), values.end(), 2), nbytes);
}

TEST_F(Streams, WaitingDuringACaptureIsRefusedAndDoesNotSpoilIt) {
  const Tensor block = Tensor::empty(Ints{100}, DType::UInt8, gpu());
  Captured graph([&] {
    EXPECT_NE(capture_id(current_stream(0)), kNoCapture);
    block.zero_();
    const auto text =
        failure(Status::InvalidState, [] { synchronize_stream(0, current_stream(0), "the test"); });
    EXPECT_TRUE(text.starts_with("the test waits for the stream")) << text;
  });
  AOTINY_CUDA_CHECK(cudaMemset(block.raw_data(), 7, 100));
  graph.run();
  EXPECT_EQ(values_of<uint8_t>(block.to(kCPU)), std::vector<uint8_t>(100, 0));
  EXPECT_EQ(capture_id(nullptr), kNoCapture);
}

TEST_F(Streams, ASpoiltCaptureIsStillOne) {
  const Stream stream(0);
  AOTINY_CUDA_CHECK(cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeThreadLocal));
  const uint64_t id = capture_id(stream.get());
  EXPECT_NE(id, kNoCapture);
  EXPECT_NE(id, kForbidden);
  EXPECT_NE(cudaStreamSynchronize(stream.get()), cudaSuccess);
  EXPECT_EQ(capture_id(stream.get()), kForbidden);
  cudaGraph_t graph = nullptr;
  EXPECT_EQ(cudaStreamEndCapture(stream.get(), &graph), cudaErrorStreamCaptureInvalidated);
  (void)cudaGetLastError();
  EXPECT_EQ(capture_id(stream.get()), kNoCapture);
}

}  // namespace
}  // namespace aotiny::cuda
