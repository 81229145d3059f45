// A compiled model, loaded from a .pt2 package and ready to run.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "aotiny/core/tensor.h"
#include "aotiny/core/turns.h"
#include "aotiny/runtime/container.h"
#include "aotiny/runtime/device_runner.h"
#include "aotiny/runtime/program.h"

namespace aotiny {

class Model {
 public:
  // Fails with NotFound or AccessFailed (the file), InvalidProgram (the package), NotSupported
  // (this machine) or OperatorMissing (naming all symbols and operators that are missing).
  explicit Model(const std::string& path, const ModelOptions& options = {});
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  // Another one of the same code and weights, as if just loaded: the buffers that runs change, such
  // as a KV cache, and recorded graphs are its own, so it can be run by another thread meanwhile.
  // With a manifest it takes no memory for the constants that no run changes, except on a device
  // where the package has a constant on the CPU: then each instance has all of them.
  std::unique_ptr<Model> instance() const;

  // Runs the model on inputs that fit its manifest; strided ones are copied where need be. Without
  // a manifest only their number and that they are on the model's device is checked, and the caller
  // answers for dtypes and shapes. Outputs may share memory with inputs where the model returns
  // (a view of) one, but not with cuda_graph; an output that is None is an undefined tensor.
  // Buffers that the model changes keep their values between runs and are shared by all threads.
  //
  // On a device the run takes its place in the calling thread's current stream, and returns before
  // it is done.
  std::vector<Tensor> run(std::span<const Tensor> inputs);

  Device device() const noexcept { return program_->options.device; }
  bool uses_cuda_graph() const noexcept { return program_->options.cuda_graph; }
  const std::string& path() const noexcept { return program_->package->file().path(); }
  const std::optional<Manifest>& manifest() const noexcept { return program_->manifest; }
  const std::optional<std::string>& manifest_text() const noexcept {
    return program_->package->manifest();
  }
  const std::map<std::string, std::string>& metadata() const noexcept {
    return program_->part.metadata;
  }
  size_t num_inputs() const noexcept { return container_->num_inputs(); }
  size_t num_outputs() const noexcept { return container_->num_outputs(); }
  const std::vector<Container::Constant>& constants() const noexcept {
    return container_->constants();
  }

 private:
  explicit Model(std::shared_ptr<Program> program);

  void load_constants();
  void use_mapped(const ZipEntry& weights);
  void use_on_device(const ZipEntry& weights);
  const ConstantSpec& described(const Container::Constant& constant) const;

  std::shared_ptr<Program> program_;
  // What the container points into.
  Mapping mapped_;                      // on the CPU: the constants
  std::unique_ptr<DeviceWeights> own_;  // on a device: those that runs change
  std::unique_ptr<Container> container_;
  std::unique_ptr<DeviceRunner> runner_;  // null on the CPU
  Turns turns_;                           // for runs on the CPU: as many as there are models
};

}  // namespace aotiny
