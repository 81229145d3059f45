// What a compiled model needs of the machine it runs on.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "aotiny/core/device_interface.h"
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

// The device type that a model with this metadata was compiled for; the CPU where it does not say.
DeviceType compiled_for(const std::map<std::string, std::string>& metadata);

// Fails with NotSupported, naming both, if the machine code of a CUDA model's kernels is for
// another compute capability than the device's. Code runs on devices of the same major and an equal
// or higher minor number, and from 9.0 on, where Triton compiles for features that only one kind of
// device has (sm_90a), on that one only. Kernels that come as PTX too (emit_multi_arch_kernel), and
// models that do not say, are left to the driver.
void check_compute_capability(const std::string& name, Bytes image,
                              const std::map<std::string, std::string>& metadata, Device device,
                              const DeviceProperties& properties);

}  // namespace aotiny
