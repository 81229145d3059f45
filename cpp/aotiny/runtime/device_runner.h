// Runs a container on a device: in the calling thread's stream, one run after the other.
#pragma once

#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "aotiny/core/device_interface.h"
#include "aotiny/runtime/container.h"
#include "aotiny/runtime/graph_runner.h"

namespace aotiny {

class DeviceRunner {
 public:
  // `name` is for messages. The container must outlive it.
  DeviceRunner(Container& container, std::string name, Device device, int64_t num_models,
               bool cuda_graph);
  // Waits for the runs, which use the container's kernels and memory.
  ~DeviceRunner();
  DeviceRunner(const DeviceRunner&) = delete;
  DeviceRunner& operator=(const DeviceRunner&) = delete;

  // Puts a run into the device's current stream. With one model, a run waits, on the device, for
  // the one before, whichever stream that was in: they share the buffers that runs change. With
  // more, the container hands each run a model that is done.
  std::vector<Tensor> run(std::span<const Tensor> inputs);

 private:
  std::vector<Tensor> run_in_turn(std::span<const Tensor> inputs, void* stream);

  Container& container_;
  std::string name_;
  Device device_;
  DeviceInterface& interface_;
  bool in_turn_;
  std::mutex mutex_;  // of what follows
  std::unique_ptr<GraphRunner> graphs_;
  std::unique_ptr<DeviceEvent> done_;  // the end of the last run
  void* last_stream_ = nullptr;        // that it was in
  bool has_run_ = false;
};

}  // namespace aotiny
