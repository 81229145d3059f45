// The compiled code of a model, opened in this process.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "aotiny/core/device.h"
#include "aotiny/core/status.h"
#include "aotiny/runtime/elf_image.h"

namespace aotiny {

class Library {
 public:
  // Opens the image from anonymous memory: nothing is written to a file system. Fails with
  // OperatorMissing, naming every symbol that nobody provides, before any of its code runs.
  // `name` is for messages. Code for a device finds what it needs in the device's library too.
  Library(Bytes image, const std::string& name, DeviceType device);
  // Closes it; no other thread may be running its code.
  ~Library();
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;

  // The address of a function that it defines, nullptr if it does not.
  void* find(const char* symbol) const noexcept;

 private:
  void silence_own_cerr() noexcept;

  FileDescriptor file_;
  void* handle_ = nullptr;
};

// What an image needs and this machine does not have.
struct Missing {
  // Provided by neither aotiny, nor the device's library, nor the image's own dependencies (but for
  // those named by a path, which are not opened), nor load_library's libraries, nor the process;
  // sorted. What the driver would provide, where there is none, is not among them.
  std::vector<std::string> symbols;
  // Why a library cannot be opened: one sentence each.
  std::vector<std::string> libraries;
};
Missing find_missing(const ElfImage& image, DeviceType device);

// Opens a shared library with custom operators (aoti_torch_<device>_<name>) for the models that are
// opened later; it stays open. Fails with AccessFailed, with the linker's message.
void load_library(const std::string& path);

}  // namespace aotiny
