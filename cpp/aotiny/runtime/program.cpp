#include "aotiny/runtime/program.h"

#include <algorithm>

#include "aotiny/core/allocator.h"
#include "aotiny/core/device_interface.h"
#include "aotiny/core/threads.h"
#include "aotiny/runtime/requirements.h"

namespace aotiny {
namespace {

constexpr int64_t kMaxModels = 4096;  // more than threads that could profit

void refuse_proxy_operators(const std::string& name, const std::vector<std::string>& operators) {
  if (operators.empty()) return;
  std::string list;
  for (const std::string& item : operators) list += (list.empty() ? "" : ", ") + item;
  fail(Status::OperatorMissing, name, " calls ", operators.size(),
       " operators that have no C shim and need PyTorch: ", list);
}

void check_options(const ModelOptions& options) {
  require(options.num_models >= 1 && options.num_models <= kMaxModels, Status::InvalidArgument,
          "num_models is ", options.num_models, ", outside 1..", kMaxModels);
  if (!options.cuda_graph) return;
  require(options.device.type == DeviceType::CUDA, Status::InvalidArgument,
          "cuda_graph is for models on CUDA devices, not for ", options.device);
  require(options.num_models == 1, Status::InvalidArgument, "num_models is ", options.num_models,
          ", but with cuda_graph runs take turns: make an instance for each thread instead");
}

// Why a run cannot be recorded into a graph; "" if nothing is known against it. A recording would
// keep the value that an input on the CPU had, and not repeat what a run does to a buffer there.
std::string why_not_recorded(const Manifest& manifest) {
  for (const TensorSpec& input : manifest.inputs) {
    if (input.device == DeviceType::CUDA) continue;
    return "input " + input.name + " is on the CPU, whose values a CUDA graph does not see";
  }
  for (const ConstantSpec& constant : manifest.constants) {
    if (!constant.is_mutable || constant.device != DeviceType::CPU) continue;
    return "runs change " + constant.name +
           ", which is on the CPU, where a CUDA graph changes nothing";
  }
  return "";
}

}  // namespace

Program::Program(const std::string& path, const ModelOptions& given)
    : options(given),
      package(std::make_shared<const Package>(path)),
      part(package->model(options.name)),
      name(package->models().size() == 1 ? path : path + " (" + part.name + ")") {
  const Device device = options.device;
  check_options(options);
  find_processors();
  allocator(device.type);  // fails for a device that has no library here
  if (package->manifest()) manifest = parse_manifest(*package->manifest(), path);
  refuse_proxy_operators(name, part.proxy_operators);

  const Bytes image = package->data(part.library);
  check_requirements(name, ElfImage(image, name), part.metadata,
                     manifest ? &manifest->cpu_features : nullptr, device, this_machine());
  if (device.type == DeviceType::CUDA) {
    DeviceInterface& interface = device_interface(device.type);
    check_compute_capability(name, image, part.metadata, device, interface.properties(device));
    require(!interface.is_capturing(device), Status::InvalidState, name,
            " cannot be loaded while the current stream of ", device, " is captured into a graph");
  }
  if (manifest) unrecordable = why_not_recorded(*manifest);
  require(!options.cuda_graph || unrecordable.empty(), Status::NotSupported, name, ": ",
          unrecordable, "; load it without cuda_graph");
  library = std::make_shared<const Library>(image, name, device.type);
}

const ConstantSpec* Program::find_constant(const std::string& constant) const {
  if (!manifest) return nullptr;
  const auto& specs = manifest->constants;
  const auto found = std::ranges::find(specs, constant, &ConstantSpec::name);
  return found == specs.end() ? nullptr : &*found;
}

const ZipEntry& Program::weights_entry(size_t num_missing, size_t num_constants,
                                       uint64_t nbytes) const {
  require(part.weights.has_value(), Status::InvalidProgram, name, ": ", num_missing, " of ",
          num_constants, " constants (", nbytes,
          " bytes in all) are neither in its code nor in the package");
  require(part.weights->size == nbytes, Status::InvalidProgram, name, ": its weights take ", nbytes,
          " bytes, the package has ", part.weights->size, " in ", part.weights->name);
  return *part.weights;
}

}  // namespace aotiny
