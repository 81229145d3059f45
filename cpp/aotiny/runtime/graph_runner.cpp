#include "aotiny/runtime/graph_runner.h"

#include <algorithm>

namespace aotiny {
namespace {

// What tells one recording from another: dtypes, sizes and strides.
std::vector<int64_t> shapes_of(std::span<const Tensor> tensors) {
  std::vector<int64_t> shapes;
  for (const Tensor& tensor : tensors) {
    shapes.push_back(static_cast<int64_t>(tensor.dtype()));
    shapes.push_back(tensor.ndim());
    shapes.insert(shapes.end(), tensor.sizes().begin(), tensor.sizes().end());
    shapes.insert(shapes.end(), tensor.strides().begin(), tensor.strides().end());
  }
  return shapes;
}

Tensor empty_like(const Tensor& tensor) {
  return Tensor::empty_strided(tensor.sizes(), preserved_strides(tensor.sizes(), tensor.strides()),
                               tensor.dtype(), tensor.device());
}

// Makes the caller's stream wait for ours at the end of a scope, however that is left: memory that
// the caller's stream orders, such as the inputs, is then not used any more.
class Rejoin {
 public:
  Rejoin(DeviceInterface& interface, Device device, void* stream, void* own)
      : interface_(interface), device_(device), stream_(stream), own_(own) {
    interface_.wait_for_stream(device_, own_, stream_);
  }
  ~Rejoin() {
    try {
      interface_.wait_for_stream(device_, stream_, own_);
    } catch (const Error&) {  // the device is ruined, which the next call will say
    }
  }
  Rejoin(const Rejoin&) = delete;
  Rejoin& operator=(const Rejoin&) = delete;

 private:
  DeviceInterface& interface_;
  Device device_;
  void* stream_;
  void* own_;
};

}  // namespace

GraphRunner::GraphRunner(Container& container, std::string name, Device device)
    : container_(container),
      name_(std::move(name)),
      device_(device),
      interface_(device_interface(device.type)),
      stream_(interface_.make_stream(device)) {}

std::vector<Tensor> GraphRunner::run(std::span<const Tensor> inputs, void* stream) {
  std::vector<int64_t> shapes = shapes_of(inputs);
  const auto found = std::ranges::find(recordings_, shapes, &Recording::shapes);
  if (found == recordings_.end()) return record(inputs, std::move(shapes), stream);
  recordings_.splice(recordings_.begin(), recordings_, found);
  const Recording& recording = recordings_.front();
  const Rejoin rejoin(interface_, device_, stream, stream_->get());
  {
    const DeviceScope scope(device_, stream_->get());
    for (size_t i = 0; i < inputs.size(); ++i) recording.inputs[i].copy_(inputs[i]);
    recording.graph->launch(stream_->get());
  }
  return copy_out(recording.outputs, stream);
}

// New tensors of the caller's stream, filled in ours, which alone reads the recording's.
std::vector<Tensor> GraphRunner::copy_out(std::span<const Tensor> outputs, void* stream) const {
  std::vector<Tensor> copies;
  for (const Tensor& output : outputs) {
    copies.push_back(output.defined() ? empty_like(output) : Tensor());
  }
  interface_.wait_for_stream(device_, stream_->get(), stream);  // for what held the memory before
  const DeviceScope scope(device_, stream_->get());
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (outputs[i].defined()) copies[i].copy_(outputs[i]);
  }
  return copies;
}

std::vector<Tensor> GraphRunner::record(std::span<const Tensor> inputs, std::vector<int64_t> shapes,
                                        void* stream) {
  Recording recording;
  recording.shapes = std::move(shapes);
  const Rejoin rejoin(interface_, device_, stream, stream_->get());
  std::vector<Tensor> results;
  {
    const DeviceScope scope(device_, stream_->get());
    for (const Tensor& input : inputs) {
      recording.inputs.push_back(
          Tensor::empty_strided(input.sizes(), input.strides(), input.dtype(), input.device()));
      recording.inputs.back().copy_(input);
    }
    results = container_.run_single_threaded(recording.inputs, stream_->get());
    for (const Tensor& result : results) {
      recording.outputs.push_back(result.defined() ? empty_like(result) : Tensor());
    }
  }
  results = copy_out(results, stream);

  try {
    recording.graph = interface_.record(device_, stream_->get(), [&] {
      const std::vector<Tensor> outputs =
          container_.run_single_threaded(recording.inputs, stream_->get());
      for (size_t i = 0; i < outputs.size(); ++i) {
        const Tensor& target = recording.outputs[i];
        require(outputs[i].defined() == target.defined() &&
                    std::ranges::equal(outputs[i].sizes(), target.sizes()) &&
                    outputs[i].dtype() == target.dtype(),
                Status::Internal, "output ", i, " was ", target, " and is now ", outputs[i]);
        if (target.defined()) target.copy_(outputs[i]);
      }
    });
  } catch (const Error& error) {
    // Not the recording's fault: a kernel of the run before, which is told only now.
    if (!interface_.take_error(device_).empty()) throw;
    const bool no_memory = error.status() == Status::MemoryAllocationFailed;
    fail(no_memory ? error.status() : Status::NotSupported, name_,
         " cannot be recorded as a CUDA graph: load it without cuda_graph. ", error.what());
  }
  if (recordings_.size() == kMaxRecordings) recordings_.pop_back();
  recordings_.push_front(std::move(recording));
  return results;
}

}  // namespace aotiny
