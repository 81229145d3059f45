#include "aotiny/runtime/zip.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <string_view>
#include <type_traits>

#include "aotiny/core/status.h"

namespace aotiny {
namespace {

static_assert(std::endian::native == std::endian::little);

// Sizes of the fixed parts of the records.
constexpr uint64_t kEndSize = 22, kEnd64LocatorSize = 20, kEnd64Size = 56;
constexpr uint64_t kDirectorySize = 46, kLocalSize = 30;
constexpr uint64_t kMaxComment = 0xffff;

// Little-endian fields of a file, every access checked.
class Reader {
 public:
  Reader(Bytes file, const std::string& path) : file_(file), path_(path) {}

  uint64_t size() const { return file_.size(); }

  Bytes range(uint64_t offset, uint64_t size, const char* what) const {
    check(offset <= file_.size() && size <= file_.size() - offset, what, " takes bytes ", offset,
          "..", offset + size, " of a file of ", file_.size());
    return file_.subspan(offset, size);
  }

  template <class T>
  T field(uint64_t offset, const char* what) const {
    T value;
    std::memcpy(&value, range(offset, sizeof(T), what).data(), sizeof(T));
    return value;
  }

  template <class... Parts>
  void check(bool condition, const Parts&... parts) const {
    if (!condition) fail(parts...);
  }
  template <class... Parts>
  [[noreturn]] void fail(const Parts&... parts) const {
    aotiny::fail(Status::InvalidProgram, path_, " is not a sound package: ", parts...);
  }

 private:
  Bytes file_;
  const std::string& path_;
};

struct Directory {
  uint64_t offset, size, count;
};

uint64_t find_end_record(const Reader& reader) {
  reader.check(reader.size() >= kEndSize, "a file of ", reader.size(), " bytes is no zip archive");
  const uint64_t last = reader.size() - kEndSize;
  const uint64_t first = last > kMaxComment ? last - kMaxComment : 0;
  for (uint64_t at = last + 1; at-- > first;) {
    if (reader.field<uint32_t>(at, "end record") == 0x06054b50 &&
        reader.field<uint16_t>(at + 20, "end record") == last - at) {
      return at;
    }
  }
  reader.fail("no end-of-directory record: the file is truncated or is no zip archive");
}

Directory find_directory(const Reader& reader) {
  const uint64_t end = find_end_record(reader);
  const auto end16 = [&](uint64_t at) { return reader.field<uint16_t>(end + at, "end record"); };
  const auto end32 = [&](uint64_t at) { return reader.field<uint32_t>(end + at, "end record"); };
  Directory directory{end32(16), end32(12), end16(10)};
  uint64_t limit = end;
  bool one_disk = (end16(4) == 0 || end16(4) == 0xffff) && (end16(6) == 0 || end16(6) == 0xffff);

  if (end >= kEnd64LocatorSize &&
      reader.field<uint32_t>(end - kEnd64LocatorSize, "zip64 locator") == 0x07064b50) {
    const uint64_t end64 = reader.field<uint64_t>(end - kEnd64LocatorSize + 8, "zip64 locator");
    reader.check(end64 <= end - kEnd64LocatorSize && end - kEnd64LocatorSize - end64 >= kEnd64Size,
                 "zip64 end record at ", end64, " does not lie before its locator at ",
                 end - kEnd64LocatorSize);
    reader.check(reader.field<uint32_t>(end64, "zip64 end record") == 0x06064b50,
                 "no zip64 end record at ", end64);
    const auto at64 = [&](uint64_t at) {
      return reader.field<uint64_t>(end64 + at, "zip64 end record");
    };
    directory = {at64(48), at64(40), at64(32)};
    one_disk = at64(16) == 0 && at64(24) == directory.count;
    limit = end64;
  }
  reader.check(one_disk, "archives of several parts are not supported");
  reader.check(directory.offset <= limit && directory.size <= limit - directory.offset,
               "the directory takes bytes ", directory.offset, "..+", directory.size,
               " but must end by ", limit);
  reader.check(directory.count <= directory.size / kDirectorySize, "a directory of ",
               directory.size, " bytes cannot hold ", directory.count, " entries");
  return directory;
}

// Where a 32-bit field is saturated its value is in the zip64 extra field, in this order.
void read_zip64_extra(const Reader& reader, std::string_view name, Bytes extra,
                      std::initializer_list<uint64_t*> fields) {
  const bool needed =
      std::any_of(fields.begin(), fields.end(), [](uint64_t* f) { return *f == 0xffffffffu; });
  if (!needed) return;
  while (extra.size() >= 4) {
    uint16_t id, size;
    std::memcpy(&id, extra.data(), 2);
    std::memcpy(&size, extra.data() + 2, 2);
    reader.check(size <= extra.size() - 4, name, ": an extra field of ", size,
                 " bytes exceeds its record");
    Bytes body = extra.subspan(4, size);
    extra = extra.subspan(4 + size);
    if (id != 1) continue;
    for (uint64_t* field : fields) {
      if (*field != 0xffffffffu) continue;
      reader.check(body.size() >= 8, name, ": the zip64 field is too short");
      std::memcpy(field, body.data(), 8);
      body = body.subspan(8);
    }
    return;
  }
  reader.fail(name, ": the zip64 field is missing");
}

struct Located {
  ZipEntry entry;
  uint64_t header;  // offset of the local header
};

// Reads the directory record at `at` and moves `at` behind it.
Located read_entry(const Reader& reader, const Directory& directory, uint64_t& at) {
  const char* what = "directory record";
  const uint64_t end = directory.offset + directory.size;
  reader.check(end - at >= kDirectorySize, "the directory ends within a record at ", at);
  reader.check(reader.field<uint32_t>(at, what) == 0x02014b50, "no directory record at ", at);
  const uint16_t flags = reader.field<uint16_t>(at + 8, what);
  const uint16_t method = reader.field<uint16_t>(at + 10, what);
  const uint32_t crc = reader.field<uint32_t>(at + 16, what);
  uint64_t stored = reader.field<uint32_t>(at + 20, what);
  uint64_t size = reader.field<uint32_t>(at + 24, what);
  const uint64_t name_size = reader.field<uint16_t>(at + 28, what);
  const uint64_t extra_size = reader.field<uint16_t>(at + 30, what);
  const uint64_t comment_size = reader.field<uint16_t>(at + 32, what);
  uint64_t header = reader.field<uint32_t>(at + 42, what);
  const uint64_t record_size = kDirectorySize + name_size + extra_size + comment_size;
  reader.check(record_size <= end - at, "the directory ends within the record at ", at);

  const Bytes name_bytes = reader.range(at + kDirectorySize, name_size, what);
  const std::string name(name_bytes.begin(), name_bytes.end());
  reader.check(!name.empty() && name.find('\0') == std::string::npos, "the record at ", at,
               " has no proper name");
  read_zip64_extra(reader, name, reader.range(at + kDirectorySize + name_size, extra_size, what),
                   {&size, &stored, &header});
  at += record_size;

  reader.check((flags & 1) == 0, name, " is encrypted");
  reader.check(method == 0, name, " is compressed (method ", method,
               "); entries must be stored, as PyTorch writes them");
  reader.check(stored == size, name, " is stored but has two sizes, ", stored, " and ", size);

  reader.check(header <= directory.offset && directory.offset - header >= kLocalSize, name,
               ": its header at ", header, " does not lie before the directory at ",
               directory.offset);
  reader.check(reader.field<uint32_t>(header, "local header") == 0x04034b50, name,
               ": no local header at ", header);
  const uint64_t local_size = reader.field<uint32_t>(header + 22, "local header");
  const uint64_t local_name_size = reader.field<uint16_t>(header + 26, "local header");
  const uint64_t local_extra_size = reader.field<uint16_t>(header + 28, "local header");
  reader.check(reader.field<uint16_t>(header + 8, "local header") == method, name,
               ": directory and local header name two compression methods");
  reader.check(local_size == 0 || local_size == 0xffffffffu || local_size == size, name,
               ": the directory gives ", size, " bytes, the local header ", local_size);
  const uint64_t data = header + kLocalSize + local_name_size + local_extra_size;
  reader.check(data <= directory.offset && size <= directory.offset - data, name, " takes ", size,
               " bytes from ", data, ", past the directory at ", directory.offset);
  const Bytes local_name = reader.range(header + kLocalSize, local_name_size, "local header");
  reader.check(
      std::equal(local_name.begin(), local_name.end(), name_bytes.begin(), name_bytes.end()), name,
      ": its local header has another name");
  return {{name, data, size, crc}, header};
}

void check_disjoint(const Reader& reader, std::vector<const Located*> order) {
  std::sort(order.begin(), order.end(),
            [](const Located* a, const Located* b) { return a->header < b->header; });
  for (size_t i = 1; i < order.size(); ++i) {
    const ZipEntry& before = order[i - 1]->entry;
    reader.check(before.offset + before.size <= order[i]->header, before.name, " and ",
                 order[i]->entry.name, " overlap: the first ends at ", before.offset + before.size,
                 ", the second begins at ", order[i]->header);
  }
  std::sort(order.begin(), order.end(),
            [](const Located* a, const Located* b) { return a->entry.name < b->entry.name; });
  for (size_t i = 1; i < order.size(); ++i) {
    reader.check(order[i - 1]->entry.name != order[i]->entry.name, order[i]->entry.name,
                 " occurs twice");
  }
}

// CRC-32 (polynomial 0xedb88320) of eight bytes at a time: table k is for a byte that k others
// follow.
using CrcTables = std::array<std::array<uint32_t, 256>, 8>;

constexpr CrcTables make_crc_tables() {
  CrcTables tables{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (crc & 1 ? 0xedb88320u : 0);
    tables[0][i] = crc;
  }
  for (size_t k = 1; k < 8; ++k) {
    for (size_t i = 0; i < 256; ++i) {
      const uint32_t before = tables[k - 1][i];
      tables[k][i] = (before >> 8) ^ tables[0][before & 0xff];
    }
  }
  return tables;
}

uint32_t crc32(Bytes bytes) {
  static constexpr CrcTables kTables = make_crc_tables();
  uint32_t crc = ~0u;
  size_t i = 0;
  for (; i + 8 <= bytes.size(); i += 8) {
    uint64_t word;
    std::memcpy(&word, bytes.data() + i, 8);
    word ^= crc;
    crc = 0;
    for (int k = 0; k < 8; ++k) crc ^= kTables[7 - k][(word >> (8 * k)) & 0xff];
  }
  for (; i < bytes.size(); ++i) crc = (crc >> 8) ^ kTables[0][(crc ^ bytes[i]) & 0xff];
  return ~crc;
}

}  // namespace

std::vector<ZipEntry> read_zip(Bytes file, const std::string& path) {
  const Reader reader(file, path);
  const Directory directory = find_directory(reader);
  std::vector<Located> located;
  located.reserve(directory.count);
  uint64_t at = directory.offset;
  for (uint64_t i = 0; i < directory.count; ++i) {
    located.push_back(read_entry(reader, directory, at));
  }
  std::vector<const Located*> order;
  for (const Located& entry : located) order.push_back(&entry);
  check_disjoint(reader, std::move(order));

  std::vector<ZipEntry> entries;
  for (Located& entry : located) {
    if (entry.entry.name.back() != '/') entries.push_back(std::move(entry.entry));
  }
  return entries;
}

Bytes checked_data(Bytes file, const ZipEntry& entry, const std::string& path) {
  const Bytes data = file.subspan(entry.offset, entry.size);
  const uint32_t crc = crc32(data);
  require(crc == entry.crc, Status::InvalidProgram, path, " is damaged: ", entry.name,
          " has checksum ", std::hex, crc, ", its directory record says ", entry.crc);
  return data;
}

}  // namespace aotiny
