#include "aotiny/runtime/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "aotiny/core/status.h"

namespace aotiny {

FileDescriptor::~FileDescriptor() {
  if (fd_ >= 0) ::close(fd_);
}

FileDescriptor& FileDescriptor::operator=(FileDescriptor&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

int FileDescriptor::release() noexcept { return std::exchange(fd_, -1); }

Mapping::Mapping(const FileDescriptor& file, uint64_t offset, uint64_t size, Access access) {
  if (size == 0) return;
  const uint64_t page = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  const uint64_t lead = offset % page;
  const int protection = access == Access::ReadWrite ? PROT_READ | PROT_WRITE : PROT_READ;
  length_ = size + lead;
  void* base = ::mmap(nullptr, length_, protection, MAP_PRIVATE | MAP_NORESERVE, file.get(),
                      static_cast<off_t>(offset - lead));
  require(base != MAP_FAILED, Status::AccessFailed, "mapping ", size, " bytes at offset ", offset,
          ": ", std::strerror(errno));
  base_ = base;
  bytes_ = {static_cast<uint8_t*>(base) + lead, size};
}

Mapping::~Mapping() {
  if (base_ != nullptr) ::munmap(base_, length_);
}

Mapping::Mapping(Mapping&& other) noexcept { *this = std::move(other); }

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  std::swap(base_, other.base_);
  std::swap(length_, other.length_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

MappedFile::MappedFile(const std::string& path)
    : path_(path), file_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
  require(file_.get() >= 0, errno == ENOENT ? Status::NotFound : Status::AccessFailed, path, ": ",
          std::strerror(errno));
  struct stat info {};
  require(::fstat(file_.get(), &info) == 0, Status::AccessFailed, path, ": ", std::strerror(errno));
  require(S_ISREG(info.st_mode), Status::AccessFailed, path, " is not a regular file");
  id_ = {info.st_dev, info.st_ino,
         int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec};
  mapping_ = Mapping(file_, 0, static_cast<uint64_t>(info.st_size), Mapping::Access::Read);
}

Mapping MappedFile::map_private(uint64_t offset, uint64_t size) const {
  return Mapping(file_, offset, size, Mapping::Access::ReadWrite);
}

}  // namespace aotiny
