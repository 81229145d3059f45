// A .pt2 archive: which models it holds and where their parts lie.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "aotiny/runtime/mapped_file.h"
#include "aotiny/runtime/zip.h"

namespace aotiny {

struct PackagedModel {
  std::string name;                 // its folder under <root>/data/aotinductor/
  ZipEntry library;                 // the compiled code, *.wrapper.so
  std::optional<ZipEntry> weights;  // *.wrapper_weights.blob, where they are not in the library
  std::map<std::string, std::string> metadata;  // *.wrapper_metadata.json: AOTI_PLATFORM, ...
  std::vector<std::string> proxy_operators;     // *.wrapper.json: operators without a C shim
};

class Package {
 public:
  // Fails with NotFound, AccessFailed or InvalidProgram.
  explicit Package(const std::string& path);

  const MappedFile& file() const noexcept { return file_; }
  const std::vector<ZipEntry>& entries() const noexcept { return entries_; }
  const std::vector<PackagedModel>& models() const noexcept { return models_; }
  // The text of extra/aotiny.json, if the package has one; its model is then the only one.
  const std::optional<std::string>& manifest() const noexcept { return manifest_; }

  // By name; an empty name asks for the only model. Fails with NotFound, naming those there are.
  const PackagedModel& model(const std::string& name) const;
  // The data of an entry, its checksum verified.
  Bytes data(const ZipEntry& entry) const {
    return checked_data(file_.bytes(), entry, file_.path());
  }

 private:
  void read_model(const std::string& name, const std::vector<const ZipEntry*>& files);

  MappedFile file_;
  std::vector<ZipEntry> entries_;
  std::vector<PackagedModel> models_;
  std::optional<std::string> manifest_;
};

}  // namespace aotiny
