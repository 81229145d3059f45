// A compiled model, loaded from a .pt2 package and ready to run.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "aotiny/core/tensor.h"
#include "aotiny/runtime/container.h"
#include "aotiny/runtime/manifest.h"
#include "aotiny/runtime/package.h"

namespace aotiny {

struct ModelOptions {
  Device device = kCPU;
  int64_t num_models = 1;  // how many threads can run the model at the same time
  std::string name;        // which model of the package; empty for the only one
};

class Model {
 public:
  // Fails with NotFound or AccessFailed (the file), InvalidProgram (the package), NotSupported
  // (this machine) or OperatorMissing (naming all symbols and operators that are missing).
  explicit Model(const std::string& path, const ModelOptions& options = {});
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  // Runs the model on inputs that fit its manifest; strided ones are copied where need be. Without
  // a manifest only their number and that they are on the model's device is checked, and the caller
  // answers for dtypes and shapes. Outputs may share memory with inputs where the model returns
  // (a view of) one; an output that is None is an undefined tensor. Buffers that the model
  // changes, such as a KV cache, keep their values between runs and are shared by all threads.
  std::vector<Tensor> run(std::span<const Tensor> inputs);

  const std::string& path() const noexcept { return package_.file().path(); }
  const std::optional<Manifest>& manifest() const noexcept { return manifest_; }
  const std::optional<std::string>& manifest_text() const noexcept { return package_.manifest(); }
  const std::map<std::string, std::string>& metadata() const noexcept { return part_.metadata; }
  size_t num_inputs() const noexcept { return container_->num_inputs(); }
  size_t num_outputs() const noexcept { return container_->num_outputs(); }
  const std::vector<Container::Constant>& constants() const noexcept {
    return container_->constants();
  }

 private:
  void load_constants();
  void use_weights(uint64_t nbytes);
  const ConstantSpec* find_constant(const std::string& name) const;

  Package package_;
  const PackagedModel& part_;
  Device device_;
  std::string name_;  // for messages: path, and the model's name where there are several
  std::optional<Manifest> manifest_;
  Mapping weights_;  // outlives the container, which points into it
  std::unique_ptr<Container> container_;
};

}  // namespace aotiny
