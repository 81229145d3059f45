#include "aotiny/runtime/package.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string_view>

#include "aotiny/core/status.h"

namespace aotiny {
namespace {

using nlohmann::json;

constexpr uint64_t kMaxJsonBytes = uint64_t{64} << 20;
constexpr int64_t kMaxJsonDepth = 100;

// How deep arrays and objects lie in each other. Copying, printing and (in Python) reading a JSON
// value recurses that deep, and a deep enough one would overflow the stack.
int64_t json_depth(std::string_view text) {
  int64_t depth = 0, deepest = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      in_string = c != '"';
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      deepest = std::max(deepest, ++depth);
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return deepest;
}

std::string json_text(const Package& package, const ZipEntry& entry) {
  require(entry.size <= kMaxJsonBytes, Status::InvalidProgram, package.file().path(), ": ",
          entry.name, " has ", entry.size, " bytes, at most ", kMaxJsonBytes, " are read");
  const Bytes data = package.data(entry);
  std::string text(data.begin(), data.end());
  const int64_t depth = json_depth(text);
  require(depth <= kMaxJsonDepth, Status::InvalidProgram, package.file().path(), ": ", entry.name,
          " nests ", depth, " levels deep, at most ", kMaxJsonDepth, " are read");
  return text;
}

json parse_json(const Package& package, const ZipEntry& entry) {
  try {
    return json::parse(json_text(package, entry));
  } catch (const json::exception& error) {
    fail(Status::InvalidProgram, package.file().path(), ": ", entry.name, ": ", error.what());
  }
}

std::map<std::string, std::string> read_metadata(const Package& package, const ZipEntry& entry) {
  const json root = parse_json(package, entry);
  require(root.is_object(), Status::InvalidProgram, package.file().path(), ": ", entry.name,
          " is not a JSON object");
  std::map<std::string, std::string> metadata;
  for (const auto& [key, value] : root.items()) {
    metadata[key] = value.is_string() ? value.get<std::string>() : value.dump();
  }
  return metadata;
}

// {"nodes": [{"name": ..., "node": {"target": "torch.ops.aten.multinomial.default", ...}}, ...]}
std::vector<std::string> read_proxy_operators(const Package& package, const ZipEntry& entry) {
  const json root = parse_json(package, entry);
  std::vector<std::string> operators;
  const auto nodes = root.is_object() ? root.find("nodes") : root.end();
  require(nodes != root.end() && nodes->is_array(), Status::InvalidProgram, package.file().path(),
          ": ", entry.name, " has no list of nodes");
  for (const json& item : *nodes) {
    const json node = item.is_object() ? item.value("node", json::object()) : json::object();
    const json target = node.is_object() ? node.value("target", json()) : json();
    operators.push_back(target.is_string() ? target.get<std::string>() : "unnamed operator");
  }
  return operators;
}

}  // namespace

Package::Package(const std::string& path) : file_(path), entries_(read_zip(file_.bytes(), path)) {
  std::map<std::string, std::vector<const ZipEntry*>> models;
  for (const ZipEntry& entry : entries_) {
    constexpr std::string_view kModels = "data/aotinductor/", kManifest = "extra/aotiny.json";
    const size_t root = entry.name.find('/');
    if (root == std::string::npos) continue;
    const std::string_view inner = std::string_view(entry.name).substr(root + 1);
    if (inner == kManifest) manifest_ = json_text(*this, entry);
    if (!inner.starts_with(kModels)) continue;
    const std::string_view rest = inner.substr(kModels.size());
    const size_t slash = rest.rfind('/');
    if (slash == std::string_view::npos) continue;
    models[std::string(rest.substr(0, slash))].push_back(&entry);
  }
  for (const auto& [name, files] : models) read_model(name, files);
  require(!models_.empty(), Status::InvalidProgram, path,
          " holds no compiled model: no data/aotinductor/<model>/*.wrapper.so among its ",
          entries_.size(), " entries");
  require(!manifest_ || models_.size() == 1, Status::InvalidProgram, path, " has a manifest but ",
          models_.size(), " models; a manifest describes one");
}

void Package::read_model(const std::string& name, const std::vector<const ZipEntry*>& files) {
  const auto find = [&](std::string_view suffix) -> const ZipEntry* {
    const ZipEntry* found = nullptr;
    for (const ZipEntry* file : files) {
      if (!std::string_view(file->name).ends_with(suffix)) continue;
      require(found == nullptr, Status::InvalidProgram, file_.path(), ": model ", name,
              " has two files *", suffix);
      found = file;
    }
    return found;
  };
  const ZipEntry* library = find(".wrapper.so");
  if (library == nullptr) return;  // a folder without code holds no model
  PackagedModel model{name, *library, std::nullopt, {}, {}};
  if (const ZipEntry* weights = find(".wrapper_weights.blob")) model.weights = *weights;
  if (const ZipEntry* metadata = find(".wrapper_metadata.json")) {
    model.metadata = read_metadata(*this, *metadata);
  }
  if (const ZipEntry* nodes = find(".wrapper.json")) {
    model.proxy_operators = read_proxy_operators(*this, *nodes);
  }
  models_.push_back(std::move(model));
}

const PackagedModel& Package::model(const std::string& name) const {
  if (name.empty() && models_.size() == 1) return models_.front();
  std::string names;
  for (const PackagedModel& model : models_) {
    if (model.name == name) return model;
    names += (names.empty() ? "" : ", ") + model.name;
  }
  if (name.empty()) {
    fail(Status::NotFound, file_.path(), " holds ", models_.size(),
         " models; name one of them: ", names);
  }
  fail(Status::NotFound, file_.path(), " has no model named ", name, "; it holds: ", names);
}

}  // namespace aotiny
