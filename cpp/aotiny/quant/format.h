// What a weight format is made of.
//
// A weight W [N, K] is held as planes, tensors in which every row of W has its part. A format's
// traits struct names its planes and gives the scalar code for one row; validation, storage, views,
// quantizers, Python and the kernels' driver are written once over that description.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "aotiny/core/dtype.h"

namespace aotiny {

// Activations are quantized in blocks of this many along k.
inline constexpr int64_t kBlock = 32;

// Super-scales, where a format has them, serve this many weights along k.
inline constexpr int64_t kSuperBlock = 256;

// What the elements of a plane's row are counted by.
enum class Per : uint8_t { Weight, Group, SuperBlock, Row };

// How the rows of W lie in a plane. A stack of B weights has planes with B in front.
enum class Layout : uint8_t {
  Rows,    // [N, columns]: a row's elements follow each other
  Groups,  // [K/g, N] or [K/g, N, count]: for one group the elements of all rows
  Tiles,   // [N/8, K/(16·t), 32, t/2] with t = 2·count: drawn in int4_tile_packed.h
};

struct PlaneSpec {
  const char* name;
  DType dtype;
  Per per;
  int count;  // Weight: weights an element holds; otherwise elements a group, super-block or row
  Layout layout = Layout::Rows;

  // Elements of a row of W.
  constexpr int64_t columns(int64_t k, int64_t group_size) const {
    switch (per) {
      case Per::Weight:
        return k / count;
      case Per::Group:
        return k / group_size * count;
      case Per::SuperBlock:
        return k / kSuperBlock * count;
      default:
        return count;
    }
  }

  // The dimensions of the plane of one weight.
  constexpr int ndim() const {
    if (layout == Layout::Tiles) return 4;
    return layout == Layout::Groups && count > 1 ? 3 : 2;
  }
  std::vector<int64_t> sizes(int64_t n, int64_t k, int64_t group_size) const;

  // Which of them belongs to N, and which to K. A plane with elements per row has none for K.
  constexpr int n_dim() const { return layout == Layout::Groups ? 1 : 0; }
  constexpr int k_dim() const { return layout == Layout::Groups ? 0 : 1; }
};

// The order in which a format's codes come within a block of 32, and therefore the order in which
// its kernels want the activations: as they are, or first the 16 at even k, then the 16 at odd k
// (the low and the high nibbles of 16 bytes).
enum class KOrder : uint8_t { Natural, EvenOdd };

// Kinds of metadata: A holds values in bf16, H in fp16; B codes and a row's steps; C codes and a
// super-block's steps.
enum class Metadata : char { A = 'A', H = 'H', B = 'B', C = 'C' };

constexpr const char* name_of(Metadata metadata) {
  switch (metadata) {
    case Metadata::A:
      return "A";
    case Metadata::H:
      return "H";
    case Metadata::B:
      return "B";
    default:
      return "C";
  }
}

// Values up to here stay finite when scales that bf16 or fp32 hold are rounded.
inline constexpr float kLargestValue = 0x1p127f;

// What a code q stands for, given the numbers of its group.
enum class Value : uint8_t {
  Zero,   // (q − zero)·scale
  Min,    // q·scale − min
  Scale,  // q·scale; the second number is 0
};

struct FormatInfo {
  const char* name;     // "CoalescedInt4"
  const char* variant;  // tells formats of one name apart: "A", "B", ...; "" if there is only one
  int bits;             // of a code
  std::span<const PlaneSpec> planes;  // the codes' own planes first
  Value value = Value::Zero;
  KOrder order = KOrder::Natural;
  bool plain = true;                          // has products with int8 activations
  int64_t group_multiple = 32;                // group sizes are multiples of it ...
  std::span<const int64_t> group_sizes = {};  // ... and among these, if any are given
  int64_t default_group = 32;                 // the one to take if none is asked for
  int64_t n_multiple = 1;                     // of N
  int64_t k_multiple = 32;                    // of K, beside the group size
  float largest = kLargestValue;              // magnitude that the metadata can hold
  bool positive_steps = false;                // steps, where there are any, are above 0
  bool unsigned_zero = false;                 // zeros (or mins) and scales are not negative
  bool integer_zero = false;                  // zeros are codes

  constexpr bool has_super_blocks() const {
    for (const PlaneSpec& plane : planes) {
      if (plane.per == Per::SuperBlock) return true;
    }
    return false;
  }
};

inline constexpr int kMaxPlanes = 6;

// One row of a weight, in the order of FormatInfo::planes: where its part of a plane begins, and
// how many elements on the next begins in Groups (from group to group) and in Tiles (from one 16·t
// along k to the next). In Rows they follow each other.
struct WeightRow {
  uint8_t* plane[kMaxPlanes];
  int64_t step[kMaxPlanes];

  template <class T>
  T* as(int index) const {
    return reinterpret_cast<T*>(plane[index]);
  }
};

// The value of a code, in fp32.
inline float value_of(Value value, float q, float scale, float zero_or_min) {
  return value == Value::Zero ? (q - zero_or_min) * scale : q * scale - zero_or_min;
}

// Two 4-bit codes a byte: even k is the low nibble.
inline void pack_nibbles(const int* codes, int64_t k, uint8_t* bytes) {
  for (int64_t j = 0; j < k / 2; ++j) {
    bytes[j] = static_cast<uint8_t>(codes[2 * j] | codes[2 * j + 1] << 4);
  }
}

inline void unpack_nibbles(const uint8_t* bytes, int64_t k, int* codes) {
  for (int64_t j = 0; j < k / 2; ++j) {
    codes[2 * j] = bytes[j] & 15;
    codes[2 * j + 1] = bytes[j] >> 4;
  }
}

// Fails with InvalidArgument, with the numbers, unless a weight [n, k] can be held in groups of
// `group_size`: n and k at least 1 and multiples of what the format says, the group size one that
// it has, k a multiple of the group; with super-blocks also k a multiple of them, and they of the
// group.
void check_shape(const FormatInfo& format, int64_t n, int64_t k, int64_t group_size);

}  // namespace aotiny
