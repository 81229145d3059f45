#include "aotiny/runtime/elf_image.h"

#include <elf.h>

#include <algorithm>
#include <cstring>

namespace aotiny {

ElfImage::ElfImage(Bytes image, std::string name) : image_(image), name_(std::move(name)) {
  read_header();
  read_dynamic();
  read_symbols();
}

const char* ElfImage::machine_name() const noexcept {
  switch (machine_) {
    case EM_X86_64:
      return "x86_64";
    case EM_AARCH64:
      return "aarch64";
    case EM_RISCV:
      return "riscv64";
    case EM_PPC64:
      return "ppc64le";
    case EM_S390:
      return "s390x";
    default:
      return "unknown";
  }
}

bool ElfImage::defines(std::string_view symbol) const {
  return std::any_of(symbols_.begin(), symbols_.end(), [&](const Symbol& candidate) {
    return candidate.defined && string_at(candidate.name) == symbol;
  });
}

void ElfImage::read_header() {
  check(image_.size() >= sizeof(Elf64_Ehdr) && std::memcmp(image_.data(), ELFMAG, SELFMAG) == 0,
        "it does not begin with an ELF header");
  check(image_[EI_CLASS] == ELFCLASS64 && image_[EI_DATA] == ELFDATA2LSB,
        "it is not a 64-bit little-endian object (class ", int{image_[EI_CLASS]}, ", data ",
        int{image_[EI_DATA]}, ")");
  const auto header = read<Elf64_Ehdr>(0, "header");
  check(header.e_type == ET_DYN, "its type is ", header.e_type, ", not a shared object");
  check(header.e_phentsize == sizeof(Elf64_Phdr), "its program headers have ", header.e_phentsize,
        " bytes each");
  machine_ = header.e_machine;
  for (uint64_t i = 0; i < header.e_phnum; ++i) {
    check(header.e_phoff <= image_.size(), "its program headers begin at ", header.e_phoff,
          ", past its ", image_.size(), " bytes");
    const uint64_t at = header.e_phoff + i * sizeof(Elf64_Phdr);
    const auto segment = read<Elf64_Phdr>(at, "program header");
    // A segment that the file does not hold whole would end the process when it is touched.
    check(segment.p_offset <= image_.size() && segment.p_filesz <= image_.size() - segment.p_offset,
          "a segment takes ", segment.p_filesz, " bytes from ", segment.p_offset, " of its ",
          image_.size());
    if (segment.p_type == PT_LOAD) {
      check(segment.p_filesz <= segment.p_memsz &&
                segment.p_vaddr + segment.p_memsz >= segment.p_vaddr,
            "a segment of ", segment.p_memsz, " bytes at address ", segment.p_vaddr);
      segments_.push_back({segment.p_offset, segment.p_vaddr, segment.p_filesz});
    } else if (segment.p_type == PT_DYNAMIC) {
      dynamic_offset_ = segment.p_offset;
      dynamic_size_ = segment.p_filesz;
    } else if (segment.p_type == PT_GNU_STACK) {
      executable_stack_ = (segment.p_flags & PF_X) != 0;
      stack_flags_ = at + offsetof(Elf64_Phdr, p_flags);
    }
  }
  check(dynamic_size_ != 0, "it has no dynamic section");
}

uint64_t ElfImage::file_offset(uint64_t address, uint64_t size, const char* what) const {
  for (const Segment& segment : segments_) {
    const uint64_t at = address - segment.address;
    if (address >= segment.address && at <= segment.file_size && size <= segment.file_size - at) {
      return segment.offset + at;
    }
  }
  fail(Status::InvalidProgram, name_, " is not a sound library: ", what, ", ", size,
       " bytes at address ", address, ", lies in no segment");
}

std::optional<uint64_t> ElfImage::dynamic_value(int64_t tag) const {
  for (const Dynamic& entry : dynamic_) {
    if (entry.tag == tag) return entry.value;
    if (entry.tag == DT_NULL) break;
  }
  return std::nullopt;
}

uint64_t ElfImage::required_value(int64_t tag, const char* what) const {
  const std::optional<uint64_t> value = dynamic_value(tag);
  check(value.has_value(), "its dynamic section has no ", what);
  return *value;
}

std::string_view ElfImage::string_at(uint64_t offset) const {
  check(offset < strings_size_, "a string at ", offset, " of a table of ", strings_size_);
  const char* begin = reinterpret_cast<const char*>(image_.data()) + strings_ + offset;
  const size_t length = strnlen(begin, strings_size_ - offset);
  check(length < strings_size_ - offset, "the string at ", offset, " does not end");
  return {begin, length};
}

void ElfImage::read_dynamic() {
  for (uint64_t at = 0; at + sizeof(Elf64_Dyn) <= dynamic_size_; at += sizeof(Elf64_Dyn)) {
    const auto entry = read<Elf64_Dyn>(dynamic_offset_ + at, "dynamic entry");
    dynamic_.push_back({entry.d_tag, entry.d_un.d_val, dynamic_offset_ + at});
  }
  check(!dynamic_.empty() && dynamic_.back().tag == DT_NULL, "its dynamic section has no end");
  strings_size_ = required_value(DT_STRSZ, "string table size");
  strings_ = file_offset(required_value(DT_STRTAB, "string table"), strings_size_, "string table");
  for (const Dynamic& entry : dynamic_) {
    if (entry.tag == DT_NULL) break;
    if (entry.tag == DT_NEEDED) needed_.emplace_back(string_at(entry.value));
  }
}

// The dynamic symbols are only counted by the hash tables.
uint64_t ElfImage::count_symbols() const {
  if (const auto table = dynamic_value(DT_HASH)) {
    return read<uint32_t>(file_offset(*table, 8, "hash table") + 4, "hash table");
  }
  const uint64_t table = required_value(DT_GNU_HASH, "hash table");
  const uint64_t header = file_offset(table, 16, "hash table");
  const uint64_t num_buckets = read<uint32_t>(header, "hash table");
  const uint64_t first = read<uint32_t>(header + 4, "hash table");
  const uint64_t bloom_size = read<uint32_t>(header + 8, "hash table");
  const uint64_t buckets = header + 16 + 8 * bloom_size;
  const uint64_t chains = buckets + 4 * num_buckets;
  check(chains <= image_.size(), "its hash table of ", num_buckets, " buckets exceeds it");
  uint64_t last = 0;
  for (uint64_t i = 0; i < num_buckets; ++i) {
    last = std::max<uint64_t>(last, read<uint32_t>(buckets + 4 * i, "hash bucket"));
  }
  if (last < first) return first;
  // A chain ends with a hash whose lowest bit is set.
  while ((read<uint32_t>(chains + 4 * (last - first), "hash chain") & 1) == 0) ++last;
  return last + 1;
}

void ElfImage::read_symbols() {
  const uint64_t count = count_symbols();
  check(count <= image_.size() / sizeof(Elf64_Sym), "it cannot hold ", count, " symbols");
  const uint64_t table = file_offset(required_value(DT_SYMTAB, "symbol table"),
                                     count * sizeof(Elf64_Sym), "symbol table");
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t at = table + i * sizeof(Elf64_Sym);
    const auto symbol = read<Elf64_Sym>(at, "symbol");
    symbols_.push_back({at, symbol.st_name, symbol.st_info, symbol.st_shndx != SHN_UNDEF});
    const std::string_view name = string_at(symbol.st_name);
    if (i != 0 && symbol.st_shndx == SHN_UNDEF && ELF64_ST_BIND(symbol.st_info) == STB_GLOBAL) {
      undefined_.emplace_back(name);
    }
  }
  std::sort(undefined_.begin(), undefined_.end());
}

}  // namespace aotiny
