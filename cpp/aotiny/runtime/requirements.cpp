#include "aotiny/runtime/requirements.h"

#include <sys/utsname.h>

#include <fstream>
#include <sstream>

#include "aotiny/core/status.h"

namespace aotiny {
namespace {

Machine read_machine() {
  Machine machine{"linux", "", {}};
  utsname names{};
  if (::uname(&names) == 0) machine.architecture = names.machine;
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("flags") && !line.starts_with("Features")) continue;
    std::istringstream words(line.substr(line.find(':') + 1));
    for (std::string word; words >> word;) machine.cpu_features.insert(word);
    break;  // the processors of a machine have the same
  }
  return machine;
}

const std::map<std::string, std::vector<std::string>>& isa_features() {
  static const std::map<std::string, std::vector<std::string>> features = {
      {"AVX2", {"avx2", "fma", "f16c"}},
      {"AVX512", {"avx512f", "avx512bw", "avx512dq", "avx512vl"}},
      {"AVX512_VNNI", {"avx512_vnni"}},
      {"AVX512_BF16", {"avx512_bf16"}},
      {"AMX_TILE", {"amx_tile"}},
      {"ASIMD", {"asimd"}},
      {"SVE", {"sve"}},
  };
  return features;
}

}  // namespace

const Machine& this_machine() {
  static const Machine machine = read_machine();
  return machine;
}

std::vector<std::string> features_of_isa(const std::string& isa) {
  std::vector<std::string> features;
  std::istringstream words(isa);
  for (std::string word; words >> word;) {
    const auto found = isa_features().find(word);
    if (found == isa_features().end()) continue;
    features.insert(features.end(), found->second.begin(), found->second.end());
  }
  return features;
}

void check_requirements(const std::string& name, const ElfImage& image,
                        const std::map<std::string, std::string>& metadata,
                        const std::vector<std::string>* cpu_features, Device device,
                        const Machine& machine) {
  const auto value = [&](const char* key) {
    const auto found = metadata.find(key);
    return found == metadata.end() ? std::string() : found->second;
  };
  const std::string platform = value("AOTI_PLATFORM");
  require(platform.empty() || platform == machine.platform, Status::NotSupported, name,
          " was compiled for platform ", platform, ", this is ", machine.platform);
  const std::string architecture = value("AOTI_MACHINE");
  require(architecture.empty() || architecture == machine.architecture, Status::NotSupported, name,
          " was compiled for machine ", architecture, ", this is ", machine.architecture);
  require(image.machine_name() == machine.architecture, Status::NotSupported, name,
          " holds code for ", image.machine_name(), " (ELF machine ", image.machine(),
          "), this is ", machine.architecture);
  const std::string compiled_for = value("AOTI_DEVICE_KEY");
  const std::string asked = device.type == DeviceType::CPU ? "cpu" : "cuda";
  require(compiled_for.empty() || compiled_for == asked, Status::NotSupported, name,
          " was compiled for device ", compiled_for, ", not for ", device);

  const std::vector<std::string> needed =
      cpu_features != nullptr ? *cpu_features : features_of_isa(value("AOTI_CPU_ISA"));
  std::string missing;
  for (const std::string& feature : needed) {
    if (machine.cpu_features.count(feature) == 0) missing += " " + feature;
  }
  require(missing.empty(), Status::NotSupported, name,
          " was compiled for a processor with more instructions; this one lacks:", missing);
}

}  // namespace aotiny
