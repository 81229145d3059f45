// The list of formats. A new format is one line here; its place in the list is its FormatId.
#pragma once

#include "aotiny/quant/coalesced_int4.h"
#include "aotiny/quant/exact_int4.h"
#include "aotiny/quant/exact_int5.h"
#include "aotiny/quant/int4_plain.h"
#include "aotiny/quant/int4_tile_packed.h"
#include "aotiny/quant/int8.h"
#include "aotiny/quant/planar_int6.h"

namespace aotiny {

template <class... Traits>
struct FormatList {
  static constexpr int kCount = sizeof...(Traits);
  static_assert(((Traits::kInfo.planes.size() <= kMaxPlanes) && ...));
};

using Formats = FormatList<CoalescedInt4Traits<Metadata::A>,  //
                           CoalescedInt4Traits<Metadata::H>,  //
                           CoalescedInt4Traits<Metadata::B>,  //
                           CoalescedInt4Traits<Metadata::C>,  //
                           ExactInt4Traits,                   //
                           ExactInt5Traits,                   //
                           PlanarInt6Traits<Metadata::A>,     //
                           PlanarInt6Traits<Metadata::B>,     //
                           PlanarInt6Traits<Metadata::C>,     //
                           Int8Traits<Metadata::A>,           //
                           Int8Traits<Metadata::H>,           //
                           Int4PlainTraits<BFloat16>,         //
                           Int4PlainTraits<Float16>,          //
                           Int4PlainTraits<float>,            //
                           Int4TilePackedTraits<2>,           //
                           Int4TilePackedTraits<4>,           //
                           Int4TilePackedTraits<8>>;

enum class FormatId : int {};

namespace detail {

template <class Wanted, class... Traits>
constexpr int format_index(FormatList<Traits...>) {
  int index = 0;
  int found = -1;
  ((std::is_same_v<Wanted, Traits> ? (found = index++) : index++), ...);
  return found;
}

// Calls f(traits) for the format at `wanted`; true if there is one.
template <class F, class... Traits>
bool visit_format_at(int wanted, F& f, FormatList<Traits...>) {
  int index = 0;
  return ((index++ == wanted && (f(Traits{}), true)) || ...);
}

}  // namespace detail

template <class Traits>
inline constexpr FormatId kFormatId{detail::format_index<Traits>(Formats{})};

// Calls f with an object of the format's traits type.
template <class F>
void visit_format(FormatId id, F&& f) {
  require(detail::visit_format_at(static_cast<int>(id), f, Formats{}), Status::Internal,
          "there is no format ", static_cast<int>(id));
}

const FormatInfo& format_info(FormatId id);

// By name ("CoalescedInt4", "Int8") and variant ("A", ...); fails with InvalidArgument if there is
// none, naming those that there are.
FormatId find_format(std::string_view name, std::string_view variant);

}  // namespace aotiny
