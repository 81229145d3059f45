#include "aotiny/core/device_interface.h"

#include <dlfcn.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <string_view>

#include "aotiny/core/status.h"

namespace aotiny {
namespace {

namespace fs = std::filesystem;

constexpr const char* kLibraryName = "libaotiny_cuda.so.0";

std::string linker_message() {
  const char* text = ::dlerror();
  return text != nullptr ? text : "no reason given";
}

// The folder that libaotiny was loaded from.
fs::path own_folder() {
  Dl_info info{};
  const bool found = ::dladdr(reinterpret_cast<void*>(&device_interface), &info) != 0;
  require(found && info.dli_fname != nullptr, Status::NotFound,
          "CUDA is not available: libaotiny does not find its own folder");
  return fs::absolute(info.dli_fname).parent_path();
}

// The name of the CUDA runtime in the linker's complaint that it is not there ("libcudart.so.13:
// cannot open ..."); empty if the complaint is about something else.
std::string missing_runtime(std::string_view complaint) {
  if (!complaint.starts_with("libcudart.so")) return {};
  return std::string(complaint.substr(0, complaint.find(':')));
}

// Where a CUDA runtime can be that the linker does not look for: NVIDIA's wheels install it beside
// the package, and toolkits into their own folder.
std::vector<fs::path> runtime_folders(const fs::path& own) {
  std::vector<fs::path> folders;
  const fs::path site_packages = own.parent_path().parent_path();  // .../aotiny/lib
  for (const char* wheel : {"nvidia/cu13/lib", "nvidia/cuda_runtime/lib"}) {
    folders.push_back(site_packages / wheel);
  }
  for (const char* variable : {"CUDA_HOME", "CUDA_PATH"}) {
    const char* home = std::getenv(variable);
    if (home != nullptr && *home != '\0') folders.push_back(fs::path(home) / "lib64");
  }
  folders.push_back("/usr/local/cuda/lib64");
  return folders;
}

// Opens a CUDA runtime, so that the library that needs one of this name finds it loaded.
void open_runtime(const std::string& name, const fs::path& own) {
  std::string tried;
  for (const fs::path& folder : runtime_folders(own)) {
    if (::dlopen((folder / name).c_str(), RTLD_NOW | RTLD_LOCAL) != nullptr) return;
    tried += ", " + folder.string();
  }
  fail(Status::NotFound, "CUDA is not available: the CUDA runtime ", name,
       " was not found (a CUDA toolkit has it, or NVIDIA's Python package nvidia-cuda-runtime);"
       " looked in the linker's path",
       tried);
}

void* open_library() {
  const fs::path own = own_folder();
  const fs::path path = own / kLibraryName;
  std::error_code ignored;
  require(fs::exists(path, ignored), Status::NotFound,
          "CUDA is not available: this aotiny was built without it (there is no ", path.string(),
          ")");
  void* library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const std::string complaint = linker_message();
    const std::string runtime = missing_runtime(complaint);
    require(!runtime.empty(), Status::NotFound, "CUDA is not available: ", path.string(),
            " cannot be loaded: ", complaint);
    open_runtime(runtime, own);
    library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    require(library != nullptr, Status::NotFound, "CUDA is not available: ", path.string(),
            " cannot be loaded: ", linker_message());
  }
  return library;
}

DeviceInterface& open_interface() {
  void* library = open_library();  // stays open: its allocator outlives the last tensor
  const auto open = reinterpret_cast<OpenDeviceLibrary>(::dlsym(library, kOpenDeviceLibrary));
  require(open != nullptr, Status::NotFound, "CUDA is not available: ", kLibraryName, " has no ",
          kOpenDeviceLibrary);
  DeviceInterface* found = nullptr;
  const int32_t code = open(AOTINY_VERSION, &found);
  require(code == 0, Status::NotFound, "CUDA is not available: ", last_error());
  return *found;
}

// One of each a process, like the library itself.
std::atomic<DeviceInterface*> g_cuda{nullptr};
std::mutex g_opening;

}  // namespace

DeviceInterface& device_interface(DeviceType type) {
  require(type == DeviceType::CUDA, Status::InvalidArgument, "the CPU has no device library");
  if (DeviceInterface* opened = g_cuda.load(std::memory_order_acquire)) return *opened;
  const std::lock_guard lock(g_opening);
  if (DeviceInterface* opened = g_cuda.load(std::memory_order_acquire)) return *opened;
  DeviceInterface& opened = open_interface();
  g_cuda.store(&opened, std::memory_order_release);
  return opened;
}

}  // namespace aotiny
