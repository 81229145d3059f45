// Reads archives whose entries are stored, not compressed, as PyTorch writes them: every entry can
// then be used where it lies.
//
// The central directory is the authority, since local headers may leave sizes at 0. Nothing in the
// file is trusted: an archive that truncates, overlaps, contradicts itself or names an entry twice
// is refused with InvalidProgram, in time and memory proportional to the directory.
#pragma once

#include <string>
#include <vector>

#include "aotiny/runtime/mapped_file.h"

namespace aotiny {

struct ZipEntry {
  std::string name;
  uint64_t offset = 0;  // of the data, from the start of the file
  uint64_t size = 0;
  uint32_t crc = 0;
};

// The entries in the order of the directory, folders left out. `path` is for messages.
std::vector<ZipEntry> read_zip(Bytes file, const std::string& path);

// The data of an entry, once its checksum has been compared; fails with InvalidProgram if it
// differs.
Bytes checked_data(Bytes file, const ZipEntry& entry, const std::string& path);

}  // namespace aotiny
