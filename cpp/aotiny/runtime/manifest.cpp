#include "aotiny/runtime/manifest.h"

#include <limits>
#include <nlohmann/json.hpp>

#include "aotiny/core/sizes_strides.h"

namespace aotiny {
namespace {

using nlohmann::json;

constexpr int64_t kUnbounded = std::numeric_limits<int64_t>::max();

// A value and where it stands ("inputs[0].shape[1]"), so that every complaint can say so.
class Node {
 public:
  Node(const json& value, std::string where) : value_(value), where_(std::move(where)) {}

  template <class... Parts>
  [[noreturn]] void refuse(const Parts&... parts) const {
    fail(Status::InvalidProgram, where_, " ", parts...);
  }

  Node at(const char* key) const {
    if (!value_.is_object()) refuse("is not an object");
    const auto found = value_.find(key);
    if (found == value_.end()) refuse("lacks \"", key, "\"");
    return {*found, where_ + "." + key};
  }
  // The value of a key, unless it is absent or null.
  std::optional<Node> find(const char* key) const {
    if (!value_.is_object()) refuse("is not an object");
    const auto found = value_.find(key);
    if (found == value_.end() || found->is_null()) return std::nullopt;
    return Node{*found, where_ + "." + key};
  }
  std::string text() const {
    if (!value_.is_string()) refuse("is not a string");
    return value_.get<std::string>();
  }
  bool boolean() const {
    if (!value_.is_boolean()) refuse("is not a boolean");
    return value_.get<bool>();
  }
  bool is_integer() const { return value_.is_number_integer(); }
  int64_t integer(int64_t min = std::numeric_limits<int64_t>::min()) const {
    if (!is_integer()) refuse("is not an integer");
    if (value_.is_number_unsigned() && value_.get<uint64_t>() > static_cast<uint64_t>(kUnbounded)) {
      refuse("is ", value_.get<uint64_t>(), ", too large");
    }
    const int64_t value = value_.get<int64_t>();
    if (value < min) refuse("is ", value, ", below ", min);
    return value;
  }
  // read(item) of each item of an array.
  template <class Read>
  auto list(Read&& read, size_t max_items = 1u << 20) const {
    if (!value_.is_array()) refuse("is not an array");
    if (value_.size() > max_items) refuse("has ", value_.size(), " items, at most ", max_items);
    std::vector<decltype(read(*this))> items;
    for (size_t i = 0; i < value_.size(); ++i) {
      items.push_back(read(Node{value_[i], where_ + "[" + std::to_string(i) + "]"}));
    }
    return items;
  }

 private:
  const json& value_;
  std::string where_;
};

int64_t read_size(const Node& node) { return node.integer(0); }

std::vector<int64_t> read_sizes(const Node& node) { return node.list(read_size, kMaxDims); }

DType read_dtype(const Node& node) {
  const std::optional<DType> dtype = dtype_from_name(node.text());
  if (!dtype) node.refuse("is \"", node.text(), "\", which is no dtype");
  return *dtype;
}

DeviceType read_device(const Node& node) {
  try {
    return parse_device(node.text()).type;
  } catch (const Error& error) {
    node.refuse("is no device: ", error.what());
  }
}

Dim read_dim(const Node& node) {
  if (node.is_integer()) {
    const int64_t size = node.integer(0);
    return {"", size, size, 1};
  }
  Dim dim{node.at("name").text(), 0, kUnbounded, 1};
  if (const auto min = node.find("min")) dim.min = min->integer(0);
  if (const auto max = node.find("max")) dim.max = max->integer(dim.min);
  if (const auto multiple = node.find("multiple_of")) dim.multiple_of = multiple->integer(1);
  if (const auto offset = node.find("offset")) {
    dim.offset = offset->integer(-kUnbounded);
    if (dim.offset < 0 && dim.max > kUnbounded + dim.offset) dim.max = kUnbounded + dim.offset;
  }
  if (const auto of = node.find("of")) dim.of = of->text();
  return dim;
}

TensorSpec read_tensor(const Node& node) {
  TensorSpec spec;
  spec.name = node.at("name").text();
  spec.dtype = read_dtype(node.at("dtype"));
  if (const auto device = node.find("device")) spec.device = read_device(*device);
  spec.shape = node.at("shape").list(read_dim, kMaxDims);
  if (const auto strides = node.find("strides")) {
    spec.strides = read_sizes(*strides);
    if (spec.strides->size() != spec.shape.size()) {
      strides->refuse("has ", spec.strides->size(), " values for ", spec.shape.size(),
                      " dimensions");
    }
    for (const Dim& dim : spec.shape) {
      if (dim.min != dim.max) strides->refuse("is given for a shape with dynamic dimensions");
    }
  }
  if (const auto range = node.find("range")) {
    const auto bounds = range->list([](const Node& bound) { return bound.integer(); }, 2);
    if (bounds.size() != 2 || bounds[0] > bounds[1]) range->refuse("is not [low, high]");
    if (is_floating_point(spec.dtype)) range->refuse("is given for dtype ", spec.dtype);
    spec.range = {bounds[0], bounds[1]};
  }
  return spec;
}

ConstantSpec read_constant(const Node& node) {
  ConstantSpec spec;
  spec.name = node.at("name").text();
  if (const auto fqn = node.find("fqn")) spec.fqn = fqn->text();
  spec.dtype = read_dtype(node.at("dtype"));
  spec.shape = read_sizes(node.at("shape"));
  spec.strides = read_sizes(node.at("strides"));
  if (spec.strides.size() != spec.shape.size()) {
    node.refuse("has ", spec.strides.size(), " strides for ", spec.shape.size(), " dimensions");
  }
  if (const auto is_mutable = node.find("mutable")) spec.is_mutable = is_mutable->boolean();
  if (const auto device = node.find("device")) spec.device = read_device(*device);
  return spec;
}

}  // namespace

Manifest parse_manifest(const std::string& text, const std::string& path) {
  json root;
  try {
    root = json::parse(text);
  } catch (const json::exception& error) {
    fail(Status::InvalidProgram, path, ": manifest: ", error.what());
  }
  const Node node(root, path + ": manifest");
  const std::string format = node.at("format").text();
  if (format != "aotiny-manifest") node.refuse("has format \"", format, "\"");
  const int64_t version = node.at("version").integer();
  if (version != 1) node.refuse("has version ", version, "; this aotiny reads version 1");

  Manifest manifest;
  if (const auto cpu = node.find("cpu")) {
    if (const auto features = cpu->find("features")) {
      manifest.cpu_features = features->list([](const Node& item) { return item.text(); });
    }
  }
  manifest.inputs = node.at("inputs").list(read_tensor);
  manifest.outputs = node.at("outputs").list(read_tensor);
  manifest.constants = node.at("constants").list(read_constant);
  return manifest;
}

}  // namespace aotiny
