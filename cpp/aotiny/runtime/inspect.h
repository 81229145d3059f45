// What a package holds and needs, found without running any of its code.
#pragma once

#include <string>

namespace aotiny {

// A JSON object:
//   path, bytes,
//   from the manifest, null without one: aotiny_version, torch_version, device, cpu, inputs,
//     outputs, constants, quantization, compile_options,
//   models: by name {library_bytes, weights_bytes (null if they are in the code), metadata, needed,
//     required_symbols (aoti_torch_* and Sleef_*), missing_symbols, missing_libraries (sentences:
//     a dependency, the CUDA runtime or aotiny's CUDA library cannot be opened here; the driver's
//     symbols are not among the missing ones where there is no driver), proxy_operators,
//     executable_stack},
//   entries: [{name, bytes}].
// Fails as opening the package does.
std::string inspect_package(const std::string& path);

}  // namespace aotiny
