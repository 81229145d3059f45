#include "aotiny/runtime/device_runner.h"

namespace aotiny {

DeviceRunner::DeviceRunner(Container& container, std::string name, Device device,
                           int64_t num_models, bool cuda_graph)
    : container_(container),
      name_(std::move(name)),
      device_(device),
      interface_(device_interface(device.type)),
      in_turn_(num_models == 1),
      end_(interface_.make_event(device)) {
  if (cuda_graph) graphs_ = std::make_unique<GraphRunner>(container, name_, device);
  if (!in_turn_) ends_ = interface_.make_stream(device);
}

DeviceRunner::~DeviceRunner() {
  try {
    if (ends_) end_->record(ends_->get());
    end_->synchronize();
  } catch (const Error&) {  // the device is ruined, which the next call will say
  }
}

void DeviceRunner::note_end(void* stream) noexcept {
  try {
    const std::lock_guard lock(end_mutex_);
    end_->record(stream);
    if (ends_) end_->block(ends_->get());
  } catch (const Error&) {  // the device is ruined, which the next call will say
  }
}

std::vector<Tensor> DeviceRunner::run(std::span<const Tensor> inputs) {
  void* stream = interface_.current_stream(device_);
  // Also a run that fails may have put work into the stream.
  struct Finish {
    ~Finish() { runner.note_end(stream); }
    DeviceRunner& runner;
    void* stream;
  };
  const bool is_captured = interface_.is_capturing(device_);
  if (!in_turn_) {
    require(!is_captured, Status::InvalidState, name_,
            " was loaded with num_models above 1: its runs wait for each other on the host and "
            "cannot be captured into a graph");
    const Finish finish{*this, stream};
    return container_.run(inputs, stream);
  }
  const std::lock_guard lock(turn_);
  if (is_captured) return run_captured(inputs, stream);
  // Whichever stream the last run was in: a handle may by now be that of another stream.
  end_->block(stream);
  const Finish finish{*this, stream};
  std::vector<Tensor> outputs =
      graphs_ ? graphs_->run(inputs, stream) : container_.run_single_threaded(inputs, stream);
  has_run_ = true;
  return outputs;
}

std::vector<Tensor> DeviceRunner::run_captured(std::span<const Tensor> inputs, void* stream) {
  require(!graphs_, Status::InvalidState, name_,
          " was loaded with cuda_graph: it records graphs of its own and cannot be captured into "
          "another one");
  require(has_run_, Status::InvalidState, name_,
          " has to run once before a run is captured into a graph: the first one loads kernels");
  return container_.run_single_threaded(inputs, stream);
}

}  // namespace aotiny
