#include "aotiny/runtime/device_runner.h"

namespace aotiny {

DeviceRunner::DeviceRunner(Container& container, std::string name, Device device,
                           int64_t num_models, bool cuda_graph)
    : container_(container),
      name_(std::move(name)),
      device_(device),
      interface_(device_interface(device.type)),
      in_turn_(num_models == 1),
      done_(interface_.make_event(device)) {
  if (cuda_graph) graphs_ = std::make_unique<GraphRunner>(container, name_, device);
}

DeviceRunner::~DeviceRunner() {
  try {
    if (in_turn_) {
      done_->synchronize();
    } else {
      interface_.synchronize(device_);
    }
  } catch (const Error&) {  // the device is ruined, which the next call will say
  }
}

std::vector<Tensor> DeviceRunner::run(std::span<const Tensor> inputs) {
  void* stream = interface_.current_stream(device_);
  if (!in_turn_) {
    require(!interface_.is_capturing(device_), Status::InvalidState, name_,
            " was loaded with num_models above 1: its runs wait for each other on the host and "
            "cannot be captured into a graph");
    return container_.run(inputs, stream);
  }
  const std::lock_guard lock(mutex_);
  return run_in_turn(inputs, stream);
}

std::vector<Tensor> DeviceRunner::run_in_turn(std::span<const Tensor> inputs, void* stream) {
  if (interface_.is_capturing(device_)) {
    require(!graphs_, Status::InvalidState, name_,
            " was loaded with cuda_graph: it records graphs of its own and cannot be captured into "
            "another one");
    require(has_run_, Status::InvalidState, name_,
            " has to run once before a run is captured into a graph: the first one loads kernels");
    return container_.run_single_threaded(inputs, stream);
  }
  if (has_run_ && last_stream_ != stream) done_->block(stream);
  // Also a run that fails may have put work into the stream.
  struct Finish {
    ~Finish() {
      try {
        runner.done_->record(stream);
        runner.last_stream_ = stream;
        runner.has_run_ = true;
      } catch (const Error&) {  // the device is ruined, which the next call will say
      }
    }
    DeviceRunner& runner;
    void* stream;
  } const finish{*this, stream};
  if (graphs_) return graphs_->run(inputs, stream);
  std::vector<Tensor> outputs;
  interface_.outside_capture([&] { outputs = container_.run_single_threaded(inputs, stream); });
  return outputs;
}

}  // namespace aotiny
