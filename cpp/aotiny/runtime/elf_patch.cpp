// How a model's library is changed, in memory, before it is opened.
//
// A new dependency needs an entry of the dynamic section, of which linkers leave some spare at its
// end, and a name in the string table, which is full. But every model exports entry points that
// aotiny never calls; the name of one of them is given up.
#include <elf.h>

#include <algorithm>
#include <array>

#include "aotiny/core/status.h"
#include "aotiny/runtime/elf_image.h"

namespace aotiny {
namespace {

// Entry points that aotiny has no use for.
constexpr std::array<std::string_view, 14> kDispensable = {
    "AOTInductorModelContainerUpdateInactiveConstantBuffer",
    "AOTInductorModelContainerUpdateInactiveConstantBufferPairs",
    "AOTInductorModelContainerFreeInactiveConstantBuffer",
    "AOTInductorModelContainerSwapConstantBuffer",
    "AOTInductorModelContainerUpdateConstantBufferFromCpu",
    "AOTInductorModelContainerUpdateConstantBufferFromCpuPairs",
    "AOTInductorModelContainerRunConstantFolding",
    "AOTInductorModelUpdateConstantsMap",
    "AOTInductorModelUpdateConstantsMapV2",
    "AOTInductorModelGetNumOutputs",
    "AOTInductorModelCreateV2",
    "AOTInductorModelCreate",
    "AOTInductorModelDelete",
    "AOTInductorModelRun",
};

template <class T>
std::string bytes_of(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof(T)};
}

std::string terminated(const std::string& text) { return {text.c_str(), text.size() + 1}; }

}  // namespace

bool is_libtorch(std::string_view library) noexcept {
  return library.starts_with("libtorch") || library.starts_with("libc10");
}

// The offset of every string that something refers to, sorted; as often as it is referred to.
std::vector<uint64_t> ElfImage::string_references() const {
  std::vector<uint64_t> references;
  for (const Symbol& symbol : symbols_) references.push_back(symbol.name);
  for (const Dynamic& entry : dynamic_) {
    if (entry.tag == DT_NULL) break;
    for (const int64_t tag : {DT_NEEDED, DT_SONAME, DT_RPATH, DT_RUNPATH, DT_AUXILIARY, DT_FILTER,
                              DT_CONFIG, DT_DEPAUDIT, DT_AUDIT}) {
      if (entry.tag == tag) references.push_back(entry.value);
    }
  }
  if (const auto table = dynamic_value(DT_VERNEED)) {
    uint64_t at = file_offset(*table, sizeof(Elf64_Verneed), "version needs");
    for (uint64_t count = dynamic_value(DT_VERNEEDNUM).value_or(0); count > 0; --count) {
      const auto need = read<Elf64_Verneed>(at, "version need");
      references.push_back(need.vn_file);
      uint64_t detail = at + need.vn_aux;
      for (uint64_t i = 0; i < need.vn_cnt; ++i) {
        const auto version = read<Elf64_Vernaux>(detail, "version need");
        references.push_back(version.vna_name);
        if (version.vna_next == 0) break;
        detail += version.vna_next;
      }
      if (need.vn_next == 0) break;
      at += need.vn_next;
    }
  }
  if (const auto table = dynamic_value(DT_VERDEF)) {
    uint64_t at = file_offset(*table, sizeof(Elf64_Verdef), "version definitions");
    for (uint64_t count = dynamic_value(DT_VERDEFNUM).value_or(0); count > 0; --count) {
      const auto definition = read<Elf64_Verdef>(at, "version definition");
      uint64_t detail = at + definition.vd_aux;
      for (uint64_t i = 0; i < definition.vd_cnt; ++i) {
        const auto version = read<Elf64_Verdaux>(detail, "version definition");
        references.push_back(version.vda_name);
        if (version.vda_next == 0) break;
        detail += version.vda_next;
      }
      if (definition.vd_next == 0) break;
      at += definition.vd_next;
    }
  }
  std::sort(references.begin(), references.end());
  return references;
}

// Whether the string at `offset` is referred to once and `length` bytes of it, with the terminator,
// belong to no other string: linkers let strings share their ends.
bool ElfImage::is_unshared(uint64_t offset, size_t length,
                           const std::vector<uint64_t>& references) const {
  const auto first = std::lower_bound(references.begin(), references.end(), offset);
  const auto last = std::upper_bound(references.begin(), references.end(), offset + length);
  return last - first == 1 && offset > 0 && image_[strings_ + offset - 1] == 0;
}

// Which symbols a relocation of the object refers to by name.
std::vector<bool> ElfImage::relocated_symbols() const {
  std::vector<bool> relocated(symbols_.size(), false);
  const std::pair<int64_t, int64_t> tables[] = {{DT_RELA, DT_RELASZ}, {DT_JMPREL, DT_PLTRELSZ}};
  for (const auto& [address, size] : tables) {
    const uint64_t bytes = dynamic_value(size).value_or(0);
    if (bytes == 0) continue;
    const uint64_t at = file_offset(required_value(address, "relocations"), bytes, "relocations");
    for (uint64_t i = 0; i + sizeof(Elf64_Rela) <= bytes; i += sizeof(Elf64_Rela)) {
      const uint64_t symbol = ELF64_R_SYM(read<Elf64_Rela>(at + i, "relocation").r_info);
      check(symbol < relocated.size(), "a relocation refers to symbol ", symbol, " of ",
            relocated.size());
      relocated[symbol] = true;
    }
  }
  return relocated;
}

// Writes `text` over a string that can be spared; adds the string's offset to `taken`.
Patch ElfImage::place_string(const std::string& text, std::vector<uint64_t>& taken) const {
  const std::vector<uint64_t> references = string_references();
  std::vector<uint64_t> candidates;
  for (const Dynamic& entry : dynamic_) {
    if (entry.tag == DT_NULL) break;
    if (entry.tag == DT_NEEDED && is_libtorch(string_at(entry.value))) {
      candidates.push_back(entry.value);
    }
  }
  const std::vector<bool> relocated = relocated_symbols();
  for (size_t i = 0; i < symbols_.size(); ++i) {
    if (!symbols_[i].defined || relocated[i]) continue;
    const std::string_view name = string_at(symbols_[i].name);
    if (std::find(kDispensable.begin(), kDispensable.end(), name) != kDispensable.end()) {
      candidates.push_back(symbols_[i].name);
    }
  }
  for (const uint64_t candidate : candidates) {
    if (string_at(candidate).size() < text.size()) continue;
    if (std::find(taken.begin(), taken.end(), candidate) != taken.end()) continue;
    if (!is_unshared(candidate, text.size(), references)) continue;
    taken.push_back(candidate);
    return {strings_ + candidate, terminated(text)};
  }
  fail(Status::NotSupported, name_, ": no room for the name of its dependency ", text, ": none of ",
       candidates.size(), " strings that could be given up is as long and used by nothing else");
}

std::vector<Patch> ElfImage::prepare(
    const std::vector<std::string>& libraries,
    const std::vector<std::pair<std::string, std::string>>& renamed) const {
  std::vector<Patch> patches;
  if (executable_stack_) {
    const auto flags = read<uint32_t>(stack_flags_, "stack flags");
    patches.push_back({stack_flags_, bytes_of<uint32_t>(flags & ~uint32_t{PF_X})});
  }

  const std::vector<uint64_t> references = string_references();
  const auto versions = dynamic_value(DT_VERSYM);
  for (size_t i = 0; i < symbols_.size(); ++i) {
    const Symbol& symbol = symbols_[i];
    if (symbol.defined && ELF64_ST_BIND(symbol.info) == STB_GNU_UNIQUE) {
      const uint8_t weak = ELF64_ST_INFO(STB_WEAK, ELF64_ST_TYPE(symbol.info));
      patches.push_back({symbol.offset + offsetof(Elf64_Sym, st_info), bytes_of(weak)});
    }
    if (symbol.defined || symbol.name == 0) continue;
    for (const auto& [name, replacement] : renamed) {
      if (string_at(symbol.name) != name) continue;
      if (replacement.size() > name.size() || !is_unshared(symbol.name, name.size(), references)) {
        continue;
      }
      patches.push_back({strings_ + symbol.name, terminated(replacement)});
      if (versions) {
        const uint64_t at = file_offset(*versions, 2 * symbols_.size(), "symbol versions") + 2 * i;
        patches.push_back({at, bytes_of<uint16_t>(VER_NDX_GLOBAL)});
      }
    }
  }

  // Entries to use: first those of libtorch, then spare ones, leaving one to end the section.
  std::vector<Dynamic> slots;
  for (const Dynamic& entry : dynamic_) {
    if (entry.tag == DT_NULL) break;
    if (entry.tag == DT_NEEDED && is_libtorch(string_at(entry.value))) slots.push_back(entry);
  }
  const size_t num_replaced = slots.size();
  auto spare = std::find_if(dynamic_.begin(), dynamic_.end(),
                            [](const Dynamic& entry) { return entry.tag == DT_NULL; });
  for (; spare + 1 < dynamic_.end() && (spare + 1)->tag == DT_NULL; ++spare) {
    slots.push_back(*spare);
  }
  std::vector<uint64_t> taken;
  size_t used = 0;
  uint64_t last_name = 0;
  for (const std::string& library : libraries) {
    if (std::find(needed_.begin(), needed_.end(), library) != needed_.end()) continue;
    require(used < slots.size(), Status::NotSupported, name_, ": its dynamic section has room for ",
            slots.size(), " more dependencies, not for ", library);
    patches.push_back(place_string(library, taken));
    last_name = taken.back();
    patches.push_back({slots[used].offset, bytes_of(Elf64_Dyn{DT_NEEDED, {last_name}})});
    ++used;
  }
  // An entry of libtorch that is left over names a library once more.
  for (; used < num_replaced; ++used) {
    check(!taken.empty(), "it needs libtorch as well as aotiny");
    patches.push_back({slots[used].offset, bytes_of(Elf64_Dyn{DT_NEEDED, {last_name}})});
  }
  return patches;
}

}  // namespace aotiny
