// How each format's codes and metadata come into vectors: the only part of the kernels that knows
// formats.
//
// Everything is a template over Isa, a struct local to the file of an instruction set, so that the
// linker can never use one instruction set's code for another. Isa has kLanes 32-bit lanes, the
// vector types U32, I32 and F32, and
//   transpose(rows, stride, U32 out[4])  16 bytes of each of kLanes rows; out[i] lane l is dword i
//                                        of row l
//   kRunBytes                            how many bytes of a row to take at once: 16, or 64 with
//   transpose64(rows, stride, U32 out[16])
//   from_half(U32 bits)                  fp16 in the low half of every lane as fp32
//   kSignedFlip, kSignedBias             how it wants signed bytes: q ^ flip as bytes = q + bias
#pragma once

#include <algorithm>
#include <bit>
#include <utility>

#include "aotiny/kernels/plain_mm.h"

namespace aotiny {

// Codes are read in runs of kRun blocks: load(panel, block) takes the bytes of a run into
// vectors, and get<i>(U32 w[8]) gives its i-th block. The format's KOrder is the order in which the
// 32 codes of a lane fill w[0] byte 0, 1, 2, 3, w[1] byte 0, ... What lies past the last block of a
// panel is read and not used.
//
// A cache line of every row is used up before the next is touched: rows are often a power of two
// apart, where the first-level cache has room for few of them.

// kBytes of every row, a multiple of 16.
template <class Isa, int kBytes>
void load_run(const uint8_t* rows, int64_t stride, typename Isa::U32* out) {
  if constexpr (kBytes % 64 == 0 && Isa::kRunBytes == 64) {
    for (int i = 0; i < kBytes; i += 64) Isa::transpose64(rows + i, stride, out + i / 4);
  } else {
    for (int i = 0; i < kBytes; i += 16) Isa::transpose(rows + i, stride, out + i / 4);
  }
}

// Two 4-bit codes a byte, 0..15, in the order EvenOdd.
template <class Isa>
struct NibbleCodes {
  using U32 = typename Isa::U32;
  static constexpr int kMaxMagnitude = 15;
  static constexpr bool kSigned = false;
  static constexpr int kBlockBytes = 16;
  static constexpr int kRun = Isa::kRunBytes / kBlockBytes;

  void load(const PlainPanel& panel, int64_t block) {
    load_run<Isa, kRun * kBlockBytes>(panel.plane[0] + block * kBlockBytes, panel.stride[0],
                                      packed_);
  }
  template <int kIndex>
  void get(U32* w) const {
    for (int i = 0; i < 4; ++i) {
      w[i] = packed_[4 * kIndex + i] & 0x0f0f0f0fu;
      w[4 + i] = (packed_[4 * kIndex + i] >> 4) & 0x0f0f0f0fu;
    }
  }

 private:
  U32 packed_[4 * kRun];
};

// The low four bits of codes in nibbles, as above, and the fifth as exact_int5.h draws it: 0..31.
template <class Isa>
struct FiveBitCodes {
  using U32 = typename Isa::U32;
  static constexpr int kMaxMagnitude = 31;
  static constexpr bool kSigned = false;
  static constexpr int kBlockBytes = NibbleCodes<Isa>::kBlockBytes;
  static constexpr int kRun = NibbleCodes<Isa>::kRun;

  void load(const PlainPanel& panel, int64_t block) {
    low_.load(panel, block);
    Isa::transpose(panel.plane[1] + block * 4, panel.stride[1], high_);  // one for a block
  }
  template <int kIndex>
  void get(U32* w) const {
    low_.template get<kIndex>(w);
    for (int i = 0; i < 4; ++i) {
      w[i] |= ((high_[kIndex] << (4 - i)) & 0x10101010u);
      w[4 + i] |= ((high_[kIndex] >> i) & 0x10101010u);
    }
  }

 private:
  NibbleCodes<Isa> low_;
  U32 high_[4];
};

// The low four bits in nibbles and the two high ones as planar_int6.h draws them: u = q + 32.
template <class Isa>
struct SixBitCodes {
  using U32 = typename Isa::U32;
  static constexpr int kMaxMagnitude = 63;
  static constexpr bool kSigned = false;
  static constexpr int kBlockBytes = NibbleCodes<Isa>::kBlockBytes;
  static constexpr int kRun = NibbleCodes<Isa>::kRun;

  void load(const PlainPanel& panel, int64_t block) {
    low_.load(panel, block);
    load_run<Isa, kHighBytes>(panel.plane[1] + block * 8, panel.stride[1], high_);
  }
  template <int kIndex>
  void get(U32* w) const {
    low_.template get<kIndex>(w);
    for (int odd = 0; odd < 2; ++odd) {
      const U32 pairs = transpose_pairs(high_[2 * kIndex + odd]);
      for (int i = 0; i < 4; ++i) {
        w[4 * odd + i] |= (i < 2 ? pairs << (4 - 2 * i) : pairs >> (2 * i - 4)) & 0x30303030u;
      }
    }
  }

 private:
  static constexpr int kHighBytes = std::max(16, 8 * kRun);

  // Bits 2·j and 2·j + 1 of byte i change places with bits 2·i and 2·i + 1 of byte j.
  static U32 transpose_pairs(U32 bits) {
    U32 moved = (bits ^ (bits >> 6)) & 0x00cc00ccu;
    bits ^= moved ^ (moved << 6);
    moved = (bits ^ (bits >> 12)) & 0x0000f0f0u;
    return bits ^ moved ^ (moved << 12);
  }

  NibbleCodes<Isa> low_;
  U32 high_[kHighBytes / 4];
};

// A signed byte each, in the order Natural.
template <class Isa>
struct ByteCodes {
  using U32 = typename Isa::U32;
  static constexpr int kMaxMagnitude = 128;
  static constexpr bool kSigned = true;
  static constexpr int kBlockBytes = 32;
  static constexpr int kRun = std::max(1, Isa::kRunBytes / kBlockBytes);

  void load(const PlainPanel& panel, int64_t block) {
    load_run<Isa, kRun * kBlockBytes>(panel.plane[0] + block * kBlockBytes, panel.stride[0], q_);
  }
  template <int kIndex>
  void get(U32* w) const {
    for (int i = 0; i < 8; ++i) w[i] = q_[8 * kIndex + i] ^ Isa::kSignedFlip;
  }

 private:
  U32 q_[8 * kRun];
};

template <class Isa>
typename Isa::F32 load_lanes(const float* values) {
  typename Isa::F32 lanes;
  __builtin_memcpy(&lanes, values, sizeof(lanes));
  return lanes;
}

// Metadata: 16 bytes of every row at a time, converted to fp32 by `convert(dwords, i, out)`, which
// gives the i-th of the kPerDword elements in every lane's dword, to be stored at `out`.
template <class Isa, int kPerDword, class Convert>
void load_plane(const uint8_t* rows, int64_t stride, int64_t groups, float* out,
                const Convert& convert) {
  constexpr int kPerChunk = 4 * kPerDword;
  for (int64_t group = 0; group < groups; group += kPerChunk, rows += 16) {
    typename Isa::U32 dwords[4];
    Isa::transpose(rows, stride, dwords);
    for (int i = 0; i < kPerChunk; ++i, out += Isa::kLanes) {
      const typename Isa::F32 values = convert(dwords[i / kPerDword], i % kPerDword, out);
      __builtin_memcpy(out, &values, sizeof(values));
    }
  }
}

template <class Isa>
void load_bfloat16(const uint8_t* rows, int64_t stride, int64_t groups, float* out) {
  using U32 = typename Isa::U32;
  load_plane<Isa, 2>(rows, stride, groups, out, [](U32 dwords, int i, const float*) {
    return (typename Isa::F32)(i == 0 ? dwords << 16 : dwords & 0xffff0000u);
  });
}

template <class Isa>
void load_float16(const uint8_t* rows, int64_t stride, int64_t count, float* out) {
  using U32 = typename Isa::U32;
  load_plane<Isa, 2>(rows, stride, count, out, [](U32 dwords, int i, const float*) {
    return Isa::from_half(i == 0 ? dwords & 0xffffu : dwords >> 16);
  });
}

// The i-th byte of every lane's dword as uint8 or int8.
template <class Isa, class Code>
typename Isa::I32 code_at(typename Isa::U32 dwords, int i) {
  using I32 = typename Isa::I32;
  if constexpr (Code(-1) > 0) return (I32)((dwords >> (8 * i)) & 0xffu);
  return (I32)(dwords << (24 - 8 * i)) >> 24;
}

// code·step with a step a row.
template <class Isa, class Code>
void load_row_steps(const uint8_t* rows, int64_t stride, int64_t groups, typename Isa::F32 step,
                    float* out) {
  using U32 = typename Isa::U32;
  using F32 = typename Isa::F32;
  load_plane<Isa, 4>(rows, stride, groups, out, [step](U32 dwords, int i, const float*) -> F32 {
    return __builtin_convertvector((code_at<Isa, Code>(dwords, i)), F32) * step;
  });
}

// code·step with an fp16 step a super-block, of which the group size is a part.
template <class Isa, class Code>
void load_super_steps(const PlainPanel& panel, int codes, int steps, int64_t groups,
                      int64_t group_size, float* out) {
  using U32 = typename Isa::U32;
  using F32 = typename Isa::F32;
  constexpr int64_t kChunk = 16;  // groups at a time: what 16 bytes hold
  // 1, 2, 4, 8 or 16 groups share a step.
  const int shift = std::countr_zero(static_cast<uint64_t>(kSuperBlock / group_size));
  const int64_t chunk_steps = kChunk >> shift;
  const uint8_t* code_rows = panel.plane[codes];
  const uint8_t* step_rows = panel.plane[steps];
  float step_lanes[kChunk * Isa::kLanes];
  int64_t have = 0;  // steps in step_lanes from `step` on
  const float* step = step_lanes;
  for (int64_t group = 0; group < groups; group += kChunk, code_rows += 16) {
    if (have < chunk_steps) {
      have = chunk_steps > 8 ? 16 : 8;
      load_float16<Isa>(step_rows, panel.stride[steps], have, step_lanes);
      step_rows += 2 * have;
      step = step_lanes;
    }
    U32 dwords[4];
    Isa::transpose(code_rows, panel.stride[codes], dwords);
    const auto convert = [&]<int kIndex>(std::integral_constant<int, kIndex>) {
      const F32 code =
          __builtin_convertvector((code_at<Isa, Code>(dwords[kIndex / 4], kIndex % 4)), F32);
      const F32 value = code * load_lanes<Isa>(step + (kIndex >> shift) * Isa::kLanes);
      __builtin_memcpy(out, &value, sizeof(value));
      out += Isa::kLanes;
    };
    [&]<int... kIndex>(std::integer_sequence<int, kIndex...>) {
      (convert(std::integral_constant<int, kIndex>{}), ...);
    }
    (std::make_integer_sequence<int, kChunk>{});
    have -= chunk_steps;
    step += chunk_steps * Isa::kLanes;
  }
}

// One bf16 a row, the rows following each other.
template <class Isa>
typename Isa::F32 load_row_bfloat16(const uint8_t* rows) {
  using U16 [[gnu::vector_size(2 * Isa::kLanes)]] = uint16_t;
  U16 bits;
  __builtin_memcpy(&bits, rows, sizeof(bits));
  return (typename Isa::F32)(__builtin_convertvector(bits, typename Isa::U32) << 16);
}

template <class Isa>
void load_int8(const uint8_t* rows, int64_t stride, int64_t groups, int bias, float* out) {
  using U32 = typename Isa::U32;
  using F32 = typename Isa::F32;
  load_plane<Isa, 4>(rows, stride, groups, out, [bias](U32 dwords, int i, const float*) -> F32 {
    return __builtin_convertvector((code_at<Isa, int8_t>(dwords, i)) + bias, F32);
  });
}

// One specialisation a format with plain products: its codes, and its scale and zero (or min).
template <class Isa, class Traits>
struct Unpack;

template <class Isa>
struct Unpack<Isa, CoalescedInt4Traits<Metadata::A>> {
  using Codes = NibbleCodes<Isa>;
  static void load_params(const PlainPanel& panel, int64_t groups, int64_t /*group_size*/,
                          float* scale, float* zero) {
    load_bfloat16<Isa>(panel.plane[1], panel.stride[1], groups, scale);
    load_bfloat16<Isa>(panel.plane[2], panel.stride[2], groups, zero);
  }
};

template <class Isa>
struct Unpack<Isa, CoalescedInt4Traits<Metadata::H>> {
  using Codes = NibbleCodes<Isa>;
  static void load_params(const PlainPanel& panel, int64_t groups, int64_t /*group_size*/,
                          float* scale, float* zero) {
    load_float16<Isa>(panel.plane[1], panel.stride[1], groups, scale);
    load_float16<Isa>(panel.plane[2], panel.stride[2], groups, zero);
  }
};

template <class Isa>
struct Unpack<Isa, CoalescedInt4Traits<Metadata::B>> {
  using Codes = NibbleCodes<Isa>;
  static void load_params(const PlainPanel& panel, int64_t groups, int64_t /*group_size*/,
                          float* scale, float* zero) {
    using F32 = typename Isa::F32;
    typename Isa::U32 steps;  // a row's two bf16 are one dword, and the rows follow each other
    __builtin_memcpy(&steps, panel.plane[3], sizeof(steps));
    load_row_steps<Isa, uint8_t>(panel.plane[1], panel.stride[1], groups, (F32)(steps << 16),
                                 scale);
    load_row_steps<Isa, uint8_t>(panel.plane[2], panel.stride[2], groups,
                                 (F32)(steps & 0xffff0000u), zero);
  }
};

template <class Isa>
struct Unpack<Isa, CoalescedInt4Traits<Metadata::C>> {
  using Codes = NibbleCodes<Isa>;
  static void load_params(const PlainPanel& panel, int64_t groups, int64_t group_size, float* scale,
                          float* zero) {
    load_super_steps<Isa, uint8_t>(panel, 1, 2, groups, group_size, scale);
    load_super_steps<Isa, uint8_t>(panel, 3, 4, groups, group_size, zero);
  }
};

template <class Isa>
struct Unpack<Isa, ExactInt4Traits> {
  using Codes = NibbleCodes<Isa>;
  static void load_params(const PlainPanel& panel, int64_t groups, int64_t group_size, float* scale,
                          float* min) {
    load_super_steps<Isa, uint8_t>(panel, 1, 3, groups, group_size, scale);
    load_super_steps<Isa, uint8_t>(panel, 2, 4, groups, group_size, min);
  }
};

template <class Isa>
struct Unpack<Isa, ExactInt5Traits> {
  using Codes = FiveBitCodes<Isa>;
  static void load_params(const PlainPanel& panel, int64_t groups, int64_t group_size, float* scale,
                          float* min) {
    load_super_steps<Isa, uint8_t>(panel, 2, 4, groups, group_size, scale);
    load_super_steps<Isa, uint8_t>(panel, 3, 5, groups, group_size, min);
  }
};

// q·scale = (u − 32)·scale.
template <class Isa, Metadata kMetadata>
struct Unpack<Isa, PlanarInt6Traits<kMetadata>> {
  using Codes = SixBitCodes<Isa>;
  static void load_params(const PlainPanel& panel, int64_t groups, int64_t group_size, float* scale,
                          float* zero) {
    if constexpr (kMetadata == Metadata::A) {
      load_bfloat16<Isa>(panel.plane[2], panel.stride[2], groups, scale);
    } else if constexpr (kMetadata == Metadata::B) {
      load_row_steps<Isa, int8_t>(panel.plane[2], panel.stride[2], groups,
                                  load_row_bfloat16<Isa>(panel.plane[3]), scale);
    } else {
      load_super_steps<Isa, int8_t>(panel, 2, 3, groups, group_size, scale);
    }
    for (int64_t i = 0; i < groups * Isa::kLanes; ++i) zero[i] = 32;
  }
};

template <class Isa, Metadata kMetadata>
struct Unpack<Isa, Int8Traits<kMetadata>> {
  using Codes = ByteCodes<Isa>;
  static void load_params(const PlainPanel& panel, int64_t groups, int64_t /*group_size*/,
                          float* scale, float* zero) {
    if constexpr (kMetadata == Metadata::H) {
      load_float16<Isa>(panel.plane[1], panel.stride[1], groups, scale);
    } else {
      load_bfloat16<Isa>(panel.plane[1], panel.stride[1], groups, scale);
    }
    load_int8<Isa>(panel.plane[2], panel.stride[2], groups, Isa::kSignedBias, zero);
  }
};

}  // namespace aotiny
