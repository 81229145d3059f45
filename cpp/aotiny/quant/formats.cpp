#include "aotiny/quant/formats.h"

#include <algorithm>
#include <sstream>

namespace aotiny {

const FormatInfo& format_info(FormatId id) {
  const FormatInfo* info = nullptr;
  visit_format(id, [&](auto traits) { info = &decltype(traits)::kInfo; });
  return *info;
}

FormatId find_format(std::string_view name, std::string_view variant) {
  std::ostringstream variants;
  for (int i = 0; i < Formats::kCount; ++i) {
    const FormatInfo& info = format_info(FormatId{i});
    if (info.name != name) continue;
    if (info.variant == variant) return FormatId{i};
    variants << (variants.tellp() > 0 ? ", \"" : "\"") << info.variant << '"';
  }
  const std::string known = variants.str();
  require(!known.empty(), Status::InvalidArgument, "there is no weight format ", name);
  fail(Status::InvalidArgument, name, " has no variant \"", variant, "\"; it has ", known);
}

std::vector<int64_t> PlaneSpec::sizes(int64_t n, int64_t k, int64_t group_size) const {
  switch (layout) {
    case Layout::Tiles:
      return {n / 8, k / (32 * count), 32, count};
    case Layout::Groups:
      if (count > 1) return {k / group_size, n, count};
      return {k / group_size, n};
    default:
      return {n, columns(k, group_size)};
  }
}

void check_shape(const FormatInfo& format, int64_t n, int64_t k, int64_t group_size) {
  const auto refuse = [&](const auto&... what) {
    fail(Status::InvalidArgument, format.name, format.plain ? format.variant : "", ": ", what...);
  };
  if (n < 1 || k < 1) refuse("a weight of shape [", n, ", ", k, "] has no elements");
  if (group_size < 1 || group_size % format.group_multiple != 0) {
    refuse("group size ", group_size, " is not a positive multiple of ", format.group_multiple);
  }
  const std::span<const int64_t> sizes = format.group_sizes;
  if (!sizes.empty() && std::ranges::find(sizes, group_size) == sizes.end()) {
    std::ostringstream known;
    for (size_t i = 0; i < sizes.size(); ++i) {
      known << (i == 0 ? "" : i + 1 == sizes.size() ? " or " : ", ") << sizes[i];
    }
    refuse("group size ", group_size, " is not ", known.str());
  }
  if (n % format.n_multiple != 0) refuse("N = ", n, " is not a multiple of ", format.n_multiple);
  if (k % group_size != 0) {
    refuse("K = ", k, " is not a multiple of the group size ", group_size);
  }
  if (k % format.k_multiple != 0) refuse("K = ", k, " is not a multiple of ", format.k_multiple);
  if (!format.has_super_blocks()) return;
  if (k % kSuperBlock != 0) refuse("K = ", k, " is not a multiple of ", kSuperBlock);
  if (kSuperBlock % group_size != 0) {
    refuse("group size ", group_size, " does not divide ", kSuperBlock);
  }
}

}  // namespace aotiny
