// Runs a container by replaying recorded runs: a launch instead of one for each kernel.
//
// The first run with inputs of some shapes is an ordinary one, which also loads kernels and asks
// for workspaces; then the same run is recorded. Recording executes nothing, so buffers that the
// model changes, such as a KV cache, advance once in every call. Later calls copy their inputs to
// where the recording reads them, launch it, and copy the outputs to new tensors.
#pragma once

#include <list>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "aotiny/core/device_interface.h"
#include "aotiny/runtime/container.h"

namespace aotiny {

class GraphRunner {
 public:
  // How many recordings are kept; the one that was not used for longest goes.
  static constexpr size_t kMaxRecordings = 32;

  GraphRunner(Container& container, std::string name, Device device);

  // The run takes its place in `stream`, the device's current one, which is not being captured.
  // Inputs are on the device; what a model writes to them stays in its copy. Outputs are new
  // tensors, dense, never shared with inputs. Fails with NotSupported, with the reason, if the
  // model cannot be recorded: after its first run, which has taken place. One thread at a time.
  std::vector<Tensor> run(std::span<const Tensor> inputs, void* stream);

 private:
  struct Recording {
    std::vector<int64_t> shapes;
    std::vector<Tensor> inputs, outputs;  // where the graph reads and writes
    std::unique_ptr<DeviceGraph> graph;
  };

  std::vector<Tensor> record(std::span<const Tensor> inputs, std::vector<int64_t> shapes,
                             void* stream);
  std::vector<Tensor> copy_out(std::span<const Tensor> outputs, void* stream) const;

  Container& container_;
  std::string name_;
  Device device_;
  DeviceInterface& interface_;
  std::unique_ptr<DeviceStream> stream_;  // where runs are; outlives the recordings' memory
  std::list<Recording> recordings_;       // the last used first
};

}  // namespace aotiny
