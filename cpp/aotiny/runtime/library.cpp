#include "aotiny/runtime/library.h"

#include <dlfcn.h>
#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <mutex>

#include "aotiny/core/device_interface.h"
#include "aotiny/runtime/silent_stream.h"
#include "aotiny/runtime/thread_exit.h"

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

namespace aotiny {
namespace {

constexpr const char* kSoname = "libaotiny.so.0";
constexpr const char* kDriver = "libcuda.so.1";
constexpr const char* kAbiProbe = "aoti_torch_delete_tensor_object";

// What models refer to, and what takes its place: see thread_exit.h, silent_stream.h and, in the
// CUDA library, modules.h.
using Renamed = std::vector<std::pair<std::string, std::string>>;
constexpr const char* kCerr = "_ZSt4cerr";
const Renamed kRenamed = {{"__cxa_thread_atexit", "aotiny_thread_exit"}, {kCerr, "aotinyerr"}};
constexpr std::pair<const char*, const char*> kModuleLoad = {"cuModuleLoadData",
                                                             "aotinyModuleLoad"};

// An open library; closes itself.
class Handle {
 public:
  explicit Handle(void* handle = nullptr) noexcept : handle_(handle) {}
  Handle(Handle&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  ~Handle() {
    if (handle_ != nullptr) ::dlclose(handle_);
  }
  explicit operator bool() const noexcept { return handle_ != nullptr; }
  void* find(const char* symbol) const noexcept { return ::dlsym(handle_, symbol); }
  void* get() const noexcept { return handle_; }

 private:
  void* handle_;
};

const char* linker_message() {
  const char* text = ::dlerror();
  return text != nullptr ? text : "no reason given";
}

// The library that this code is in.
const Handle& self() {
  static const Handle& handle = *new Handle([] {  // never closed
    Dl_info info{};
    // A C++ name: unlike aoti_torch_*, no other library can define it in our place.
    const bool found = ::dladdr(reinterpret_cast<void*>(&load_library), &info) != 0;
    Handle opened(found ? ::dlopen(info.dli_fname, RTLD_NOLOAD | RTLD_LAZY) : nullptr);
    require(static_cast<bool>(opened), Status::InvalidState,
            "aotiny does not find itself: ", linker_message());
    return opened;
  }());
  return handle;
}

// What load_library has opened.
struct UserLibraries {
  std::mutex mutex;
  std::vector<std::pair<Handle, std::string>> entries;  // with the name that others need it by
};

UserLibraries& user_libraries() {
  static UserLibraries* const libraries = new UserLibraries;  // never closed
  return *libraries;
}

std::string soname_of(const Handle& library) {
  link_map* map = nullptr;
  require(::dlinfo(library.get(), RTLD_DI_LINKMAP, &map) == 0, Status::AccessFailed,
          linker_message());
  const char* strings = nullptr;
  const ElfW(Dyn)* soname = nullptr;
  for (const ElfW(Dyn)* entry = map->l_ld; entry->d_tag != DT_NULL; ++entry) {
    if (entry->d_tag == DT_STRTAB) strings = reinterpret_cast<const char*>(entry->d_un.d_ptr);
    if (entry->d_tag == DT_SONAME) soname = entry;
  }
  return soname != nullptr ? strings + soname->d_un.d_val : map->l_name;
}

// dlsym also looks into what a library depends on: for the device's, that is the CUDA runtime.
bool is_in_aotiny(const char* symbol, DeviceType device) {
  if (self().find(symbol) != nullptr) return true;
  return device == DeviceType::CUDA && ::dlsym(device_library(device), symbol) != nullptr;
}

// Whether a symbol is named like those of the CUDA driver: cuLaunchKernel, but not cudaMalloc.
bool is_of_driver(const std::string& symbol) {
  return symbol.size() > 2 && symbol.starts_with("cu") &&
         std::isupper(static_cast<unsigned char>(symbol[2])) != 0;
}

// The libraries that a model shall depend on: aotiny, the device's, which brings the CUDA runtime
// along, and those of load_library's with an operator that it needs.
std::vector<std::string> libraries_for(const ElfImage& image, DeviceType device) {
  std::vector<std::string> names = {kSoname};
  if (device == DeviceType::CUDA) names.push_back(kCudaLibrary);
  UserLibraries& libraries = user_libraries();
  const std::lock_guard lock(libraries.mutex);
  for (const auto& [handle, name] : libraries.entries) {
    for (const std::string& symbol : image.undefined()) {
      if (is_in_aotiny(symbol.c_str(), device)) continue;
      if (handle.find(symbol.c_str()) != nullptr) {
        names.push_back(name);
        break;
      }
    }
  }
  return names;
}

// Memory that can be opened as a library, with the image and the patches in it.
FileDescriptor make_file(Bytes image, const std::vector<Patch>& patches, const std::string& name) {
  const std::string title = "aotiny:" + name.substr(0, 200);
  int fd = ::memfd_create(title.c_str(), MFD_CLOEXEC | MFD_EXEC);
  if (fd < 0 && errno == EINVAL) fd = ::memfd_create(title.c_str(), MFD_CLOEXEC);  // older kernels
  FileDescriptor file(fd);
  require(file.get() >= 0, Status::AccessFailed, name, ": memfd_create: ", std::strerror(errno));
  const auto write = [&](const void* data, size_t size, uint64_t offset) {
    const char* at = static_cast<const char*>(data);
    while (size > 0) {
      const ssize_t written = ::pwrite(file.get(), at, size, static_cast<off_t>(offset));
      if (written < 0 && errno == EINTR) continue;
      require(written > 0, Status::AccessFailed, name, ": writing ", size,
              " bytes to memory: ", std::strerror(errno));
      at += written;
      offset += static_cast<uint64_t>(written);
      size -= static_cast<size_t>(written);
    }
  };
  write(image.data(), image.size(), 0);
  for (const Patch& patch : patches) write(patch.bytes.data(), patch.bytes.size(), patch.offset);
  return file;
}

// The path of a descriptor, spelled as no path was before: the linker takes a library whose path it
// knows for the one it has, and descriptors are used again. The bits of a counter become "/" and
// "/." between the components.
std::string unique_path(int fd) {
  static std::atomic<uint64_t> counter{1};
  std::string path = "/proc/self/fd";
  for (uint64_t bits = counter.fetch_add(1); bits != 0; bits >>= 1) {
    path += (bits & 1) != 0 ? "/." : "/";
  }
  return path + "/" + std::to_string(fd);
}

// Whether another library's aoti_torch_* would come before ours in a model's lookup: libtorch,
// opened RTLD_GLOBAL. (RTLD_DEEPBIND is only used then, since it does not go with sanitizers.)
bool is_shadowed() {
  const void* first = ::dlsym(RTLD_DEFAULT, kAbiProbe);
  return first != nullptr && first != self().find(kAbiProbe);
}

// libtorch's operators work on other tensors than ours.
bool is_in_libtorch(const void* address) {
  Dl_info info{};
  if (::dladdr(address, &info) == 0) return false;
  std::string_view file = info.dli_fname;
  file.remove_prefix(file.rfind('/') + 1);  // from 0 where there is none
  return is_libtorch(file);
}

struct Range {
  uintptr_t begin = 0, end = 0;
};

// The addresses of the library that `address` is in.
Range range_of(const void* address) {
  struct Search {
    uintptr_t address;
    Range range;
  } search{reinterpret_cast<uintptr_t>(address), {}};
  ::dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* data) {
        Search& search = *static_cast<Search*>(data);
        Range range{UINTPTR_MAX, 0};
        for (int i = 0; i < info->dlpi_phnum; ++i) {
          const ElfW(Phdr)& segment = info->dlpi_phdr[i];
          if (segment.p_type != PT_LOAD) continue;
          const uintptr_t begin = info->dlpi_addr + segment.p_vaddr;
          range.begin = std::min<uintptr_t>(range.begin, begin);
          range.end = std::max<uintptr_t>(range.end, begin + segment.p_memsz);
        }
        if (search.address < range.begin || search.address >= range.end) return 0;
        search.range = range;
        return 1;
      },
      &search);
  return search.range;
}

// Models of torch before 2.13 load modules and never unload them.
Renamed renamed_in(const ElfImage& image) {
  Renamed renamed = kRenamed;
  const auto& undefined = image.undefined();
  if (!std::binary_search(undefined.begin(), undefined.end(), "cuModuleUnload")) {
    renamed.emplace_back(kModuleLoad);
  }
  return renamed;
}

}  // namespace

Missing find_missing(const ElfImage& image, DeviceType device) {
  Missing missing;
  bool has_driver = true;
  std::vector<Handle> dependencies;
  for (const std::string& name : image.needed()) {
    // Opening a library runs its initialisers, which must not happen to inspect. The system's
    // libraries go by name; a path may lead to anything, the package itself included.
    if (is_libtorch(name) || name.find('/') != std::string::npos) continue;
    if (Handle handle{::dlopen(name.c_str(), RTLD_LAZY | RTLD_LOCAL)}) {
      dependencies.push_back(std::move(handle));
    } else {
      missing.libraries.emplace_back(linker_message());
      has_driver = has_driver && name != kDriver;
    }
  }
  void* device_handle = nullptr;
  if (device == DeviceType::CUDA) {
    try {
      device_handle = device_library(device);
    } catch (const Error& error) {
      missing.libraries.emplace_back(error.what());
    }
  }
  UserLibraries& libraries = user_libraries();
  const std::lock_guard lock(libraries.mutex);
  const auto is_provided = [&](const char* symbol) {
    if (self().find(symbol) != nullptr) return true;
    if (device_handle != nullptr && ::dlsym(device_handle, symbol) != nullptr) return true;
    for (const Handle& dependency : dependencies) {
      if (dependency.find(symbol) != nullptr) return true;
    }
    for (const auto& [handle, name] : libraries.entries) {
      if (handle.find(symbol) != nullptr) return true;
    }
    const void* address = ::dlsym(RTLD_DEFAULT, symbol);
    return address != nullptr && !is_in_libtorch(address);
  };
  for (const std::string& symbol : image.undefined()) {
    if (!has_driver && is_of_driver(symbol)) continue;
    if (!is_provided(symbol.c_str())) missing.symbols.push_back(symbol);
  }
  return missing;
}

Library::Library(Bytes image, const std::string& name, DeviceType device) {
  const ElfImage elf(image, name);
  const Missing missing = find_missing(elf, device);
  if (!missing.symbols.empty()) {
    std::string list;
    for (const std::string& symbol : missing.symbols) list += (list.empty() ? "" : ", ") + symbol;
    fail(Status::OperatorMissing, name, " needs ", missing.symbols.size(),
         " symbols that neither aotiny nor its dependencies provide: ", list);
  }
  file_ = make_file(image, elf.prepare(libraries_for(elf, device), renamed_in(elf)), name);
  const int mode = RTLD_NOW | RTLD_LOCAL | (is_shadowed() ? RTLD_DEEPBIND : 0);
  handle_ = ::dlopen(unique_path(file_.get()).c_str(), mode);
  require(handle_ != nullptr, Status::InvalidProgram, name,
          " cannot be opened: ", linker_message());
  silence_own_cerr();
}

// A library that holds its own copy of the standard library has its own std::cerr.
void Library::silence_own_cerr() noexcept {
  link_map* map = nullptr;
  void* own = ::dlsym(handle_, kCerr);
  if (own == nullptr || ::dlinfo(handle_, RTLD_DI_LINKMAP, &map) != 0) return;
  const Range range = range_of(map->l_ld);
  const auto address = reinterpret_cast<uintptr_t>(own);
  if (address >= range.begin && address < range.end) silence(*static_cast<std::ostream*>(own));
}

Library::~Library() {
  if (handle_ == nullptr) return;
  link_map* map = nullptr;
  if (::dlinfo(handle_, RTLD_DI_LINKMAP, &map) == 0) {
    const Range range = range_of(map->l_ld);
    run_thread_destructors(range.begin, range.end);
  }
  ::dlclose(handle_);
}

void* Library::find(const char* symbol) const noexcept { return ::dlsym(handle_, symbol); }

void load_library(const std::string& path) {
  Handle handle(::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL));
  require(static_cast<bool>(handle), Status::AccessFailed, path, ": ", linker_message());
  std::string name = soname_of(handle);
  UserLibraries& libraries = user_libraries();
  const std::lock_guard lock(libraries.mutex);
  for (const auto& entry : libraries.entries) {
    if (entry.first.get() == handle.get()) return;  // a model has room for few names
  }
  libraries.entries.emplace_back(std::move(handle), std::move(name));
}

}  // namespace aotiny
