#include "aotiny/runtime/container.h"

#include <algorithm>
#include <memory>

#include "aotiny/abi/aoti_torch.h"

namespace aotiny {

// AOTInductorConstantMapEntry
struct Container::Entry {
  const char* name;
  AtenTensorHandle handle;
};

// The entry points that are used, with the signatures of torch 2.13's aoti_runtime/interface.h.
struct Container::Functions {
  template <class Signature>
  struct Function {
    Function(const Library& library, const char* symbol, const std::string& name)
        : pointer(reinterpret_cast<Signature*>(library.find(symbol))) {
      require(pointer != nullptr, Status::InvalidProgram, name,
              " is no AOTInductor model: it does not define ", symbol);
    }
    template <class... Arguments>
    int32_t operator()(Arguments... arguments) const {
      return pointer(arguments...);
    }
    Signature* pointer;
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
        constant_entries(l, "AOTInductorModelContainerExtractConstantsMapEntries", n),
        use_constants(l, "AOTInductorModelContainerUpdateUserManagedConstantBufferPairs", n),
        copy_constants(l, "AOTInductorModelUpdateConstantsFromBlob", n),
        run(l, "AOTInductorModelContainerRun", n),
        last_error(l, "AOTInductorGetLastError", n) {}

  Function<int32_t(void**, size_t, const char*, const char*)> create;
  Function<int32_t(void*)> destroy;
  Function<int32_t(void*, size_t*)> num_inputs, num_outputs, num_constants;
  Function<int32_t(void*, size_t, const char**)> constant_name, constant_fqn;
  Function<int32_t(void*, size_t, int32_t*)> constant_dtype;
  Function<int32_t(void*, size_t, size_t*)> constant_size;
  Function<int32_t(void*, size_t, bool*)> constant_folded;
  Function<int32_t(void*, const Entry**, size_t*, bool)> constant_entries;
  Function<int32_t(void*, const Entry*, size_t, bool, bool)> use_constants;
  Function<int32_t(void*, const uint8_t*)> copy_constants;
  Function<int32_t(void*, AtenTensorHandle*, size_t, AtenTensorHandle*, size_t, void*, void*)> run;
  Function<int32_t(const char**)> last_error;
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

}  // namespace

Container::Container(Bytes image, const std::string& name, Device device, int64_t num_models)
    : name_(name), library_(image, name), functions_(new Functions(library_, name)) {
  const Functions& f = *functions_;
  const std::string device_text = to_string(device);
  check(with_clean_error([&] {
          return f.create(&container_, static_cast<size_t>(num_models), device_text.c_str(),
                          nullptr);
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
    static_cast<void>(f.destroy(container_));
    throw;
  }
}

Container::~Container() {
  // The model makes handles of its own for the constants it uses without a copy, and keeps them
  // when it goes. (Found before it goes: they are only known to it.)
  std::vector<AtenTensorHandle> kept;
  if (uses_constants_) {
    const Entry* entries = nullptr;
    size_t count = 0;
    if (functions_->constant_entries(container_, &entries, &count, false) == 0) {
      for (size_t i = 0; i < count; ++i) kept.push_back(entries[i].handle);
    }
  }
  static_cast<void>(functions_->destroy(container_));
  for (const AtenTensorHandle handle : kept) delete reinterpret_cast<Tensor*>(handle);
}

void Container::check(int32_t code, Status status, const char* action) const {
  if (code == 0) return;
  const char* text = nullptr;
  static_cast<void>(functions_->last_error(&text));
  const std::string reason = text != nullptr && *text != 0 ? text : "no reason given";
  const std::string shim = aotiny::last_error();
  fail(shim.empty() ? status : Status::Internal, name_, ": ", action, " failed: ", shim,
       shim.empty() ? "" : "; ", reason);
}

std::span<const Container::Entry> Container::loaded_entries() const {
  const Entry* entries = nullptr;
  size_t count = 0;
  check(functions_->constant_entries(container_, &entries, &count, false), Status::InvalidProgram,
        "listing its constants");
  return {entries, count};
}

size_t Container::num_loaded_constants() const { return loaded_entries().size(); }

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
  check(with_clean_error([&] {
          return functions_->use_constants(container_, entries.data(), entries.size(), false,
                                           false);
        }),
        Status::InvalidProgram, "setting its constants");
}

void Container::copy_constants(const uint8_t* blob) {
  check(with_clean_error([&] { return functions_->copy_constants(container_, blob); }),
        Status::InvalidProgram, "loading its constants");
}

std::vector<Tensor> Container::run(std::span<const Tensor> inputs) {
  // The model checks the count outside its own try block, so a wrong one must not get there.
  require(inputs.size() == num_inputs_, Status::InvalidArgument, name_, " takes ", num_inputs_,
          " inputs, got ", inputs.size());
  Handles ins(inputs);
  Handles outs(num_outputs_);
  check(with_clean_error([&] {
          return functions_->run(container_, ins.data(), ins.size(), outs.data(), outs.size(),
                                 nullptr, nullptr);
        }),
        Status::InvalidArgument, "running it");
  std::vector<Tensor> outputs;
  for (size_t i = 0; i < outs.size(); ++i) outputs.push_back(outs.tensor(i));
  return outputs;
}

}  // namespace aotiny
