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

// Super-scales, where a format has them, serve this many weights along k.
inline constexpr int64_t kSuperBlock = 256;

// What the elements of a plane's row are counted by.
enum class Per : uint8_t { Weight, Group, SuperBlock, Row };

struct PlaneSpec {
  const char* name;
  DType dtype;
  Per per;
  int count;  // Weight: weights an element holds; otherwise elements a group, super-block or row

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
};

// The order in which a format's codes come within a block of 32, and therefore the order in which
// its kernels want the activations: as they are, or first the 16 at even k, then the 16 at odd k
// (the low and the high nibbles of 16 bytes).
enum class KOrder : uint8_t { Natural, EvenOdd };

// Kinds of metadata: A holds values; B codes and a row's steps; C codes and a super-block's steps.
enum class Metadata : char { A = 'A', B = 'B', C = 'C' };

constexpr const char* name_of(Metadata metadata) {
  return metadata == Metadata::A ? "A" : metadata == Metadata::B ? "B" : "C";
}

// What a code q stands for, given the two numbers of its group.
enum class Value : uint8_t {
  Zero,  // (q − zero)·scale
  Min,   // q·scale − min
};

struct FormatInfo {
  const char* name;      // "CoalescedInt4"
  const char* metadata;  // "A", "B", "C"; "" if the format has only one kind
  int bits;              // of a code
  KOrder order;
  std::span<const PlaneSpec> planes;  // the codes' own planes first
  Value value = Value::Zero;
  int64_t group_size = 0;  // the only one that the format has; 0 if any multiple of 32

  constexpr bool has_super_blocks() const {
    for (const PlaneSpec& plane : planes) {
      if (plane.per == Per::SuperBlock) return true;
    }
    return false;
  }
  // The largest magnitude that the metadata can hold: fp16 steps end at 65504, codes at 255.
  constexpr float largest() const { return has_super_blocks() ? 255 * 65504.0f : 0x1.fffffep127f; }
};

inline constexpr int kMaxPlanes = 5;

// One row of a weight, a pointer for every plane, in the order of FormatInfo::planes.
struct WeightRow {
  uint8_t* plane[kMaxPlanes];

  template <class T>
  T* as(int index) const {
    return reinterpret_cast<T*>(plane[index]);
  }
};

// The value of a code, in fp32.
inline float value_of(Value value, float q, float scale, float zero_or_min) {
  return value == Value::Min ? q * scale - zero_or_min : (q - zero_or_min) * scale;
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
// `group_size`: n and k at least 1, the group the format's own or a multiple of 32, k a multiple of
// the group; with super-blocks also k a multiple of them, and they of the group.
void check_shape(const FormatInfo& format, int64_t n, int64_t k, int64_t group_size);

}  // namespace aotiny
