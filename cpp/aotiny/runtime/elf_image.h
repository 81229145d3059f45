// A 64-bit ELF shared object in memory: what it needs, and how to change it before it is opened.
#pragma once

#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "aotiny/core/status.h"
#include "aotiny/runtime/mapped_file.h"

namespace aotiny {

// Bytes to write over those at a file offset.
struct Patch {
  uint64_t offset = 0;
  std::string bytes;
};

// Whether a library's file name is one of libtorch's, whose place aotiny takes.
bool is_libtorch(std::string_view library) noexcept;

class ElfImage {
 public:
  // Reads the headers, the dynamic section and the dynamic symbols; every offset is checked. Fails
  // with InvalidProgram; `name` is for messages.
  ElfImage(Bytes image, std::string name);

  int machine() const noexcept { return machine_; }  // EM_X86_64, ...
  const char* machine_name() const noexcept;         // as uname calls it, or "unknown"
  const std::vector<std::string>& needed() const noexcept { return needed_; }
  // The strong symbols that other libraries must provide, sorted.
  const std::vector<std::string>& undefined() const noexcept { return undefined_; }
  bool defines(std::string_view symbol) const;
  bool has_executable_stack() const noexcept { return executable_stack_; }

  // What to change so that
  // - the stack need not be executable, which recent C libraries refuse;
  // - the object depends on `libraries`, in this order, in addition to what it needs, and on no
  //   libtorch or libc10: `libraries` take their place;
  // - its unique symbols (STB_GNU_UNIQUE) are weak ones, so that two models do not share variables
  //   and the object can be unloaded;
  // - undefined symbols named `renamed.first` become references to `renamed.second`, which must
  //   not be longer, without a version; they stay as they are where other strings share the name.
  // Fails with NotSupported if the object has no room for the names.
  std::vector<Patch> prepare(const std::vector<std::string>& libraries,
                             const std::vector<std::pair<std::string, std::string>>& renamed) const;

 private:
  struct Segment {
    uint64_t offset, address, file_size;
  };
  struct Symbol {
    uint64_t offset;  // of the symbol in the file
    uint32_t name;    // in the string table
    uint8_t info;
    bool defined;
  };
  struct Dynamic {
    int64_t tag;
    uint64_t value;
    uint64_t offset;  // of the entry in the file
  };
  void read_header();
  void read_dynamic();
  void read_symbols();
  uint64_t count_symbols() const;
  std::vector<uint64_t> string_references() const;
  bool is_unshared(uint64_t offset, size_t length, const std::vector<uint64_t>& references) const;
  std::vector<bool> relocated_symbols() const;
  Patch place_string(const std::string& text, std::vector<uint64_t>& taken) const;

  template <class T>
  T read(uint64_t offset, const char* what) const;
  uint64_t file_offset(uint64_t address, uint64_t size, const char* what) const;
  std::optional<uint64_t> dynamic_value(int64_t tag) const;
  uint64_t required_value(int64_t tag, const char* what) const;
  std::string_view string_at(uint64_t offset) const;
  template <class... Parts>
  void check(bool condition, const Parts&... parts) const;

  Bytes image_;
  std::string name_;
  int machine_ = 0;
  bool executable_stack_ = false;
  uint64_t stack_flags_ = 0;  // file offset of PT_GNU_STACK's flags
  std::vector<Segment> segments_;
  std::vector<Dynamic> dynamic_;
  uint64_t dynamic_offset_ = 0, dynamic_size_ = 0;
  uint64_t strings_ = 0, strings_size_ = 0;
  std::vector<Symbol> symbols_;
  std::vector<std::string> needed_;
  std::vector<std::string> undefined_;
};

template <class... Parts>
void ElfImage::check(bool condition, const Parts&... parts) const {
  require(condition, Status::InvalidProgram, name_, " is not a sound library: ", parts...);
}

// A copy of the T at a file offset.
template <class T>
T ElfImage::read(uint64_t offset, const char* what) const {
  static_assert(std::is_trivially_copyable_v<T>);
  check(offset <= image_.size() && sizeof(T) <= image_.size() - offset, what, " at ", offset,
        " lies outside its ", image_.size(), " bytes");
  T value;
  std::memcpy(&value, image_.data() + offset, sizeof(T));
  return value;
}

}  // namespace aotiny
