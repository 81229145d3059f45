#include "aotiny/core/graph.h"

#include <exception>

#include "aotiny/core/check.h"
#include "aotiny/core/guard.h"
#include "aotiny/core/status.h"

namespace aotiny::cuda {
namespace {

// A wait for the whole device, by a thread that is not ours, spoils a recording.
constexpr int kMaxAttempts = 4;

// A recorded graph, destroyed with the object. Only made to be instantiated.
struct Recording {
  ~Recording() {
    if (graph == nullptr) return;
    const OutsideCapture outside;
    (void)cudaGraphDestroy(graph);
  }
  cudaGraph_t graph = nullptr;
};

class Graph final : public DeviceGraph {
 public:
  Graph(int device, cudaGraph_t recorded) : device_(device) {
    const DeviceGuard guard(device);
    AOTINY_CUDA_CHECK(cudaGraphInstantiate(&graph_, recorded, 0));
  }
  // A graph that is still running is destroyed when it is done.
  ~Graph() override {
    try {
      const DeviceGuard guard(device_);
      (void)cudaGraphExecDestroy(graph_);
      // What graphs allocate for themselves is kept for others until somebody asks for it.
      (void)cudaDeviceGraphMemTrim(device_);
    } catch (const Error&) {  // the driver is gone, or of no more use
    }
  }

  void launch(void* stream) override {
    const DeviceGuard guard(device_);
    AOTINY_CUDA_CHECK(cudaGraphLaunch(graph_, static_cast<cudaStream_t>(stream)));
  }

 private:
  int device_;
  cudaGraphExec_t graph_ = nullptr;
};

}  // namespace

void OwnEvent::record(void* stream) { event_.record(static_cast<cudaStream_t>(stream)); }

void OwnEvent::block(void* stream) {
  const DeviceGuard guard(device_);
  AOTINY_CUDA_CHECK(cudaStreamWaitEvent(static_cast<cudaStream_t>(stream), event_.get(), 0));
}

void OwnEvent::synchronize() { event_.synchronize(); }

std::unique_ptr<DeviceGraph> record_graph(int device, cudaStream_t stream,
                                          const std::function<void()>& work) {
  const StreamGuard guard(device, stream);
  require(stream != nullptr && capture_id(stream) == kNoCapture, Status::InvalidState,
          "a graph cannot be recorded in ",
          stream == nullptr ? "a default stream" : "a stream that is being captured already");
  const RecordingScope scope;
  for (int attempt = 1;; ++attempt) {
    // Other threads' calls would end a capture of the global mode.
    AOTINY_CUDA_CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    Recording recording;
    std::exception_ptr failure;
    try {
      work();
    } catch (...) {
      failure = std::current_exception();
    }
    const cudaError_t code = cudaStreamEndCapture(stream, &recording.graph);
    if (code == cudaErrorStreamCaptureInvalidated && attempt < kMaxAttempts) {
      (void)cudaGetLastError();
      continue;
    }
    if (failure) {
      (void)cudaGetLastError();
      std::rethrow_exception(failure);
    }
    if (code != cudaSuccess) fail_on(code, "cudaStreamEndCapture", __FILE__, __LINE__);
    return std::make_unique<Graph>(device, recording.graph);
  }
}

}  // namespace aotiny::cuda
