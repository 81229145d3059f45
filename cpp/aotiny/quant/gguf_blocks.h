// The blocks of GGUF's quantized types, and how each is taken apart into a format's planes.
//
// A tensor of a GGUF file is a run of blocks, row by row; a block has 32 or 256 weights along k,
// with their scales before or behind the codes. Nothing is rounded: the formats named here hold
// the same integers and the same fp16 numbers, only elsewhere. Scales are little-endian.
//
// `repack` takes blocks that follow each other, `kSteps` says where in a block its fp16 numbers
// are. Loops have no branches and counts that are known, so that the compiler can vectorise them.
#pragma once

#include <bit>
#include <cstring>

#include "aotiny/quant/formats.h"

namespace aotiny::gguf {

static_assert(std::endian::native == std::endian::little);

template <class T>
T load(const uint8_t* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

inline bool is_finite(Float16 value) { return (value.bits & 0x7c00) != 0x7c00; }

// byte j of `to` = the nibbles at bit `shift` of bytes 2j (to the low nibble) and 2j + 1.
inline void pair_nibbles(const uint8_t* from, int shift, int count, uint8_t* __restrict to) {
  for (int j = 0; j < count; ++j) {
    const unsigned pair = load<uint16_t>(from + 2 * j) >> shift & 0x0f0f;
    to[j] = static_cast<uint8_t>(pair | pair >> 4);
  }
}

// The same for the low nibbles of the 8 bytes of a word.
inline uint32_t pair_word(uint64_t nibbles) {
  uint64_t pairs = nibbles & 0x0f0f0f0f0f0f0f0f;
  pairs = (pairs | pairs >> 4) & 0x00ff00ff00ff00ff;
  pairs = (pairs | pairs >> 8) & 0x0000ffff0000ffff;
  return static_cast<uint32_t>(pairs | pairs >> 16);
}

// The codes of Q4_K and Q5_K: 4 runs of 32 bytes, whose low nibbles are 32 weights and whose high
// nibbles are the next 32.
inline void repack_nibble_runs(const uint8_t* from, uint8_t* to) {
  for (int run = 0; run < 4; ++run) {
    pair_nibbles(from + 32 * run, 0, 16, to + 32 * run);
    pair_nibbles(from + 32 * run, 4, 16, to + 32 * run + 16);
  }
}

// The 8 scales and 8 mins of Q4_K and Q5_K, 6 bits each, in 12 bytes:
//
//   byte         bit 7..6              bit 5..0
//   j            scale(j + 4) / 16     scale(j)            j in 0..3
//   4 + j        min(j + 4) / 16       min(j)
//   byte         bit 7..4              bit 3..0
//   8 + j        min(j + 4) % 16       scale(j + 4) % 16
inline void repack_scales_and_mins(const uint8_t* from, uint8_t* scale, uint8_t* min) {
  const auto first = load<uint32_t>(from), second = load<uint32_t>(from + 4),
             third = load<uint32_t>(from + 8);
  const uint32_t scales[] = {first & 0x3f3f3f3f, (third & 0x0f0f0f0f) | (first >> 2 & 0x30303030)};
  const uint32_t mins[] = {second & 0x3f3f3f3f,
                           (third >> 4 & 0x0f0f0f0f) | (second >> 2 & 0x30303030)};
  std::memcpy(scale, scales, 8);
  std::memcpy(min, mins, 8);
}

// d fp16, then 16 bytes: byte j has q(j) in its low and q(j + 16) in its high nibble.
// value = (q − 8)·d
struct Q4_0 {
  static constexpr const char* kName = "Q4_0";
  static constexpr int64_t kWeights = 32;
  static constexpr int64_t kBytes = 18;
  static constexpr int kSteps[] = {0};
  using Traits = CoalescedInt4Traits<Metadata::H>;

  static void repack(const uint8_t* block, int64_t count, const WeightRow& to) {
    uint8_t* __restrict codes = to.plane[0];
    Float16* __restrict scale = to.as<Float16>(1);
    Float16* __restrict zero = to.as<Float16>(2);
    for (int64_t i = 0; i < count; ++i, block += kBytes, codes += 16) {
      scale[i] = load<Float16>(block);
      zero[i] = Float16(8.0f);
      // As pair_nibbles, in words: 16 pairs are few for a loop that the compiler vectorises.
      const auto first = load<uint64_t>(block + 2), second = load<uint64_t>(block + 10);
      const uint32_t out[] = {pair_word(first), pair_word(second), pair_word(first >> 4),
                              pair_word(second >> 4)};
      std::memcpy(codes, out, 16);
    }
  }
};

// d fp16, then 32 codes in two's complement. value = q·d
struct Q8_0 {
  static constexpr const char* kName = "Q8_0";
  static constexpr int64_t kWeights = 32;
  static constexpr int64_t kBytes = 34;
  static constexpr int kSteps[] = {0};
  using Traits = Int8Traits<Metadata::H>;

  static void repack(const uint8_t* block, int64_t count, const WeightRow& to) {
    uint8_t* __restrict codes = to.plane[0];
    Float16* __restrict scale = to.as<Float16>(1);
    int8_t* __restrict zero = to.as<int8_t>(2);
    for (int64_t i = 0; i < count; ++i, block += kBytes, codes += 32) {
      scale[i] = load<Float16>(block);
      zero[i] = 0;
      std::memcpy(codes, block + 2, 32);
    }
  }
};

// d and dmin fp16, 12 bytes of scales and mins, 128 bytes of codes. value = q·scale·d − min·dmin
struct Q4_K {
  static constexpr const char* kName = "Q4_K";
  static constexpr int64_t kWeights = 256;
  static constexpr int64_t kBytes = 144;
  static constexpr int kSteps[] = {0, 2};
  using Traits = ExactInt4Traits;

  static void repack(const uint8_t* block, int64_t count, const WeightRow& to) {
    for (int64_t i = 0; i < count; ++i, block += kBytes) {
      to.as<Float16>(3)[i] = load<Float16>(block);
      to.as<Float16>(4)[i] = load<Float16>(block + 2);
      repack_scales_and_mins(block + 4, to.plane[1] + 8 * i, to.plane[2] + 8 * i);
      repack_nibble_runs(block + 16, to.plane[0] + 128 * i);
    }
  }
};

// As Q4_K with 32 bytes of fifth bits before the codes: byte l has those of weights l, l + 32, ...
// at bits 0, 1, ...
struct Q5_K {
  static constexpr const char* kName = "Q5_K";
  static constexpr int64_t kWeights = 256;
  static constexpr int64_t kBytes = 176;
  static constexpr int kSteps[] = {0, 2};
  using Traits = ExactInt5Traits;

  static void repack(const uint8_t* block, int64_t count, const WeightRow& to) {
    for (int64_t i = 0; i < count; ++i, block += kBytes) {
      to.as<Float16>(4)[i] = load<Float16>(block);
      to.as<Float16>(5)[i] = load<Float16>(block + 2);
      repack_scales_and_mins(block + 4, to.plane[2] + 8 * i, to.plane[3] + 8 * i);
      repack_high_bits(block + 16, to.plane[1] + 32 * i);
      repack_nibble_runs(block + 48, to.plane[0] + 128 * i);
    }
  }

  // To 4 bytes for each 32 weights: in the drawing of exact_int5.h nibble i has, of every eight
  // weights, the bit of weight i.
  static void repack_high_bits(const uint8_t* from, uint8_t* __restrict to) {
    for (int run = 0; run < 8; ++run) {
      uint64_t nibbles = 0;
      for (int word = 0; word < 4; ++word) {
        nibbles |= (load<uint64_t>(from + 8 * word) >> run & 0x0101010101010101) << word;
      }
      const uint32_t bytes = pair_word(nibbles);
      std::memcpy(to + 4 * run, &bytes, 4);
    }
  }
};

// 128 bytes of low and 64 of high bits, 16 scales in two's complement, d fp16. Each half of the
// block has 64 bytes of low bits, whose low nibbles are its first 64 weights and whose high nibbles
// the others, and 32 bytes of high bits: byte l has those of weights l, l + 32, l + 64 and l + 96
// at bits 0, 2, 4 and 6. value = (u − 32)·scale·d
struct Q6_K {
  static constexpr const char* kName = "Q6_K";
  static constexpr int64_t kWeights = 256;
  static constexpr int64_t kBytes = 210;
  static constexpr int kSteps[] = {208};
  using Traits = PlanarInt6Traits<Metadata::C>;

  static void repack(const uint8_t* block, int64_t count, const WeightRow& to) {
    for (int64_t i = 0; i < count; ++i, block += kBytes) {
      to.as<Float16>(3)[i] = load<Float16>(block + 208);
      std::memcpy(to.plane[2] + 16 * i, block + 192, 16);
      for (int half = 0; half < 2; ++half) {
        uint8_t* low = to.plane[0] + 128 * i + 64 * half;
        pair_nibbles(block + 64 * half, 0, 32, low);
        pair_nibbles(block + 64 * half, 4, 32, low + 32);
        repack_high_bits(block + 128 + 32 * half, to.plane[1] + 64 * i + 32 * half);
      }
    }
  }

  // To 8 bytes for each 32 weights: one for the even and one for the odd of every eight, four
  // weights each, as planar_int6.h draws them.
  static void repack_high_bits(const uint8_t* from, uint8_t* __restrict to) {
    for (int run = 0; run < 4; ++run) {
      for (int word = 0; word < 4; ++word) {
        const uint64_t bits = load<uint64_t>(from + 8 * word) >> 2 * run & 0x0303030303030303;
        const uint64_t pair = bits | bits >> 14 | bits >> 28 | bits >> 42;
        to[8 * run + word] = static_cast<uint8_t>(pair);
        to[8 * run + 4 + word] = static_cast<uint8_t>(pair >> 8);
      }
    }
  }
};

}  // namespace aotiny::gguf
