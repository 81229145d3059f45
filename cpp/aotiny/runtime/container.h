// The C entry points of a compiled model, as functions that throw.
//
// A model's own message is merged with the sentence that a failing shim left behind: the model says
// where, the shim says what.
#pragma once

#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "aotiny/abi/aoti_torch.h"
#include "aotiny/core/tensor.h"
#include "aotiny/runtime/library.h"

namespace aotiny {

class Container {
 public:
  // Fails with InvalidProgram if the library is no AOTInductor model or refuses. `name` is for
  // messages.
  Container(std::shared_ptr<const Library> library, const std::string& name, Device device,
            int64_t num_models);
  ~Container();
  Container(const Container&) = delete;
  Container& operator=(const Container&) = delete;

  struct Constant {
    std::string name;  // in the code
    std::string fqn;   // in the source module
    int32_t dtype;     // torch's code
    uint64_t nbytes;
    bool folded;  // computed by the model on its first run, not loaded
  };

  size_t num_inputs() const noexcept { return num_inputs_; }
  size_t num_outputs() const noexcept { return num_outputs_; }
  const std::vector<Constant>& constants() const noexcept { return constants_; }
  // For how many constants the code brought values along; the others must be set before the first
  // run.
  size_t num_loaded_constants() const { return loaded_handles().size(); }

  // Lets the model use these tensors, by the constants' names, without a copy. Their memory must
  // outlive the container. At most once.
  void use_constants(std::span<const std::pair<std::string, Tensor>> constants);
  // Copies the constants from a blob that holds them in order. At most once.
  void copy_constants(const uint8_t* blob);

  // As many inputs as num_inputs(). Threads may call it at the same time; num_models of them run at
  // once, and on a device too a model is used again only when its run is done. `stream` is the
  // device's current one; null on the CPU.
  std::vector<Tensor> run(std::span<const Tensor> inputs, void* stream = nullptr);
  // The same, for one thread at a time, and never on a container that run() was called on: it does
  // not wait for a model to be done. This is what can be captured into a graph, once it has run.
  std::vector<Tensor> run_single_threaded(std::span<const Tensor> inputs, void* stream);

 private:
  struct Functions;
  struct Entry;

  template <class Run>
  std::vector<Tensor> run_with(const Run& run, std::span<const Tensor> inputs, void* stream);

  void destroy() noexcept;
  // Runs `call`, the model's code, which may allocate, free, load and wait, wherever streams are
  // captured meanwhile.
  template <class Call>
  int32_t undisturbed(Call&& call) const;
  std::vector<AtenTensorHandle> loaded_handles() const;
  // Fails unless code is 0: with `status` if the model itself refused, with Internal if a shim did.
  void check(int32_t code, Status status, const char* action) const;

  std::string name_;
  Device device_;
  std::shared_ptr<const Library> library_;
  std::unique_ptr<const Functions> functions_;
  void* container_ = nullptr;
  size_t num_inputs_ = 0, num_outputs_ = 0;
  std::vector<Constant> constants_;
  bool uses_constants_ = false;
  std::mutex modules_mutex_;
  std::vector<void*> modules_;  // loaded by its runs, which will not unload them
};

}  // namespace aotiny
