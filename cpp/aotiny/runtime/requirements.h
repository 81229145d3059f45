// What a compiled model needs of the machine it runs on.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "aotiny/core/device.h"
#include "aotiny/runtime/elf_image.h"

namespace aotiny {

struct Machine {
  std::string platform;                // as Python's sys.platform: "linux"
  std::string architecture;            // as uname -m: "x86_64"
  std::set<std::string> cpu_features;  // the flags of /proc/cpuinfo
};

// The machine this process runs on; read once.
const Machine& this_machine();

// The CPU features, named as in /proc/cpuinfo, behind the names in AOTI_CPU_ISA ("AVX512
// AVX512_VNNI"). Names that stand for none are left out.
std::vector<std::string> features_of_isa(const std::string& isa);

// Fails with NotSupported, naming all that is missing, unless a model with this code, metadata and
// list of CPU features (of its manifest; otherwise those that its metadata names) can run here.
// `name` is for messages.
void check_requirements(const std::string& name, const ElfImage& image,
                        const std::map<std::string, std::string>& metadata,
                        const std::vector<std::string>* cpu_features, Device device,
                        const Machine& machine);

}  // namespace aotiny
