// The compiled code of a model, opened in this process.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "aotiny/core/status.h"
#include "aotiny/runtime/elf_image.h"

namespace aotiny {

class Library {
 public:
  // Opens the image from anonymous memory: nothing is written to a file system. Fails with
  // OperatorMissing, naming every symbol that nobody provides, before any of its code runs.
  // `name` is for messages.
  Library(Bytes image, const std::string& name);
  // Closes it; no other thread may be running its code.
  ~Library();
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;

  // The address of a function that it defines, nullptr if it does not.
  void* find(const char* symbol) const noexcept;

 private:
  FileDescriptor file_;
  void* handle_ = nullptr;
};

// The symbols that an image needs and that neither aotiny, nor the image's own dependencies (but
// for those named by a path, which are not opened), nor load_library's libraries, nor the process
// provide; sorted.
std::vector<std::string> missing_symbols(const ElfImage& image);

// Opens a shared library with custom operators (aoti_torch_<device>_<name>) for the models that are
// opened later; it stays open. Fails with AccessFailed, with the linker's message.
void load_library(const std::string& path);

}  // namespace aotiny
