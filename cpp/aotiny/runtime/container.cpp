#include "aotiny/runtime/container.h"

#include <algorithm>
#include <unordered_map>

#include "aotiny/core/device_interface.h"
#include "aotiny/runtime/silent_stream.h"

namespace aotiny {

// AOTInductorConstantMapEntry
struct Container::Entry {
  const char* name;
  AtenTensorHandle handle;
};

// What AOTInductorModelContainerExtractConstantsMap fills, by the names in the source module. It is
// an object of the model's C++ library, which need not be ours, but has the same layout.
using ConstantMap = std::unordered_map<std::string, AtenTensorHandle>;

// The entry points that are used, with the signatures of torch 2.13's aoti_runtime/interface.h.
struct Container::Functions {
  template <class Signature>
  struct OptionalFunction {
    OptionalFunction(const Library& library, const char* symbol)
        : pointer(reinterpret_cast<Signature*>(library.find(symbol))) {}
    template <class... Arguments>
    int32_t operator()(Arguments... arguments) const {
      return pointer(arguments...);
    }
    explicit operator bool() const noexcept { return pointer != nullptr; }
    Signature* pointer;
  };
  template <class Signature>
  struct Function : OptionalFunction<Signature> {
    Function(const Library& library, const char* symbol, const std::string& name)
        : OptionalFunction<Signature>(library, symbol) {
      require(this->pointer != nullptr, Status::InvalidProgram, name,
              " is no AOTInductor model: it does not define ", symbol);
    }
  };

  Functions(const Library& l, const std::string& n)
      : create(l, "AOTInductorModelContainerCreateWithDevice", n),
        destroy(l, "AOTInductorModelContainerDelete", n),
        num_inputs(l, "AOTInductorModelContainerGetNumInputs", n),
        num_outputs(l, "AOTInductorModelContainerGetNumOutputs", n),
        num_constants(l, "AOTInductorModelContainerGetNumConstants", n),
        constant_name(l, "AOTInductorModelContainerGetConstantName", n),
        constant_fqn(l, "AOTInductorModelContainerGetConstantOriginalFQN", n),
        constant_dtype(l, "AOTInductorModelContainerGetConstantDtype", n),
        constant_size(l, "AOTInductorModelContainerGetConstantDataSize", n),
        constant_folded(l, "AOTInductorModelContainerGetConstantFromFolded", n),
        constant_map(l, "AOTInductorModelContainerExtractConstantsMap", n),
        use_constants(l, "AOTInductorModelContainerUpdateUserManagedConstantBufferPairs", n),
        copy_constants(l, "AOTInductorModelUpdateConstantsFromBlob", n),
        run(l, "AOTInductorModelContainerRun", n),
        run_single_threaded(l, "AOTInductorModelContainerRunSingleThreaded", n),
        constant_entries(l, "AOTInductorModelContainerExtractConstantsMapEntries"),
        last_error(l, "AOTInductorGetLastError") {}

  Function<int32_t(void**, size_t, const char*, const char*)> create;
  Function<int32_t(void*)> destroy;
  Function<int32_t(void*, size_t*)> num_inputs, num_outputs, num_constants;
  Function<int32_t(void*, size_t, const char**)> constant_name, constant_fqn;
  Function<int32_t(void*, size_t, int32_t*)> constant_dtype;
  Function<int32_t(void*, size_t, size_t*)> constant_size;
  Function<int32_t(void*, size_t, bool*)> constant_folded;
  Function<int32_t(void*, ConstantMap*, bool)> constant_map;
  Function<int32_t(void*, const Entry*, size_t, bool, bool)> use_constants;
  Function<int32_t(void*, const uint8_t*)> copy_constants;
  Function<int32_t(void*, AtenTensorHandle*, size_t, AtenTensorHandle*, size_t, void*, void*)> run,
      run_single_threaded;
  // Not in models of torch before 2.13.
  OptionalFunction<int32_t(void*, const Entry**, size_t*, bool)> constant_entries;
  OptionalFunction<int32_t(const char**)> last_error;
};

namespace {

// Tensors on their way into or out of a model. What is left in it is deleted.
class Handles {
 public:
  explicit Handles(size_t count) : handles_(count, nullptr) {}
  explicit Handles(std::span<const Tensor> tensors) : Handles(tensors.size()) {
    for (size_t i = 0; i < tensors.size(); ++i) {
      handles_[i] = reinterpret_cast<AtenTensorHandle>(new Tensor(tensors[i]));
    }
  }
  ~Handles() {
    // The same output twice is the same handle twice.
    std::sort(handles_.begin(), handles_.end());
    handles_.erase(std::unique(handles_.begin(), handles_.end()), handles_.end());
    for (const AtenTensorHandle handle : handles_) delete reinterpret_cast<Tensor*>(handle);
  }
  Handles(const Handles&) = delete;
  Handles& operator=(const Handles&) = delete;

  AtenTensorHandle* data() noexcept { return handles_.data(); }
  size_t size() const noexcept { return handles_.size(); }
  // An output that is None is never written: an undefined tensor.
  Tensor tensor(size_t i) const {
    return handles_[i] == nullptr ? Tensor() : *reinterpret_cast<Tensor*>(handles_[i]);
  }

 private:
  std::vector<AtenTensorHandle> handles_;
};

// Lets a call into the model start without an old sentence, and puts that back if it succeeds.
template <class Call>
int32_t with_clean_error(Call&& call) {
  const std::string before = last_error();
  set_last_error("");
  const int32_t code = call();
  if (code == 0) set_last_error(before.c_str());
  return code;
}

// Lists the modules that this thread's run loads in the container.
class ModuleScope {
 public:
  ModuleScope(Device device, std::mutex& mutex, std::vector<void*>& modules)
      : mutex_(mutex), modules_(modules) {
    if (device.type == DeviceType::CPU) return;
    interface_ = &device_interface(device.type);
    previous_ = interface_->collect_modules(&found_);
  }
  ~ModuleScope() {
    if (interface_ == nullptr) return;
    interface_->collect_modules(previous_);
    if (found_.empty()) return;
    try {
      const std::lock_guard lock(mutex_);
      modules_.insert(modules_.end(), found_.begin(), found_.end());
    } catch (const std::bad_alloc&) {  // they stay loaded
    }
  }
  ModuleScope(const ModuleScope&) = delete;
  ModuleScope& operator=(const ModuleScope&) = delete;

 private:
  DeviceInterface* interface_ = nullptr;
  std::mutex& mutex_;
  std::vector<void*>& modules_;
  std::vector<void*> found_;
  std::vector<void*>* previous_ = nullptr;
};

}  // namespace

Container::Container(std::shared_ptr<const Library> library, const std::string& name, Device device,
                     int64_t num_models)
    : name_(name),
      device_(device),
      library_(std::move(library)),
      functions_(new Functions(*library_, name)) {
  const DeviceScope scope(device_);
  const Functions& f = *functions_;
  // It takes the current device. One with an index it would make current, for good.
  const char* type = device_.type == DeviceType::CPU ? "cpu" : "cuda";
  check(undisturbed([&] {
          return with_clean_error([&] {
            return f.create(&container_, static_cast<size_t>(num_models), type, nullptr);
          });
        }),
        Status::InvalidProgram, "creating it");
  try {
    check(f.num_inputs(container_, &num_inputs_), Status::InvalidProgram, "counting its inputs");
    check(f.num_outputs(container_, &num_outputs_), Status::InvalidProgram, "counting its outputs");
    size_t num_constants = 0;
    check(f.num_constants(container_, &num_constants), Status::InvalidProgram,
          "counting its constants");
    for (size_t i = 0; i < num_constants; ++i) {
      const char *constant_name = nullptr, *fqn = nullptr;
      int32_t dtype = 0;
      size_t nbytes = 0;
      bool folded = false;
      check(f.constant_name(container_, i, &constant_name), Status::InvalidProgram,
            "naming a constant");
      check(f.constant_fqn(container_, i, &fqn), Status::InvalidProgram, "naming a constant");
      check(f.constant_dtype(container_, i, &dtype), Status::InvalidProgram,
            "describing a constant");
      check(f.constant_size(container_, i, &nbytes), Status::InvalidProgram,
            "describing a constant");
      check(f.constant_folded(container_, i, &folded), Status::InvalidProgram,
            "describing a constant");
      constants_.push_back({constant_name, fqn ? fqn : "", dtype, nbytes, folded});
    }
  } catch (...) {
    static_cast<void>(undisturbed([&] { return f.destroy(container_); }));
    throw;
  }
}

// A model on a ruined device cannot be destroyed: before torch 2.13 it ends the process when it
// fails to free its memory, which is of no more use to anyone. Its code stays, too.
Container::~Container() {
  try {
    const DeviceScope scope(device_);
    const std::string ruin = device_.type == DeviceType::CPU
                                 ? std::string()
                                 : device_interface(device_.type).take_error(device_);
    require(ruin.empty(), Status::InvalidState, ruin);
    static_cast<void>(undisturbed([&] {
      destroy();
      return 0;
    }));
  } catch (const Error&) {
    static_cast<void>(new std::shared_ptr<const Library>(library_));
  }
}

template <class Call>
int32_t Container::undisturbed(Call&& call) const {
  if (device_.type == DeviceType::CPU) return call();
  int32_t code = 0;
  device_interface(device_.type).outside_capture([&] { code = call(); });
  return code;
}

void Container::destroy() noexcept {
  // The model makes handles of its own for the constants it uses without a copy, and keeps them
  // when it goes. (Found before it goes: they are only known to it.)
  std::vector<AtenTensorHandle> kept;
  try {
    if (uses_constants_) kept = loaded_handles();
  } catch (...) {  // they stay where they are
  }
  static_cast<void>(functions_->destroy(container_));
  for (const AtenTensorHandle handle : kept) delete reinterpret_cast<Tensor*>(handle);
  if (!modules_.empty()) device_interface(device_.type).unload_modules(modules_);
}

void Container::check(int32_t code, Status status, const char* action) const {
  const std::string printed = take_printed();
  if (code == 0) return;
  const char* text = nullptr;
  if (functions_->last_error) static_cast<void>(functions_->last_error(&text));
  std::string reason = text != nullptr ? text : printed;
  if (reason.starts_with("Error: ")) reason.erase(0, 7);  // as it is printed
  while (reason.ends_with('\n')) reason.pop_back();
  if (reason.empty()) reason = "no reason given";
  const std::string shim = aotiny::last_error();
  const std::string ruin = device_.type == DeviceType::CPU
                               ? std::string()
                               : device_interface(device_.type).take_error(device_);
  fail(shim.empty() && ruin.empty() ? status : Status::Internal, name_, ": ", action,
       " failed: ", shim, shim.empty() ? "" : "; ", reason, ruin.empty() ? "" : "; ", ruin);
}

std::vector<AtenTensorHandle> Container::loaded_handles() const {
  std::vector<AtenTensorHandle> handles;
  if (functions_->constant_entries) {
    const Entry* entries = nullptr;
    size_t count = 0;
    check(functions_->constant_entries(container_, &entries, &count, false), Status::InvalidProgram,
          "listing its constants");
    for (size_t i = 0; i < count; ++i) handles.push_back(entries[i].handle);
  } else {
    ConstantMap entries;
    check(functions_->constant_map(container_, &entries, false), Status::InvalidProgram,
          "listing its constants");
    for (const auto& [name, handle] : entries) handles.push_back(handle);
  }
  return handles;
}

void Container::use_constants(std::span<const std::pair<std::string, Tensor>> constants) {
  require(!uses_constants_, Status::InvalidState, name_, ": its constants are already set");
  std::vector<Tensor> tensors;
  for (const auto& constant : constants) tensors.push_back(constant.second);
  Handles handles(tensors);
  std::vector<Entry> entries;
  for (size_t i = 0; i < constants.size(); ++i) {
    entries.push_back({constants[i].first.c_str(), handles.data()[i]});
  }
  uses_constants_ = true;
  const DeviceScope scope(device_);
  check(undisturbed([&] {
          return with_clean_error([&] {
            return functions_->use_constants(container_, entries.data(), entries.size(), false,
                                             false);
          });
        }),
        Status::InvalidProgram, "setting its constants");
}

void Container::copy_constants(const uint8_t* blob) {
  const DeviceScope scope(device_);
  check(undisturbed([&] {
          return with_clean_error([&] { return functions_->copy_constants(container_, blob); });
        }),
        Status::InvalidProgram, "loading its constants");
}

std::vector<Tensor> Container::run(std::span<const Tensor> inputs, void* stream) {
  return run_with(functions_->run, inputs, stream);
}

std::vector<Tensor> Container::run_single_threaded(std::span<const Tensor> inputs, void* stream) {
  return run_with(functions_->run_single_threaded, inputs, stream);
}

template <class Run>
std::vector<Tensor> Container::run_with(const Run& run, std::span<const Tensor> inputs,
                                        void* stream) {
  // The model checks the count outside its own try block, so a wrong one must not get there.
  require(inputs.size() == num_inputs_, Status::InvalidArgument, name_, " takes ", num_inputs_,
          " inputs, got ", inputs.size());
  const DeviceScope scope(device_);
  const ModuleScope modules(device_, modules_mutex_, modules_);
  Handles ins(inputs);
  Handles outs(num_outputs_);
  const auto call = [&] {
    return with_clean_error([&] {
      return run(container_, ins.data(), ins.size(), outs.data(), outs.size(), stream, nullptr);
    });
  };
  // In a run that is itself captured CUDA shall refuse what cannot be.
  const bool is_captured =
      device_.type != DeviceType::CPU && device_interface(device_.type).is_capturing(device_);
  check(is_captured ? call() : undisturbed(call), Status::InvalidArgument, "running it");
  std::vector<Tensor> outputs;
  for (size_t i = 0; i < outs.size(); ++i) outputs.push_back(outs.tensor(i));
  return outputs;
}

}  // namespace aotiny
