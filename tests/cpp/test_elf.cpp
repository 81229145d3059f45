#include <dlfcn.h>
#include <elf.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>

#include "aotiny/core/status.h"
#include "aotiny/runtime/elf_image.h"
#include "aotiny/runtime/library.h"
#include "aotiny/runtime/requirements.h"

namespace aotiny {
namespace {

// libaotiny itself serves as the library to read.
class Elf : public testing::Test {
 protected:
  static const std::string& own_file() {
    static const std::string contents = [] {
      Dl_info info{};
      EXPECT_NE(::dladdr(reinterpret_cast<void*>(&load_library), &info), 0);
      const MappedFile file(info.dli_fname);
      return std::string(file.bytes().begin(), file.bytes().end());
    }();
    return contents;
  }
  static ElfImage read(std::string_view file) {
    return {Bytes(reinterpret_cast<const uint8_t*>(file.data()), file.size()), "lib.so"};
  }
  // Where the last of the segments that are loaded ends.
  static size_t loaded_size(std::string_view file) {
    Elf64_Ehdr header;
    std::memcpy(&header, file.data(), sizeof(header));
    size_t end = 0;
    for (size_t i = 0; i < header.e_phnum; ++i) {
      Elf64_Phdr segment;
      std::memcpy(&segment, file.data() + header.e_phoff + i * sizeof(segment), sizeof(segment));
      if (segment.p_type == PT_LOAD) end = std::max(end, segment.p_offset + segment.p_filesz);
    }
    return end;
  }
  static std::string refusal(std::string_view file) {
    try {
      read(file);
      return "";
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), Status::InvalidProgram) << error.what();
      return error.what();
    }
  }
};

TEST_F(Elf, ReadsDependenciesAndSymbols) {
  const ElfImage image = read(own_file());
  EXPECT_EQ(image.machine_name(), this_machine().architecture);
  const auto& needed = image.needed();
  EXPECT_NE(std::find(needed.begin(), needed.end(), "libgomp.so.1"), needed.end());
  const auto& undefined = image.undefined();
  EXPECT_TRUE(std::binary_search(undefined.begin(), undefined.end(), "memcpy") ||
              std::binary_search(undefined.begin(), undefined.end(), "memmove"));
  EXPECT_TRUE(image.defines("aotiny_model_load"));
  EXPECT_FALSE(image.defines("malloc"));
  EXPECT_FALSE(image.has_executable_stack());
  const Missing missing = find_missing(image, DeviceType::CPU);
  EXPECT_TRUE(missing.symbols.empty() && missing.libraries.empty());
}

TEST_F(Elf, RefusesOtherFiles) {
  EXPECT_NE(refusal("").find("ELF header"), std::string::npos);
  EXPECT_NE(refusal(std::string(1000, 'x')).find("ELF header"), std::string::npos);
  std::string narrow = own_file();
  narrow[EI_CLASS] = ELFCLASS32;
  EXPECT_NE(refusal(narrow).find("64-bit"), std::string::npos);
  std::string executable = own_file();
  executable[offsetof(Elf64_Ehdr, e_type)] = ET_EXEC;
  EXPECT_NE(refusal(executable).find("shared object"), std::string::npos);
}

TEST_F(Elf, NamesAnotherMachine) {
  std::string file = own_file();
  const uint16_t machine = EM_RISCV;
  std::memcpy(file.data() + offsetof(Elf64_Ehdr, e_machine), &machine, sizeof(machine));
  const ElfImage image = read(file);
  try {
    check_requirements("m", image, {}, nullptr, kCPU, this_machine());
    FAIL() << "code for RISC-V was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), Status::NotSupported);
    EXPECT_NE(std::string(error.what()).find("riscv64"), std::string::npos) << error.what();
  }
}

TEST_F(Elf, MetadataAndFeaturesAreCompared) {
  const ElfImage image = read(own_file());
  Machine machine = this_machine();
  machine.cpu_features = {"avx2", "fma", "f16c"};
  const auto refusal = [&](std::map<std::string, std::string> metadata,
                           const std::vector<std::string>* features) -> std::string {
    try {
      check_requirements("m", image, metadata, features, kCPU, machine);
      return "";
    } catch (const Error& error) {
      return error.what();
    }
  };
  EXPECT_EQ(refusal({{"AOTI_CPU_ISA", "AVX2"}, {"AOTI_DEVICE_KEY", "cpu"}}, nullptr), "");
  EXPECT_NE(refusal({{"AOTI_CPU_ISA", "AVX512"}}, nullptr).find("lacks: avx512f avx512bw"),
            std::string::npos);
  const std::vector<std::string> features = {"avx2", "avx512_bf16"};
  EXPECT_NE(refusal({}, &features).find("lacks: avx512_bf16"), std::string::npos);
  const std::vector<std::string> fewer = {"avx2"};
  EXPECT_EQ(refusal({{"AOTI_CPU_ISA", "AVX512"}}, &fewer), "");  // the manifest knows better
  EXPECT_NE(refusal({{"AOTI_PLATFORM", "win32"}}, nullptr).find("win32"), std::string::npos);
  EXPECT_NE(refusal({{"AOTI_MACHINE", "s390x"}}, nullptr).find("s390x"), std::string::npos);
  EXPECT_NE(refusal({{"AOTI_DEVICE_KEY", "cuda"}}, nullptr).find("device cuda"), std::string::npos);
}

TEST_F(Elf, SaysWhereThereIsNoRoom) {
  // libaotiny has none of the entry points whose names could be given up.
  const ElfImage image = read(own_file());
  EXPECT_THROW(image.prepare({"libother.so"}, {}), Error);
  EXPECT_NO_THROW(image.prepare({"libgomp.so.1"}, {}));  // it is there
}

TEST_F(Elf, RenamesReferences) {
  const ElfImage image = read(own_file());
  std::string file = own_file();
  for (const Patch& patch : image.prepare({}, {{"memfd_create", "memfd_mine"}})) {
    file.replace(patch.offset, patch.bytes.size(), patch.bytes);
  }
  const ElfImage changed = read(file);
  const auto& undefined = changed.undefined();
  EXPECT_TRUE(std::binary_search(undefined.begin(), undefined.end(), "memfd_mine"));
  EXPECT_FALSE(std::binary_search(undefined.begin(), undefined.end(), "memfd_create"));
  EXPECT_EQ(find_missing(changed, DeviceType::CPU).symbols,
            (std::vector<std::string>{"memfd_mine"}));
}

TEST_F(Elf, TruncationIsRefused) {
  const std::string_view file = own_file();
  const size_t end = loaded_size(file);  // what follows is symbols and debug information
  ASSERT_GT(end, 65536u);
  for (size_t size = 0; size < end; size += size < 4096 ? 61 : 65536) {
    EXPECT_NE(refusal(file.substr(0, size)), "") << size;
  }
  EXPECT_NE(refusal(file.substr(0, end - 1)), "");
}

// Whatever changes in the headers, reading and patching end, and patches lie inside the file.
TEST_F(Elf, SurvivesAnyChange) {
  std::string file = own_file();
  std::mt19937 random(11);
  for (int i = 0; i < 400; ++i) {
    const size_t at = random() % 0x400;
    const char before = file[at];
    file[at] = static_cast<char>(random());
    try {
      for (const Patch& patch : read(file).prepare({}, {{"memfd_create", "memfd_mine"}})) {
        EXPECT_LE(patch.offset + patch.bytes.size(), file.size());
      }
    } catch (const Error&) {
    }
    file[at] = before;
  }
}

}  // namespace
}  // namespace aotiny
