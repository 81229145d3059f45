#include "aotiny/runtime/model.h"

#include <algorithm>

#include "aotiny/core/device_interface.h"
#include "aotiny/core/threads.h"
#include "aotiny/runtime/inputs.h"

namespace aotiny {
namespace {

constexpr uintptr_t kWeightAlignment = 64;

}  // namespace

Model::Model(const std::string& path, const ModelOptions& options)
    : Model(std::make_shared<Program>(path, options)) {}

Model::Model(std::shared_ptr<Program> program)
    : program_(std::move(program)), turns_(program_->options.num_models) {
  const Program& p = *program_;
  container_ = std::make_unique<Container>(p.library, p.name, device(), p.options.num_models);
  if (p.manifest) {
    require(
        p.manifest->inputs.size() == num_inputs() && p.manifest->outputs.size() == num_outputs(),
        Status::InvalidProgram, p.name, ": its manifest describes ", p.manifest->inputs.size(),
        " inputs and ", p.manifest->outputs.size(), " outputs, its code has ", num_inputs(),
        " and ", num_outputs());
  }
  load_constants();
  if (device().type == DeviceType::CPU) return;
  runner_ = std::make_unique<DeviceRunner>(*container_, p.name, device(), p.options.num_models,
                                           p.options.cuda_graph);
}

std::unique_ptr<Model> Model::instance() const {
  return std::unique_ptr<Model>(new Model(program_));
}

void Model::load_constants() {
  const Program& p = *program_;
  uint64_t nbytes = 0;
  size_t count = 0;
  for (const Container::Constant& constant : constants()) {
    if (constant.folded) continue;
    require(constant.nbytes <= UINT64_MAX / 2 - nbytes, Status::InvalidProgram, p.name,
            ": its constants exceed the address space");
    nbytes += constant.nbytes;
    ++count;
  }
  if (count == 0) return;
  const size_t loaded = container_->num_loaded_constants();
  if (loaded >= count) return;  // they are in the code
  const ZipEntry& weights = p.weights_entry(count - loaded, count, nbytes);
  if (!p.manifest) {
    container_->copy_constants(p.package->file().bytes().data() + weights.offset);
  } else if (device().type == DeviceType::CPU) {
    use_mapped(weights);
  } else if (std::ranges::any_of(p.manifest->constants, [](const ConstantSpec& spec) {
               return spec.device == DeviceType::CPU;
             })) {
    // Before torch 2.13 a model takes no tensors on the CPU; what it loads itself it puts there.
    for (const Container::Constant& constant : constants()) {
      if (!constant.folded) described(constant);
    }
    container_->copy_constants(p.package->file().bytes().data() + weights.offset);
  } else {
    use_on_device(weights);
  }
}

// What the manifest says of a constant, compared with what the code says.
const ConstantSpec& Model::described(const Container::Constant& constant) const {
  const Program& p = *program_;
  const ConstantSpec* spec = p.find_constant(constant.name);
  require(spec != nullptr, Status::InvalidProgram, p.name,
          ": its manifest does not describe the constant ", constant.name);
  require(static_cast<int32_t>(spec->dtype) == constant.dtype, Status::InvalidProgram, p.name,
          ": constant ", constant.name, " has dtype ", spec->dtype,
          " in the manifest but torch's dtype code ", constant.dtype, " in the code");
  const uint64_t needed =
      checked_nbytes(checked_span(spec->shape, spec->strides), itemsize(spec->dtype));
  require(needed <= constant.nbytes, Status::InvalidProgram, p.name, ": constant ", constant.name,
          " with shape ", Shape{spec->shape}, " and strides ", Shape{spec->strides}, " takes ",
          needed, " bytes, its weights have ", constant.nbytes);
  return *spec;
}

// Hands the weights to the code as they lie in a mapping of the file, which is private: what a run
// changes is copied page by page.
void Model::use_mapped(const ZipEntry& weights) {
  mapped_ = program_->package->file().map_private(weights.offset, weights.size);
  uint8_t* data = mapped_.bytes().data();
  if (reinterpret_cast<uintptr_t>(data) % kWeightAlignment != 0) {
    container_->copy_constants(data);
    mapped_ = Mapping();
    return;
  }
  std::vector<std::pair<std::string, Tensor>> tensors;
  for (const Container::Constant& constant : constants()) {
    if (constant.folded) continue;
    const ConstantSpec& spec = described(constant);
    tensors.emplace_back(constant.name,
                         Tensor::from_blob(data, spec.shape, spec.strides, 0, spec.dtype, kCPU));
    data += constant.nbytes;
  }
  container_->use_constants(tensors);
}

// Constants that no run changes are one copy for all models and instances that have the same; those
// that runs change are the instance's own.
void Model::use_on_device(const ZipEntry& weights) {
  Program& p = *program_;
  const Bytes blob = p.package->file().bytes().subspan(weights.offset, weights.size);
  struct Constant {
    const std::string& name;
    const ConstantSpec& spec;
    ConstantRange range;
  };
  std::vector<Constant> fixed, changing;
  std::vector<std::pair<std::string, Tensor>> tensors;
  uint64_t offset = 0;
  for (const Container::Constant& constant : constants()) {
    if (constant.folded) continue;
    const ConstantSpec& spec = described(constant);
    (spec.is_mutable ? changing : fixed)
        .push_back({constant.name, spec, {offset, constant.nbytes}});
    offset += constant.nbytes;
  }
  const auto ranges_of = [](const std::vector<Constant>& list) {
    std::vector<ConstantRange> ranges;
    for (const Constant& constant : list) ranges.push_back(constant.range);
    return ranges;
  };
  const auto view = [&](const std::vector<Constant>& list, const DeviceWeights& memory) {
    for (size_t i = 0; i < list.size(); ++i) {
      const ConstantSpec& spec = list[i].spec;
      tensors.emplace_back(list[i].name, Tensor::from_blob(memory.data(i), spec.shape, spec.strides,
                                                           0, spec.dtype, device()));
    }
  };
  if (!p.device_weights) {
    p.device_weights = shared_weights(p.package, weights, ranges_of(fixed), device());
  }
  view(fixed, *p.device_weights);
  own_ = std::make_unique<DeviceWeights>(blob, ranges_of(changing), device());
  view(changing, *own_);
  container_->use_constants(tensors);
}

std::vector<Tensor> Model::run(std::span<const Tensor> inputs) {
  const Program& p = *program_;
  require(
      p.unrecordable.empty() || !runner_ || !device_interface(device().type).is_capturing(device()),
      Status::NotSupported, p.name, " cannot be captured into a graph: ", p.unrecordable);
  std::vector<Tensor> prepared;
  if (p.manifest) {
    prepared = prepare_inputs(p.manifest->inputs, inputs, p.name, device());
  } else {
    for (size_t i = 0; i < inputs.size(); ++i) {
      require(inputs[i].defined(), Status::InvalidArgument, p.name, ": input ", i, " is undefined");
      check_device(inputs[i], std::to_string(i), device(), p.name);
      prepared.push_back(inputs[i].contiguous());
    }
  }
  if (runner_) return runner_->run(prepared);
  // Who waits for another run of this model must not count as a run that needs threads.
  const Turn turn(turns_);
  const ThreadShare share;
  return container_->run(prepared);
}

}  // namespace aotiny
