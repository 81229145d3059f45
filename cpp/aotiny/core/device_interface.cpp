#include "aotiny/core/device_interface.h"

#include <dlfcn.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <string_view>

#include "aotiny/core/nvidia_libraries.h"
#include "aotiny/core/status.h"

namespace aotiny {
namespace {

namespace fs = std::filesystem;

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

// Opens the CUDA runtime that the linker did not find ("libcudart.so.13: cannot open ..."), so that
// the library that needs it finds it loaded; does nothing if the complaint is about something else.
void open_missing_runtime(const std::string& complaint) {
  constexpr std::string_view kRuntime = "libcudart.so.";
  if (!complaint.starts_with(kRuntime)) return;
  open_nvidia_library({.purpose = "CUDA is not available",
                       .what = "the CUDA runtime",
                       .stem = "cudart",
                       .package = "nvidia-cuda-runtime",
                       .folder = "cuda_runtime",
                       .major = std::atoi(complaint.c_str() + kRuntime.size())});
}

// Every call opens the library that is open already, once there is one, and it stays open: its
// allocator outlives the last tensor.
void* open_library() {
  const fs::path own = own_folder();
  const fs::path path = own / kCudaLibrary;
  std::error_code ignored;
  require(fs::exists(path, ignored), Status::NotFound,
          "CUDA is not available: this aotiny was built without it (there is no ", path.string(),
          ")");
  void* library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    open_missing_runtime(linker_message());
    library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    require(library != nullptr, Status::NotFound, "CUDA is not available: ", path.string(),
            " cannot be loaded: ", linker_message());
  }
  return library;
}

DeviceInterface& open_interface() {
  void* library = open_library();
  const auto open = reinterpret_cast<OpenDeviceLibrary>(::dlsym(library, kOpenDeviceLibrary));
  require(open != nullptr, Status::NotFound, "CUDA is not available: ", kCudaLibrary, " has no ",
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

void* device_library(DeviceType type) {
  require(type == DeviceType::CUDA, Status::InvalidArgument, "the CPU has no device library");
  const std::lock_guard lock(g_opening);
  return open_library();
}

DeviceScope::DeviceScope(Device device) : device_(device) {
  if (device.type == DeviceType::CPU) return;
  DeviceInterface& found = device_interface(device.type);
  found.push_current(device.index);
  interface_ = &found;
}

DeviceScope::DeviceScope(Device device, void* stream) : DeviceScope(device) {
  if (interface_ == nullptr) return;
  previous_stream_ = interface_->current_stream(device_);
  interface_->set_current_stream(device_, stream);
  has_stream_ = true;
}

DeviceScope::~DeviceScope() {
  if (interface_ == nullptr) return;
  if (has_stream_) interface_->set_current_stream(device_, previous_stream_);
  interface_->pop_current();
}

}  // namespace aotiny
