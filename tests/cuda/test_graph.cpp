// Streams, events and recorded graphs, as the runtime uses them through the DeviceInterface.
#include "aotiny/core/graph.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "gpu_test.h"

namespace aotiny::cuda {
namespace {

constexpr size_t kBytes = size_t{1} << 20;

class Graph : public GpuTest {};

std::vector<uint8_t> bytes_of(const Tensor& tensor) {
  const Tensor host = tensor.to(kCPU);
  const auto* data = host.data<uint8_t>();
  return {data, data + host.numel()};
}

Tensor bytes(size_t count, int device = 0) {
  const int64_t sizes[] = {static_cast<int64_t>(count)};
  Tensor tensor = Tensor::empty(sizes, DType::UInt8, gpu(device));
  tensor.zero_();
  cuda_interface().synchronize(gpu(device));
  return tensor;
}

void set(const Tensor& tensor, int value, cudaStream_t stream) {
  AOTINY_CUDA_CHECK(
      cudaMemsetAsync(tensor.raw_data(), value, static_cast<size_t>(tensor.numel()), stream));
}

TEST_F(Graph, RecordsInsteadOfRunning) {
  CudaInterface& interface = cuda_interface();
  for (int device = 0; device < device_count(); ++device) {
    const Tensor target = bytes(kBytes, device);
    const auto stream = interface.make_stream(gpu(device));
    const auto handle = static_cast<cudaStream_t>(stream->get());
    const auto graph = interface.record(gpu(device), stream->get(), [&] {
      EXPECT_EQ(interface.current_stream(gpu(device)), stream->get());
      EXPECT_TRUE(interface.is_capturing(gpu(device)));
      const Tensor scratch = Tensor::empty(target.sizes(), DType::UInt8, gpu(device));
      set(scratch, 7, handle);
      target.copy_(scratch);
    });
    EXPECT_EQ(interface.current_stream(gpu(device)), nullptr);
    EXPECT_EQ(bytes_of(target), std::vector<uint8_t>(kBytes, 0));
    for (int round = 0; round < 3; ++round) {
      graph->launch(stream->get());
      AOTINY_CUDA_CHECK(cudaStreamSynchronize(handle));
      EXPECT_EQ(bytes_of(target), std::vector<uint8_t>(kBytes, 7));
      target.zero_();
    }
    interface.synchronize(gpu(device));
  }
}

TEST_F(Graph, WorkThatFailsEndsTheRecording) {
  CudaInterface& interface = cuda_interface();
  const Tensor target = bytes(kBytes);
  const auto stream = interface.make_stream(gpu());
  const auto handle = static_cast<cudaStream_t>(stream->get());
  const std::string own = failure(Status::NotFound, [&] {
    (void)interface.record(gpu(), stream->get(), [&] {
      const Tensor scratch = Tensor::empty(target.sizes(), DType::UInt8, gpu());
      set(scratch, 1, handle);
      fail(Status::NotFound, "no ", 42);
    });
  });
  EXPECT_EQ(own, "no 42");
  // What waits for the stream is refused, and the recording goes on until the failure ends it.
  const std::string waits = failure(Status::InvalidState, [&] {
    (void)interface.record(gpu(), stream->get(), [&] { (void)target.to(kCPU); });
  });
  EXPECT_TRUE(contains(waits, "waits for the stream")) << waits;
  // What CUDA itself refuses, unnoticed by the work.
  const std::string spoilt = failure(Status::InvalidState, [&] {
    (void)interface.record(gpu(), stream->get(), [&] { (void)cudaStreamSynchronize(handle); });
  });
  EXPECT_TRUE(contains(spoilt, "cudaStreamEndCapture")) << spoilt;
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  EXPECT_EQ(capture_id(handle), kNoCapture);

  const auto graph = interface.record(gpu(), stream->get(), [&] { set(target, 3, handle); });
  graph->launch(stream->get());
  AOTINY_CUDA_CHECK(cudaStreamSynchronize(handle));
  EXPECT_EQ(bytes_of(target), std::vector<uint8_t>(kBytes, 3));
}

TEST_F(Graph, OtherThreadsGoOnMeanwhile) {
  CudaInterface& interface = cuda_interface();
  const Tensor target = bytes(kBytes);
  const auto stream = interface.make_stream(gpu());
  const auto handle = static_cast<cudaStream_t>(stream->get());
  const auto graph = interface.record(gpu(), stream->get(), [&] {
    set(target, 5, handle);
    std::thread([] {
      void* memory = nullptr;
      EXPECT_EQ(cudaMalloc(&memory, 1 << 16), cudaSuccess);
      EXPECT_EQ(cudaMemset(memory, 1, 1 << 16), cudaSuccess);
      EXPECT_EQ(cudaStreamSynchronize(nullptr), cudaSuccess);
      EXPECT_EQ(cudaFree(memory), cudaSuccess);
    }).join();
  });
  graph->launch(stream->get());
  AOTINY_CUDA_CHECK(cudaStreamSynchronize(handle));
  EXPECT_EQ(bytes_of(target), std::vector<uint8_t>(kBytes, 5));
}

TEST_F(Graph, WaitsForTheDeviceAreNotMeanwhile) {
  CudaInterface& interface = cuda_interface();
  const Tensor target = bytes(kBytes);
  const auto stream = interface.make_stream(gpu());
  const auto handle = static_cast<cudaStream_t>(stream->get());
  std::atomic<bool> is_over{false}, was_over{false};
  std::thread waiting;
  int calls = 0;
  const auto graph = interface.record(gpu(), stream->get(), [&] {
    if (++calls == 1) {
      waiting = std::thread([&] {
        interface.synchronize(gpu());  // put off
        was_over = is_over.load();
      });
      const std::string own = failure(Status::InvalidState, [&] { interface.synchronize(gpu()); });
      EXPECT_TRUE(contains(own, "while a graph is recorded")) << own;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      // Somebody else's, which CUDA refuses and which spoils the recording: it is made again.
      std::thread([] { EXPECT_NE(cudaDeviceSynchronize(), cudaSuccess); }).join();
    }
    set(target, calls, handle);
    is_over = calls > 1;
  });
  waiting.join();
  EXPECT_TRUE(was_over);
  EXPECT_EQ(calls, 2);
  graph->launch(stream->get());
  AOTINY_CUDA_CHECK(cudaStreamSynchronize(handle));
  EXPECT_EQ(bytes_of(target), std::vector<uint8_t>(kBytes, 2));
}

TEST_F(Graph, NeedsAStreamOfItsOwn) {
  CudaInterface& interface = cuda_interface();
  const auto nothing = [] {};
  const std::string sentence =
      failure(Status::InvalidState, [&] { (void)interface.record(gpu(), nullptr, nothing); });
  EXPECT_TRUE(contains(sentence, "a default stream")) << sentence;
  const auto stream = interface.make_stream(gpu());
  const std::string twice = failure(Status::InvalidState, [&] {
    (void)interface.record(gpu(), stream->get(),
                           [&] { (void)interface.record(gpu(), stream->get(), nothing); });
  });
  EXPECT_TRUE(contains(twice, "captured already")) << twice;
}

TEST_F(Graph, EventsOrderStreams) {
  CudaInterface& interface = cuda_interface();
  const Tensor target = bytes(size_t{64} << 20);
  const auto first = interface.make_stream(gpu()), second = interface.make_stream(gpu());
  const auto event = interface.make_event(gpu());
  event->synchronize();  // nothing was recorded
  for (int round = 0; round < 3; ++round) {
    const auto stream = static_cast<cudaStream_t>(first->get());
    keep_busy(stream, target.raw_data(), static_cast<size_t>(target.numel()), 1);
    set(target, 2, stream);
    event->record(first->get());
    event->block(second->get());
    set(target, 3, static_cast<cudaStream_t>(second->get()));
    event->record(second->get());
    event->synchronize();
    EXPECT_EQ(bytes_of(target), std::vector<uint8_t>(size_t{64} << 20, 3));
  }
}

TEST_F(Graph, TheCurrentDeviceIsAnotherForAScope) {
  CudaInterface& interface = cuda_interface();
  const int last = device_count() - 1;
  const auto current = [] {
    int device = -1;
    EXPECT_EQ(cudaGetDevice(&device), cudaSuccess);
    return device;
  };
  std::thread([&] {
    {
      const auto stream = interface.make_stream(gpu(last));
      const DeviceScope scope(gpu(last), stream->get());
      EXPECT_EQ(current(), last);
      EXPECT_EQ(interface.current_stream(gpu(last)), stream->get());
      const DeviceScope on_cpu(kCPU);
      EXPECT_EQ(current(), last);
    }
    EXPECT_EQ(current(), 0);
    EXPECT_EQ(interface.current_stream(gpu(last)), nullptr);
  }).join();
  const std::string sentence =
      failure(Status::InvalidArgument, [&] { interface.push_current(device_count()); });
  EXPECT_TRUE(contains(sentence, "cuda:" + std::to_string(device_count()))) << sentence;
}

TEST_F(Graph, AnErrorOfOthersIsTaken) {
  void* memory = nullptr;
  (void)cudaMalloc(&memory, size_t{1} << 60);  // fails, and leaves the error behind
  EXPECT_EQ(cuda_interface().take_error(gpu()), "");
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

}  // namespace
}  // namespace aotiny::cuda
