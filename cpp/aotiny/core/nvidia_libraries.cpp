#include "aotiny/core/nvidia_libraries.h"

#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>
#include <vector>

#include "aotiny/core/status.h"

namespace aotiny {
namespace {

namespace fs = std::filesystem;

// The folder that the aotiny package lies in, whose lib/ has libaotiny; "" if that is not known.
fs::path site_packages() {
  Dl_info info{};
  const bool found = ::dladdr(reinterpret_cast<void*>(&open_nvidia_library), &info) != 0;
  if (!found || info.dli_fname == nullptr) return {};
  return fs::absolute(info.dli_fname).parent_path().parent_path().parent_path();
}

std::vector<fs::path> folders_of(const NvidiaLibrary& library) {
  std::vector<fs::path> folders;
  if (const fs::path site = site_packages(); !site.empty()) {
    const std::string toolkit = "cu" + std::to_string(library.major);
    for (const std::string& folder : {toolkit, library.folder}) {
      folders.push_back(site / "nvidia" / folder / "lib");
    }
  }
  for (const char* variable : {"CUDA_HOME", "CUDA_PATH"}) {
    const char* home = std::getenv(variable);
    if (home != nullptr && *home != '\0') folders.push_back(fs::path(home) / "lib64");
  }
  folders.push_back("/usr/local/cuda/lib64");
  return folders;
}

// From CUDA 13 on the packages' names have no suffix.
std::string package_of(const NvidiaLibrary& library) {
  return library.major >= 13 ? library.package
                             : library.package + "-cu" + std::to_string(library.major);
}

void* open(const fs::path& path) { return ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL); }

// Why the last open failed, in brackets; "" if there is no such file.
std::string complaint(const std::string& file) {
  const char* text = ::dlerror();
  const std::string reason = text != nullptr ? text : "no reason given";
  if (reason.starts_with(file + ": cannot open shared object file: No such file")) return {};
  return " (which did not load it: " + reason + ")";
}

}  // namespace

void* open_nvidia_library(const NvidiaLibrary& library) {
  const std::string file = library.file();
  if (void* opened = open(file)) return opened;
  std::string tried = "the linker's path" + complaint(file);
  for (const fs::path& folder : folders_of(library)) {
    if (!library.needs.empty()) {
      // Once it is loaded, it is found by its name. If it is not there, the next complaint says so.
      open(folder / ("lib" + library.needs + ".so." + std::to_string(library.major)));
    }
    const fs::path path = folder / file;
    if (void* opened = open(path)) return opened;
    tried += ", " + folder.string() + complaint(path.string());
  }
  fail(Status::NotFound, library.purpose, ": ", library.what, ' ', file,
       " was not found (a CUDA toolkit has it, or NVIDIA's Python package ", package_of(library),
       "); looked in ", tried);
}

}  // namespace aotiny
