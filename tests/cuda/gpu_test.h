// What the tests of the CUDA library share.
#pragma once

#include "aotiny/core/cuda_interface.h"
#include "aotiny/core/guard.h"
#include "aotiny/core/stream.h"
#include "shim_test.h"

namespace aotiny::cuda {

inline Device gpu(int index = 0) { return {DeviceType::CUDA, static_cast<int8_t>(index)}; }

// Skips where there is no GPU, with the reason. Fails a test that leaves device memory allocated.
class GpuTest : public ::testing::Test {
 protected:
  void SetUp() override {
    try {
      device_interface(DeviceType::CUDA);
    } catch (const Error& error) {
      GTEST_SKIP() << error.what();
    }
    before_ = allocated();
  }
  void TearDown() override {
    if (!IsSkipped()) {
      EXPECT_EQ(allocated(), before_) << "bytes of device memory leaked";
    }
  }

 private:
  static uint64_t allocated() {
    uint64_t sum = 0;
    for (int i = 0; i < device_count(); ++i) {
      sum += cuda_interface().allocator().stats(gpu(i)).allocated_bytes;
    }
    return sum;
  }
  uint64_t before_ = 0;
};

// The sentence of the failure, which has this status.
template <class Call>
std::string failure(Status status, Call&& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), status) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "nothing failed";
  return "";
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// Keeps a stream busy for some milliseconds, writing `value` into all of the memory again and
// again.
inline void keep_busy(cudaStream_t stream, void* data, size_t nbytes, int value) {
  for (int i = 0; i < 100; ++i) {
    AOTINY_CUDA_CHECK(cudaMemsetAsync(data, value, nbytes, stream));
  }
}

// For a scope, the first GPU has `more` bytes for what is allocated in it.
class MemoryLimit {
 public:
  explicit MemoryLimit(uint64_t more) {
    const auto stats = cuda_interface().allocator().stats(gpu());
    cuda_interface().set_memory_limit(gpu(), stats.allocated_bytes + more);
  }
  ~MemoryLimit() { cuda_interface().set_memory_limit(gpu(), 0); }
};

// A graph of what `body` puts into a stream of its own, which is current meanwhile.
class Captured {
 public:
  template <class Body>
  explicit Captured(Body&& body) : stream_(0), guard_(0, stream_.get()) {
    AOTINY_CUDA_CHECK(cudaStreamBeginCapture(stream_.get(), cudaStreamCaptureModeGlobal));
    body();
    cudaGraph_t graph = nullptr;
    AOTINY_CUDA_CHECK(cudaStreamEndCapture(stream_.get(), &graph));
    AOTINY_CUDA_CHECK(cudaGraphInstantiate(&graph_, graph, 0));
    AOTINY_CUDA_CHECK(cudaGraphDestroy(graph));
  }
  ~Captured() { (void)cudaGraphExecDestroy(graph_); }

  // After what the test has put into the default stream, which this one does not wait for.
  void run() {
    AOTINY_CUDA_CHECK(cudaDeviceSynchronize());
    AOTINY_CUDA_CHECK(cudaGraphLaunch(graph_, stream_.get()));
    AOTINY_CUDA_CHECK(cudaStreamSynchronize(stream_.get()));
  }

 private:
  Stream stream_;
  StreamGuard guard_;
  cudaGraphExec_t graph_ = nullptr;
};

}  // namespace aotiny::cuda
