// The functions of abi/aotiny.h.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "aotiny/abi/aotiny.h"
#include "aotiny/core/allocator.h"
#include "aotiny/core/device_interface.h"
#include "aotiny/core/threads.h"
#include "aotiny/runtime/inspect.h"
#include "aotiny/runtime/model.h"
#include "aotiny/shims/handle.h"

using namespace aotiny;

struct AotinyModel {
  std::unique_ptr<Model> model;
};

namespace {

template <class T>
T& given(T* pointer, const char* name) {
  require(pointer != nullptr, Status::InvalidArgument, name, " is null");
  return *pointer;
}

Model& model_of(const AotinyModel* model) { return *given(model, "model").model; }

AotinyModel* new_handle(std::unique_ptr<Model> model) { return new AotinyModel{std::move(model)}; }

Device device_or_cpu(const char* device) { return device == nullptr ? kCPU : parse_device(device); }

// A caller that was compiled with a later version may ask for what this one does not know.
ModelOptions read_options(const AotinyModelOptions& options) {
  require(options.struct_size >= sizeof(AotinyModelOptions), Status::InvalidArgument,
          "options.struct_size is ", options.struct_size, ", below ", sizeof(AotinyModelOptions));
  const auto* bytes = reinterpret_cast<const char*>(&options);
  require(std::all_of(bytes + sizeof(AotinyModelOptions), bytes + options.struct_size,
                      [](char byte) { return byte == 0; }),
          Status::NotSupported, "options has ", options.struct_size, " bytes, of which this aotiny",
          " knows ", sizeof(AotinyModelOptions), ", and the others are not 0");
  ModelOptions read;
  read.device = device_or_cpu(options.device);
  if (options.num_models != 0) read.num_models = options.num_models;
  if (options.model_name != nullptr) read.name = options.model_name;
  read.cuda_graph = options.cuda_graph != 0;
  return read;
}

}  // namespace

const char* aotiny_version() { return AOTINY_VERSION; }

const char* aotiny_last_error() { return last_error(); }

const char* aotiny_last_warning() { return last_warning(); }

const char* aotiny_status_name(int32_t code) { return status_name(static_cast<Status>(code)); }

int32_t aotiny_model_load(const char* path, const char* device, int64_t num_models,
                          const char* model_name, AotinyModel** ret_model) {
  return guarded([&] {
    out(ret_model, "ret_model") = nullptr;
    ModelOptions options;
    options.device = device_or_cpu(device);
    options.num_models = num_models;
    if (model_name != nullptr) options.name = model_name;
    *ret_model = new_handle(std::make_unique<Model>(&given(path, "path"), options));
  });
}

int32_t aotiny_model_load_with(const char* path, const AotinyModelOptions* options,
                               AotinyModel** ret_model) {
  return guarded([&] {
    out(ret_model, "ret_model") = nullptr;
    const ModelOptions read = read_options(given(options, "options"));
    *ret_model = new_handle(std::make_unique<Model>(&given(path, "path"), read));
  });
}

int32_t aotiny_model_instance(const AotinyModel* model, AotinyModel** ret_instance) {
  return guarded([&] {
    out(ret_instance, "ret_instance") = nullptr;
    *ret_instance = new_handle(model_of(model).instance());
  });
}

int32_t aotiny_model_device(const AotinyModel* model, int32_t* ret_device_type,
                            int32_t* ret_device_index) {
  return guarded([&] {
    int32_t& type = out(ret_device_type, "ret_device_type");
    int32_t& index = out(ret_device_index, "ret_device_index");
    const Device device = model_of(model).device();
    type = static_cast<int32_t>(device.type);
    index = device.index;
  });
}

void aotiny_model_free(AotinyModel* model) { delete model; }

int32_t aotiny_model_num_inputs(const AotinyModel* model, int64_t* ret_count) {
  return guarded(
      [&] { out(ret_count, "ret_count") = static_cast<int64_t>(model_of(model).num_inputs()); });
}

int32_t aotiny_model_num_outputs(const AotinyModel* model, int64_t* ret_count) {
  return guarded(
      [&] { out(ret_count, "ret_count") = static_cast<int64_t>(model_of(model).num_outputs()); });
}

int32_t aotiny_model_manifest(const AotinyModel* model, const char** ret_json) {
  return guarded([&] {
    out(ret_json, "ret_json") = nullptr;
    const auto& text = model_of(model).manifest_text();
    *ret_json = text ? text->c_str() : nullptr;
  });
}

int32_t aotiny_model_run(AotinyModel* model, const AtenTensorHandle* inputs, int64_t num_inputs,
                         AtenTensorHandle* ret_outputs, int64_t num_outputs) {
  return guarded([&] {
    require(ret_outputs != nullptr || num_outputs <= 0, Status::InvalidArgument,
            "ret_outputs is null");
    for (int64_t i = 0; i < num_outputs; ++i) ret_outputs[i] = nullptr;
    Model& self = model_of(model);
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

int32_t aotiny_set_num_threads(int64_t count) {
  return guarded([&] { set_num_threads(count); });
}

int32_t aotiny_num_threads(int64_t* ret_count) {
  return guarded([&] { out(ret_count, "ret_count") = num_threads(); });
}
