// The functions of abi/aotiny.h.
#include <cstdlib>
#include <cstring>

#include "aotiny/abi/aotiny.h"
#include "aotiny/core/allocator.h"
#include "aotiny/core/device_interface.h"
#include "aotiny/runtime/inspect.h"
#include "aotiny/runtime/model.h"
#include "aotiny/shims/handle.h"

using namespace aotiny;

struct AotinyModel {
  Model model;
};

namespace {

template <class T>
T& given(T* pointer, const char* name) {
  require(pointer != nullptr, Status::InvalidArgument, name, " is null");
  return *pointer;
}

Device device_or_cpu(const char* device) { return device == nullptr ? kCPU : parse_device(device); }

}  // namespace

const char* aotiny_version() { return AOTINY_VERSION; }

const char* aotiny_last_error() { return last_error(); }

const char* aotiny_last_warning() { return last_warning(); }

const char* aotiny_status_name(int32_t code) { return status_name(static_cast<Status>(code)); }

int32_t aotiny_model_load(const char* path, const char* device, int64_t num_models,
                          const char* model_name, AotinyModel** ret_model) {
  return guarded([&] {
    out(ret_model, "ret_model") = nullptr;
    const ModelOptions options{device_or_cpu(device), num_models, model_name ? model_name : ""};
    *ret_model = new AotinyModel{Model(&given(path, "path"), options)};
  });
}

void aotiny_model_free(AotinyModel* model) { delete model; }

int32_t aotiny_model_num_inputs(const AotinyModel* model, int64_t* ret_count) {
  return guarded([&] {
    out(ret_count, "ret_count") = static_cast<int64_t>(given(model, "model").model.num_inputs());
  });
}

int32_t aotiny_model_num_outputs(const AotinyModel* model, int64_t* ret_count) {
  return guarded([&] {
    out(ret_count, "ret_count") = static_cast<int64_t>(given(model, "model").model.num_outputs());
  });
}

int32_t aotiny_model_manifest(const AotinyModel* model, const char** ret_json) {
  return guarded([&] {
    out(ret_json, "ret_json") = nullptr;
    const auto& text = given(model, "model").model.manifest_text();
    *ret_json = text ? text->c_str() : nullptr;
  });
}

int32_t aotiny_model_run(AotinyModel* model, const AtenTensorHandle* inputs, int64_t num_inputs,
                         AtenTensorHandle* ret_outputs, int64_t num_outputs) {
  return guarded([&] {
    require(ret_outputs != nullptr || num_outputs <= 0, Status::InvalidArgument,
            "ret_outputs is null");
    for (int64_t i = 0; i < num_outputs; ++i) ret_outputs[i] = nullptr;
    Model& self = given(model, "model").model;
    require(inputs != nullptr || num_inputs <= 0, Status::InvalidArgument, "inputs is null");
    require(num_outputs == static_cast<int64_t>(self.num_outputs()), Status::InvalidArgument,
            "the model has ", self.num_outputs(), " outputs, there is room for ", num_outputs);
    std::vector<Tensor> tensors;
    for (int64_t i = 0; i < num_inputs; ++i) tensors.push_back(in(inputs[i], "an input"));

    std::vector<Tensor> outputs = self.run(tensors);
    std::vector<std::unique_ptr<Tensor>> handles;  // all or none
    for (Tensor& output : outputs) {
      handles.push_back(output.defined() ? std::make_unique<Tensor>(std::move(output)) : nullptr);
    }
    for (size_t i = 0; i < handles.size(); ++i) {
      ret_outputs[i] = reinterpret_cast<AtenTensorHandle>(handles[i].release());
    }
  });
}

int32_t aotiny_inspect(const char* path, char** ret_json) {
  return guarded([&] {
    out(ret_json, "ret_json") = nullptr;
    const std::string text = inspect_package(&given(path, "path"));
    char* copy = static_cast<char*>(std::malloc(text.size() + 1));
    require(copy != nullptr, Status::MemoryAllocationFailed, "no memory for ", text.size(),
            " bytes");
    std::memcpy(copy, text.c_str(), text.size() + 1);
    *ret_json = copy;
  });
}

void aotiny_string_free(char* text) { std::free(text); }

int32_t aotiny_load_library(const char* path) {
  return guarded([&] { load_library(&given(path, "path")); });
}

int32_t aotiny_manual_seed(const char* device, uint64_t seed) {
  return guarded([&] {
    const Device where = parse_device(&given(device, "device"));
    require(where != kCPU, Status::InvalidArgument,
            "there are no random numbers on the CPU to give a seed");
    device_interface(where.type).manual_seed(where, seed);
  });
}

int32_t aotiny_allocator_stats(const char* device, AotinyAllocatorStats* ret_stats) {
  return guarded([&] {
    AotinyAllocatorStats& target = out(ret_stats, "ret_stats");
    const Device where = device_or_cpu(device);
    const AllocatorStats stats = allocator(where.type).stats(where);
    target = {stats.allocated_bytes, stats.peak_allocated_bytes, stats.reserved_bytes,
              stats.num_allocations, stats.num_system_allocations};
  });
}
