// Files mapped into memory.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace aotiny {

using Bytes = std::span<const uint8_t>;

// A file descriptor that closes itself.
class FileDescriptor {
 public:
  explicit FileDescriptor(int fd = -1) noexcept : fd_(fd) {}
  ~FileDescriptor();
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(other.release()) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept;

  int get() const noexcept { return fd_; }
  int release() noexcept;

 private:
  int fd_;
};

// Part of a file, mapped privately: what is written to it stays in this process.
class Mapping {
 public:
  enum class Access { Read, ReadWrite };

  Mapping() = default;
  // `offset` need not be a multiple of the page size. Fails with AccessFailed.
  Mapping(const FileDescriptor& file, uint64_t offset, uint64_t size, Access access);
  ~Mapping();
  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;

  std::span<uint8_t> bytes() const noexcept { return bytes_; }

 private:
  void* base_ = nullptr;
  size_t length_ = 0;
  std::span<uint8_t> bytes_;
};

// A regular file, mapped whole and read-only. It must not shrink while it is mapped.
class MappedFile {
 public:
  // Fails with NotFound or AccessFailed, naming the path.
  explicit MappedFile(const std::string& path);

  const std::string& path() const noexcept { return path_; }
  Bytes bytes() const noexcept { return mapping_.bytes(); }
  // Whether both map the same file, unchanged in between: their bytes are the same memory.
  bool is_same_file(const MappedFile& other) const noexcept { return id_ == other.id_; }
  // A second mapping of a part, which may be written to without changing the file.
  Mapping map_private(uint64_t offset, uint64_t size) const;

 private:
  struct Id {
    uint64_t device = 0, inode = 0;
    int64_t changed = 0;  // nanoseconds
    bool operator==(const Id&) const = default;
  };

  std::string path_;
  FileDescriptor file_;
  Id id_;
  Mapping mapping_;
};

}  // namespace aotiny
