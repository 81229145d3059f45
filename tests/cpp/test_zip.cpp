#include "aotiny/runtime/zip.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "aotiny/core/status.h"

namespace aotiny {
namespace {

constexpr uint32_t kCrcOfHello = 0x3610a686;

// Writes archives field by field, so that a test can make any of them lie.
struct Writer {
  std::string bytes, directory;
  uint16_t count = 0;

  struct Fields {
    uint16_t flags = 0, method = 0;
    uint32_t crc = kCrcOfHello;
    uint32_t stored = 5, size = 5, local_size = 0;
    int64_t header = -1;  // where the directory says the local header is
    std::string local_name, extra;
  };

  template <class T>
  static void put(std::string& out, T value) {
    out.append(reinterpret_cast<const char*>(&value), sizeof(T));
  }

  Writer& add(const std::string& name, Fields f, const std::string& data = "hello") {
    const uint32_t header = f.header < 0 ? bytes.size() : static_cast<uint32_t>(f.header);
    const std::string local_name = f.local_name.empty() ? name : f.local_name;
    put<uint32_t>(bytes, 0x04034b50);
    for (const uint16_t v : {uint16_t{20}, f.flags, f.method, uint16_t{0}, uint16_t{0}}) {
      put(bytes, v);
    }
    put<uint32_t>(bytes, 0);
    put(bytes, f.local_size);
    put(bytes, f.local_size);
    put<uint16_t>(bytes, local_name.size());
    put<uint16_t>(bytes, 3);
    bytes += local_name + "pad" + data;

    put<uint32_t>(directory, 0x02014b50);
    for (const uint16_t v :
         {uint16_t{20}, uint16_t{20}, f.flags, f.method, uint16_t{0}, uint16_t{0}}) {
      put(directory, v);
    }
    put(directory, f.crc);
    put(directory, f.stored);
    put(directory, f.size);
    put<uint16_t>(directory, name.size());
    put<uint16_t>(directory, f.extra.size());
    put<uint16_t>(directory, 0);  // comment
    put<uint16_t>(directory, 0);  // disk
    put<uint16_t>(directory, 0);
    put<uint32_t>(directory, 0);
    put(directory, header);
    directory += name + f.extra;
    ++count;
    return *this;
  }

  std::string finish(const std::string& comment = "") const {
    std::string file = bytes + directory;
    put<uint32_t>(file, 0x06054b50);
    put<uint16_t>(file, 0);
    put<uint16_t>(file, 0);
    put<uint16_t>(file, count);
    put<uint16_t>(file, count);
    put<uint32_t>(file, directory.size());
    put<uint32_t>(file, bytes.size());
    put<uint16_t>(file, comment.size());
    return file + comment;
  }

  std::string finish64() const {
    std::string file = bytes + directory;
    const uint64_t end64 = file.size();
    put<uint32_t>(file, 0x06064b50);
    put<uint64_t>(file, 44);
    put<uint16_t>(file, 45);
    put<uint16_t>(file, 45);
    put<uint32_t>(file, 0);
    put<uint32_t>(file, 0);
    put<uint64_t>(file, count);
    put<uint64_t>(file, count);
    put<uint64_t>(file, directory.size());
    put<uint64_t>(file, bytes.size());
    put<uint32_t>(file, 0x07064b50);
    put<uint32_t>(file, 0);
    put<uint64_t>(file, end64);
    put<uint32_t>(file, 1);
    put<uint32_t>(file, 0x06054b50);
    for (int i = 0; i < 4; ++i) put<uint16_t>(file, 0xffff);
    put<uint32_t>(file, 0xffffffff);
    put<uint32_t>(file, 0xffffffff);
    put<uint16_t>(file, 0);
    return file;
  }
};

template <class Change>
Writer::Fields with(Change&& change) {
  Writer::Fields fields;
  change(fields);
  return fields;
}

Bytes bytes_of(const std::string& file) {
  return {reinterpret_cast<const uint8_t*>(file.data()), file.size()};
}

std::vector<ZipEntry> read(const std::string& file) { return read_zip(bytes_of(file), "a.pt2"); }

// The sentence of the refusal; "" if the archive was read.
std::string refusal(const std::string& file) {
  try {
    for (const ZipEntry& entry : read(file)) {
      EXPECT_LE(entry.offset, file.size());
      EXPECT_LE(entry.size, file.size() - entry.offset);
    }
    return "";
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), Status::InvalidProgram) << error.what();
    return error.what();
  }
}

#define EXPECT_REFUSED(file, text) \
  EXPECT_NE(refusal(file).find(text), std::string::npos) << refusal(file)

TEST(Zip, ReadsStoredEntries) {
  const std::string file = Writer().add("a/x", {}).add("a/", {}, "").add("a/y", {}).finish("note");
  EXPECT_REFUSED(file, "a/");  // a folder with a size of 5 that overlaps what follows
  Writer::Fields folder;
  folder.stored = folder.size = 0;
  const std::string good = Writer().add("a/x", {}).add("a/", folder, "").add("a/y", {}).finish("n");
  const std::vector<ZipEntry> entries = read(good);
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[1].name, "a/y");
  const Bytes data = checked_data(bytes_of(good), entries[1], "a.pt2");
  EXPECT_EQ(std::string(data.begin(), data.end()), "hello");
  EXPECT_EQ(read(Writer().finish()).size(), 0u);
}

TEST(Zip, ReadsZip64) {
  Writer::Fields large;
  large.size = large.stored = 0xffffffff;
  Writer::put<uint16_t>(large.extra, 1);
  Writer::put<uint16_t>(large.extra, 16);
  Writer::put<uint64_t>(large.extra, 5);
  Writer::put<uint64_t>(large.extra, 5);
  const std::string file = Writer().add("x", {}).add("y", large).finish64();
  const std::vector<ZipEntry> entries = read(file);
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[1].size, 5u);
  large.extra.resize(large.extra.size() - 4);
  EXPECT_REFUSED(Writer().add("y", large).finish(), "y: an extra field of 16 bytes");
  large.extra.clear();
  EXPECT_REFUSED(Writer().add("y", large).finish(), "y: the zip64 field is missing");
}

TEST(Zip, RefusesWhatIsNoArchive) {
  EXPECT_REFUSED("", "0 bytes");
  EXPECT_REFUSED(std::string(5000, 'x'), "truncated");
  const std::string file = Writer().add("x", {}).finish();
  for (size_t size = 0; size < file.size(); ++size) EXPECT_NE(refusal(file.substr(0, size)), "");
}

TEST(Zip, RefusesCompressedAndEncryptedEntriesByName) {
  EXPECT_REFUSED(Writer().add("a/b.json", with([](Writer::Fields& f) { f.method = 8; })).finish(),
                 "a/b.json is compressed (method 8)");
  EXPECT_REFUSED(Writer().add("b", with([](Writer::Fields& f) { f.flags = 1; })).finish(),
                 "b is encrypted");
}

TEST(Zip, RefusesSizesThatLie) {
  EXPECT_REFUSED(Writer().add("x", with([](Writer::Fields& f) { f.stored = 4; })).finish(),
                 "two sizes, 4 and 5");
  EXPECT_REFUSED(Writer().add("x", with([](Writer::Fields& f) { f.local_size = 9; })).finish(),
                 "the directory gives 5 bytes, the local header 9");
  EXPECT_REFUSED(Writer()
                     .add("x", with([](Writer::Fields& f) {
                            f.stored = 900;
                            f.size = 900;
                          }))
                     .finish(),
                 "x takes 900 bytes");
  EXPECT_REFUSED(Writer()
                     .add("x", with([](Writer::Fields& f) {
                            f.stored = 6;
                            f.size = 6;
                          }))
                     .add("y", {})
                     .finish(),
                 "x and y overlap");
  EXPECT_REFUSED(Writer().add("x", with([](Writer::Fields& f) { f.local_name = "z"; })).finish(),
                 "another name");
  EXPECT_REFUSED(Writer().add("x", with([](Writer::Fields& f) { f.header = 7; })).finish(),
                 "no local header at 7");
  EXPECT_REFUSED(Writer().add("x", with([](Writer::Fields& f) { f.header = 70000; })).finish(),
                 "header at 70000");
}

TEST(Zip, RefusesDuplicatesAndImproperNames) {
  EXPECT_REFUSED(Writer().add("x", {}).add("x", {}).finish(), "x occurs twice");
  EXPECT_REFUSED(
      Writer().add("x", {}).add("x", with([](Writer::Fields& f) { f.header = 0; })).finish(),
      "overlap");
  EXPECT_REFUSED(Writer().add(std::string("x\0y", 3), {}).finish(), "no proper name");
}

TEST(Zip, RefusesDirectoriesThatCannotBe) {
  std::string file = Writer().add("x", {}).finish();
  const size_t end = file.size() - 22;
  std::string many = file;
  many[end + 8] = many[end + 10] = 100;
  EXPECT_REFUSED(many, "cannot hold 100 entries");
  std::string far = file;
  far[end + 16] = 120;
  EXPECT_REFUSED(far, "must end by");
}

TEST(Zip, ComparesChecksums) {
  const std::string file = Writer().add("x", with([](Writer::Fields& f) { f.crc = 1; })).finish();
  EXPECT_THROW(checked_data(bytes_of(file), read(file)[0], "a.pt2"), Error);
}

// Whatever bytes change, reading ends with entries inside the file or with an error.
TEST(Zip, SurvivesAnyChange) {
  const std::string files[] = {Writer().add("x", {}).add("y", {}).finish("comment"),
                               Writer().add("x", {}).add("y", {}).finish64()};
  std::mt19937 random(7);
  for (const std::string& file : files) {
    for (size_t at = 0; at < file.size(); ++at) {
      for (const int value : {0, 1, 0x7f, 0x80, 0xff}) {
        std::string changed = file;
        changed[at] = static_cast<char>(value);
        refusal(changed);
      }
    }
    for (int i = 0; i < 3000; ++i) {
      std::string changed = file;
      for (int k = 0; k < 4; ++k) changed[random() % changed.size()] = static_cast<char>(random());
      refusal(changed);
    }
  }
}

}  // namespace
}  // namespace aotiny
