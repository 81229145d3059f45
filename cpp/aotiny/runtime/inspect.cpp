#include "aotiny/runtime/inspect.h"

#include <nlohmann/json.hpp>

#include "aotiny/runtime/library.h"
#include "aotiny/runtime/manifest.h"
#include "aotiny/runtime/package.h"
#include "aotiny/runtime/requirements.h"

namespace aotiny {
namespace {

using Json = nlohmann::ordered_json;

Json inspect_model(const Package& package, const PackagedModel& model) {
  const ElfImage image(package.data(model.library), package.file().path());
  const Missing missing = find_missing(image, compiled_for(model.metadata));
  Json required = Json::array();
  for (const std::string& symbol : image.undefined()) {
    if (symbol.starts_with("aoti_torch_") || symbol.starts_with("Sleef_")) {
      required.push_back(symbol);
    }
  }
  Json result;
  result["library_bytes"] = model.library.size;
  result["weights_bytes"] = model.weights ? Json(model.weights->size) : Json(nullptr);
  result["metadata"] = model.metadata;
  result["needed"] = image.needed();
  result["required_symbols"] = std::move(required);
  result["missing_symbols"] = missing.symbols;
  result["missing_libraries"] = missing.libraries;
  result["proxy_operators"] = model.proxy_operators;
  result["executable_stack"] = image.has_executable_stack();
  return result;
}

}  // namespace

std::string inspect_package(const std::string& path) {
  const Package package(path);
  Json result;
  result["path"] = path;
  result["bytes"] = package.file().bytes().size();
  Json manifest = Json::object();
  if (package.manifest()) {
    static_cast<void>(parse_manifest(*package.manifest(), path));  // refuses a malformed one
    manifest = Json::parse(*package.manifest());
  }
  for (const char* key : {"aotiny_version", "torch_version", "device", "cpu", "inputs", "outputs",
                          "constants", "quantization", "compile_options"}) {
    result[key] = manifest.contains(key) ? manifest[key] : Json(nullptr);
  }
  result["models"] = Json::object();
  for (const PackagedModel& model : package.models()) {
    result["models"][model.name] = inspect_model(package, model);
  }
  result["entries"] = Json::array();
  for (const ZipEntry& entry : package.entries()) {
    result["entries"].push_back({{"name", entry.name}, {"bytes", entry.size}});
  }
  // File and symbol names may hold any bytes.
  return result.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace aotiny
