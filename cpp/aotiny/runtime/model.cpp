#include "aotiny/runtime/model.h"

#include <numeric>

#include "aotiny/core/allocator.h"
#include "aotiny/runtime/inputs.h"
#include "aotiny/runtime/requirements.h"

namespace aotiny {
namespace {

constexpr uintptr_t kWeightAlignment = 64;
constexpr int64_t kMaxModels = 4096;  // more than threads that could profit

void refuse_proxy_operators(const std::string& name, const std::vector<std::string>& operators) {
  if (operators.empty()) return;
  std::string list;
  for (const std::string& item : operators) list += (list.empty() ? "" : ", ") + item;
  fail(Status::OperatorMissing, name, " calls ", operators.size(),
       " operators that have no C shim and need PyTorch: ", list);
}

}  // namespace

Model::Model(const std::string& path, const ModelOptions& options)
    : package_(path),
      part_(package_.model(options.name)),
      device_(options.device),
      name_(package_.models().size() == 1 ? path : path + " (" + part_.name + ")") {
  require(options.num_models >= 1 && options.num_models <= kMaxModels, Status::InvalidArgument,
          "num_models is ", options.num_models, ", outside 1..", kMaxModels);
  allocator(device_.type);  // fails for a device that has no library here
  if (package_.manifest()) manifest_ = parse_manifest(*package_.manifest(), path);
  refuse_proxy_operators(name_, part_.proxy_operators);

  const Bytes image = package_.data(part_.library);
  check_requirements(name_, ElfImage(image, name_), part_.metadata,
                     manifest_ ? &manifest_->cpu_features : nullptr, device_, this_machine());
  container_ = std::make_unique<Container>(image, name_, device_, options.num_models);
  if (manifest_) {
    require(manifest_->inputs.size() == num_inputs() && manifest_->outputs.size() == num_outputs(),
            Status::InvalidProgram, name_, ": its manifest describes ", manifest_->inputs.size(),
            " inputs and ", manifest_->outputs.size(), " outputs, its code has ", num_inputs(),
            " and ", num_outputs());
  }
  load_constants();
}

const ConstantSpec* Model::find_constant(const std::string& name) const {
  if (!manifest_) return nullptr;
  for (const ConstantSpec& spec : manifest_->constants) {
    if (spec.name == name) return &spec;
  }
  return nullptr;
}

void Model::load_constants() {
  uint64_t nbytes = 0;
  size_t count = 0;
  for (const Container::Constant& constant : constants()) {
    if (constant.folded) continue;
    require(constant.nbytes <= UINT64_MAX / 2 - nbytes, Status::InvalidProgram, name_,
            ": its constants exceed the address space");
    nbytes += constant.nbytes;
    ++count;
  }
  const size_t loaded = container_->num_loaded_constants();
  if (loaded >= count) return;  // they are in the code
  require(part_.weights.has_value(), Status::InvalidProgram, name_, ": ", count - loaded, " of ",
          count, " constants (", nbytes,
          " bytes in all) are neither in its code nor in the package");
  require(part_.weights->size == nbytes, Status::InvalidProgram, name_, ": its weights take ",
          nbytes, " bytes, the package has ", part_.weights->size, " in ", part_.weights->name);
  weights_ = package_.file().map_private(part_.weights->offset, part_.weights->size);
  use_weights(nbytes);
}

// Hands the mapped weights to the code: as they lie where their shapes are known, otherwise as a
// blob that it copies.
void Model::use_weights(uint64_t nbytes) {
  uint8_t* data = weights_.bytes().data();
  const bool aligned = reinterpret_cast<uintptr_t>(data) % kWeightAlignment == 0;
  if (!manifest_ || !aligned || device_.type != DeviceType::CPU) {
    container_->copy_constants(data);
    weights_ = Mapping();
    return;
  }
  std::vector<std::pair<std::string, Tensor>> tensors;
  uint64_t offset = 0;
  for (const Container::Constant& constant : constants()) {
    if (constant.folded) continue;
    const ConstantSpec* spec = find_constant(constant.name);
    require(spec != nullptr, Status::InvalidProgram, name_,
            ": its manifest does not describe the "
            "constant ",
            constant.name);
    require(static_cast<int32_t>(spec->dtype) == constant.dtype, Status::InvalidProgram, name_,
            ": constant ", constant.name, " has dtype ", spec->dtype,
            " in the manifest but torch's dtype code ", constant.dtype, " in the code");
    const uint64_t needed =
        checked_nbytes(checked_span(spec->shape, spec->strides), itemsize(spec->dtype));
    require(needed <= constant.nbytes, Status::InvalidProgram, name_, ": constant ", constant.name,
            " with shape ", Shape{spec->shape}, " and strides ", Shape{spec->strides}, " takes ",
            needed, " bytes, its weights have ", constant.nbytes);
    tensors.emplace_back(constant.name, Tensor::from_blob(data + offset, spec->shape, spec->strides,
                                                          0, spec->dtype, device_));
    offset += constant.nbytes;
  }
  require(offset == nbytes, Status::Internal, name_, ": constants end at ", offset, " of ", nbytes);
  container_->use_constants(tensors);
}

std::vector<Tensor> Model::run(std::span<const Tensor> inputs) {
  if (manifest_) return container_->run(prepare_inputs(manifest_->inputs, inputs, name_));
  std::vector<Tensor> prepared;
  for (size_t i = 0; i < inputs.size(); ++i) {
    require(inputs[i].defined() && inputs[i].device().type == device_.type, Status::InvalidArgument,
            name_, ": input ", i, " is ", inputs[i], ", it takes tensors on ", device_);
    prepared.push_back(inputs[i].contiguous());
  }
  return container_->run(prepared);
}

}  // namespace aotiny
