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
  // In a stream that the caller captures. With turn_ held.
  std::vector<Tensor> run_captured(std::span<const Tensor> inputs, void* stream);
  // Notes that the stream holds the end of a run.
  void note_end(void* stream) noexcept;

  Container& container_;
  std::string name_;
  Device device_;
  DeviceInterface& interface_;
  bool in_turn_;
  std::mutex turn_;  // of a run; guards what follows
  std::unique_ptr<GraphRunner> graphs_;
  bool has_run_ = false;                // without failing
  std::mutex end_mutex_;                // of what follows
  std::unique_ptr<DeviceEvent> end_;    // of the last run
  std::unique_ptr<DeviceStream> ends_;  // which waits for the ends of all runs; null if in_turn_
};

}  // namespace aotiny
