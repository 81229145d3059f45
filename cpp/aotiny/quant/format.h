// What a weight format is made of.
//
// A weight W [N, K] is held as planes: tensors [N, columns] whose rows belong to the rows of W. A
// format's traits struct names its planes and gives the scalar code for one row; validation,
// storage, Python and the kernels' driver are written once over that description.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "aotiny/core/dtype.h"

namespace aotiny {

// Activations are quantized in blocks of this many along k; groups are multiples of it.
inline constexpr int64_t kBlock = 32;

// What the elements of a plane's row are counted by.
enum class Per : uint8_t { Weight, Group, Row };

struct PlaneSpec {
  const char* name;
  DType dtype;
  Per per;
  int count;  // Weight: weights an element holds; Group: elements a group; Row: elements a row

  constexpr int64_t columns(int64_t k, int64_t group_size) const {
    switch (per) {
      case Per::Weight:
        return k / count;
      case Per::Group:
        return k / group_size * count;
      default:
        return count;
    }
  }
};

// The order in which a format's codes come within a block of 32, and therefore the order in which
// its kernels want the activations: as they are, or first the 16 at even k, then the 16 at odd k
// (the low and the high nibbles of 16 bytes).
enum class KOrder : uint8_t { Natural, EvenOdd };

struct FormatInfo {
  const char* name;      // "CoalescedInt4"
  const char* metadata;  // "A", "B"; "" if the format has only one kind
  int bits;              // of a code
  KOrder order;
  std::span<const PlaneSpec> planes;  // the codes' own planes first
};

inline constexpr int kMaxPlanes = 4;

// One row of a weight, a pointer for every plane, in the order of FormatInfo::planes.
struct WeightRow {
  uint8_t* plane[kMaxPlanes];

  template <class T>
  T* as(int index) const {
    return reinterpret_cast<T*>(plane[index]);
  }
};

// Fails with InvalidArgument, with the numbers, unless a weight [n, k] can be held in groups of
// `group_size`: n and k at least 1, the group a multiple of 32, k a multiple of the group.
void check_shape(const FormatInfo& format, int64_t n, int64_t k, int64_t group_size);

}  // namespace aotiny
