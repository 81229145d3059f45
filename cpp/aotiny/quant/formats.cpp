#include "aotiny/quant/formats.h"

namespace aotiny {

const FormatInfo& format_info(FormatId id) {
  const FormatInfo* info = nullptr;
  visit_format(id, [&](auto traits) { info = &decltype(traits)::kInfo; });
  return *info;
}

FormatId find_format(std::string_view name, std::string_view metadata) {
  for (int i = 0; i < Formats::kCount; ++i) {
    const FormatInfo& info = format_info(FormatId{i});
    if (info.name == name && info.metadata == metadata) return FormatId{i};
  }
  fail(Status::InvalidArgument, "there is no weight format ", name, " with metadata \"", metadata,
       "\"");
}

void check_shape(const FormatInfo& format, int64_t n, int64_t k, int64_t group_size) {
  require(n >= 1 && k >= 1, Status::InvalidArgument, format.name, ": a weight of shape [", n, ", ",
          k, "] has no elements");
  require(group_size >= kBlock && group_size % kBlock == 0, Status::InvalidArgument, format.name,
          ": group size ", group_size, " is not a positive multiple of ", kBlock);
  require(format.group_size == 0 || group_size == format.group_size, Status::InvalidArgument,
          format.name, ": group size ", group_size, " is not ", format.group_size);
  require(k % group_size == 0, Status::InvalidArgument, format.name, ": K = ", k,
          " is not a multiple of the group size ", group_size);
  if (format.has_super_blocks()) {
    require(k % kSuperBlock == 0, Status::InvalidArgument, format.name, format.metadata,
            ": K = ", k, " is not a multiple of ", kSuperBlock);
    require(kSuperBlock % group_size == 0, Status::InvalidArgument, format.name, format.metadata,
            ": group size ", group_size, " does not divide ", kSuperBlock);
  }
}

}  // namespace aotiny
