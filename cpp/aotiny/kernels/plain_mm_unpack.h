// How each format's codes and metadata come into vectors: the only part of the kernels that knows
// formats.
//
// Everything is a template over Isa, a struct local to the file of an instruction set, so that the
// linker can never use one instruction set's code for another. Isa has kLanes 32-bit lanes, the
// vector types U32, I32 and F32, and
//   transpose(rows, stride, U32 out[4])  16 bytes of each of kLanes rows; out[i] lane l is dword i
//                                        of row l
//   kSignedFlip, kSignedBias             how it wants signed bytes: q ^ flip as bytes = q + bias
#pragma once

#include "aotiny/kernels/plain_mm.h"

namespace aotiny {

// Codes: load(panel, block, U32 w[8]) gives one block of a panel. The format's KOrder is the order
// in which the 32 codes of a lane fill w[0] byte 0, 1, 2, 3, w[1] byte 0, ...

// Two 4-bit codes a byte, 0..15, in the order EvenOdd.
template <class Isa>
struct NibbleCodes {
  static constexpr int kMaxMagnitude = 15;
  static constexpr bool kSigned = false;
  static constexpr int kBlockBytes = 16;

  static void load(const PlainPanel& panel, int64_t block, typename Isa::U32* w) {
    typename Isa::U32 packed[4];
    Isa::transpose(panel.plane[0] + block * kBlockBytes, panel.stride[0], packed);
    for (int i = 0; i < 4; ++i) {
      w[i] = packed[i] & 0x0f0f0f0fu;
      w[4 + i] = (packed[i] >> 4) & 0x0f0f0f0fu;
    }
  }
};

// A signed byte each, in the order Natural.
template <class Isa>
struct ByteCodes {
  static constexpr int kMaxMagnitude = 128;
  static constexpr bool kSigned = true;
  static constexpr int kBlockBytes = 32;

  static void load(const PlainPanel& panel, int64_t block, typename Isa::U32* w) {
    const uint8_t* rows = panel.plane[0] + block * kBlockBytes;
    Isa::transpose(rows, panel.stride[0], w);
    Isa::transpose(rows + 16, panel.stride[0], w + 4);
    for (int i = 0; i < 8; ++i) w[i] ^= Isa::kSignedFlip;
  }
};

// Metadata: 16 bytes of every row at a time, converted to fp32 by `convert(dwords, i)`, which
// gives the i-th of the kPerDword elements in every lane's dword.
template <class Isa, int kPerDword, class Convert>
void load_plane(const uint8_t* rows, int64_t stride, int64_t groups, float* out,
                const Convert& convert) {
  constexpr int kPerChunk = 4 * kPerDword;
  for (int64_t group = 0; group < groups; group += kPerChunk, rows += 16) {
    typename Isa::U32 dwords[4];
    Isa::transpose(rows, stride, dwords);
    for (int i = 0; i < kPerChunk; ++i, out += Isa::kLanes) {
      const typename Isa::F32 values = convert(dwords[i / kPerDword], i % kPerDword);
      __builtin_memcpy(out, &values, sizeof(values));
    }
  }
}

template <class Isa>
void load_bfloat16(const uint8_t* rows, int64_t stride, int64_t groups, float* out) {
  using U32 = typename Isa::U32;
  load_plane<Isa, 2>(rows, stride, groups, out, [](U32 dwords, int i) {
    return (typename Isa::F32)(i == 0 ? dwords << 16 : dwords & 0xffff0000u);
  });
}

// code·step with a step a row.
template <class Isa>
void load_uint8_steps(const uint8_t* rows, int64_t stride, int64_t groups, typename Isa::F32 step,
                      float* out) {
  using U32 = typename Isa::U32;
  using I32 = typename Isa::I32;
  using F32 = typename Isa::F32;
  load_plane<Isa, 4>(rows, stride, groups, out, [step](U32 dwords, int i) -> F32 {
    return __builtin_convertvector((I32)((dwords >> (8 * i)) & 0xffu), F32) * step;
  });
}

template <class Isa>
void load_int8(const uint8_t* rows, int64_t stride, int64_t groups, int bias, float* out) {
  using U32 = typename Isa::U32;
  using I32 = typename Isa::I32;
  using F32 = typename Isa::F32;
  load_plane<Isa, 4>(rows, stride, groups, out, [bias](U32 dwords, int i) -> F32 {
    return __builtin_convertvector(((I32)(dwords << (24 - 8 * i)) >> 24) + bias, F32);
  });
}

// One specialisation a format: its codes, and its scale and zero.
template <class Isa, class Traits>
struct Unpack;

template <class Isa>
struct Unpack<Isa, CoalescedInt4Traits<Metadata::A>> {
  using Codes = NibbleCodes<Isa>;
  static void load_params(const PlainPanel& panel, int64_t groups, float* scale, float* zero) {
    load_bfloat16<Isa>(panel.plane[1], panel.stride[1], groups, scale);
    load_bfloat16<Isa>(panel.plane[2], panel.stride[2], groups, zero);
  }
};

template <class Isa>
struct Unpack<Isa, CoalescedInt4Traits<Metadata::B>> {
  using Codes = NibbleCodes<Isa>;
  static void load_params(const PlainPanel& panel, int64_t groups, float* scale, float* zero) {
    using F32 = typename Isa::F32;
    typename Isa::U32 steps;  // a row's two bf16 are one dword, and the rows follow each other
    __builtin_memcpy(&steps, panel.plane[3], sizeof(steps));
    load_uint8_steps<Isa>(panel.plane[1], panel.stride[1], groups, (F32)(steps << 16), scale);
    load_uint8_steps<Isa>(panel.plane[2], panel.stride[2], groups, (F32)(steps & 0xffff0000u),
                          zero);
  }
};

template <class Isa>
struct Unpack<Isa, Int8Traits> {
  using Codes = ByteCodes<Isa>;
  static void load_params(const PlainPanel& panel, int64_t groups, float* scale, float* zero) {
    load_bfloat16<Isa>(panel.plane[1], panel.stride[1], groups, scale);
    load_int8<Isa>(panel.plane[2], panel.stride[2], groups, Isa::kSignedBias, zero);
  }
};

}  // namespace aotiny
