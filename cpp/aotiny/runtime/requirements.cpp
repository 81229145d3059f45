#include "aotiny/runtime/requirements.h"

#include <sys/utsname.h>

#include <algorithm>
#include <array>
#include <charconv>
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

std::string value_of(const std::map<std::string, std::string>& metadata, const char* key) {
  const auto found = metadata.find(key);
  return found == metadata.end() ? std::string() : found->second;
}

// Whether there are fat binaries in an image, which hold PTX beside machine code: the header's
// magic number, version 1 and its size, 16.
bool has_fat_binary(Bytes image) {
  constexpr std::array<uint8_t, 8> kHeader = {0x50, 0xED, 0x55, 0xBA, 1, 0, 16, 0};
  return std::search(image.begin(), image.end(), kHeader.begin(), kHeader.end()) != image.end();
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
  const auto value = [&](const char* key) { return value_of(metadata, key); };
  const std::string platform = value("AOTI_PLATFORM");
  require(platform.empty() || platform == machine.platform, Status::NotSupported, name,
          " was compiled for platform ", platform, ", this is ", machine.platform);
  const std::string architecture = value("AOTI_MACHINE");
  require(architecture.empty() || architecture == machine.architecture, Status::NotSupported, name,
          " was compiled for machine ", architecture, ", this is ", machine.architecture);
  require(image.machine_name() == machine.architecture, Status::NotSupported, name,
          " holds code for ", image.machine_name(), " (ELF machine ", image.machine(),
          "), this is ", machine.architecture);
  const std::string device_key = value("AOTI_DEVICE_KEY");
  const std::string asked = device.type == DeviceType::CPU ? "cpu" : "cuda";
  require(device_key.empty() || device_key == asked, Status::NotSupported, name,
          " was compiled for device ", device_key, ", not for ", device);

  const std::vector<std::string> needed =
      cpu_features != nullptr ? *cpu_features : features_of_isa(value("AOTI_CPU_ISA"));
  std::string missing;
  for (const std::string& feature : needed) {
    if (machine.cpu_features.count(feature) == 0) missing += " " + feature;
  }
  require(missing.empty(), Status::NotSupported, name,
          " was compiled for a processor with more instructions; this one lacks:", missing);
}

DeviceType compiled_for(const std::map<std::string, std::string>& metadata) {
  return value_of(metadata, "AOTI_DEVICE_KEY") == "cuda" ? DeviceType::CUDA : DeviceType::CPU;
}

void check_compute_capability(const std::string& name, Bytes image,
                              const std::map<std::string, std::string>& metadata, Device device,
                              const DeviceProperties& properties) {
  const std::string text = value_of(metadata, "AOTI_COMPUTE_CAPABILITY");
  if (text.empty() || text == "None") return;
  int number = 0;  // 10·major + minor
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  require(error == std::errc() && end == text.data() + text.size() && number >= 10,
          Status::InvalidProgram, name, ": AOTI_COMPUTE_CAPABILITY is \"", text,
          "\", which is no compute capability");
  const int major = number / 10, minor = number % 10;
  const int here_major = properties.compute_capability_major;
  const int here_minor = properties.compute_capability_minor;
  const bool runs = major == here_major && (major >= 9 ? minor == here_minor : minor <= here_minor);
  require(runs || has_fat_binary(image), Status::NotSupported, name,
          " was compiled for compute capability ", major, ".", minor, "; ", device, " (",
          properties.name, ") has ", here_major, ".", here_minor,
          ", which its machine code does not run on");
}

}  // namespace aotiny
