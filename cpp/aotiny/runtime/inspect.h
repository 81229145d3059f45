// What a package holds and needs, found without running any of its code.
#pragma once

#include <string>

namespace aotiny {

// A JSON object:
//   path, bytes, manifest (as stored, or null),
//   entries: [{name, bytes}],
//   models: [{name, library_bytes, weights_bytes (null if they are in the code), metadata,
//             needed, required_symbols (those that aotiny or its dependencies must provide),
//             missing_symbols, proxy_operators, executable_stack}]
// and, from the manifest where there is one: inputs, outputs, constants, quantization,
// compile_options. Fails as opening the package does.
std::string inspect_package(const std::string& path);

}  // namespace aotiny
