// The loops of DequantizeKernels, as vectors of the compiler's own or for it to make vectors of.
//
// Every instruction set's file instantiates them with a type of its own unnamed namespace, so that
// the linker never merges them.
#pragma once

#include "aotiny/kernels/dequantize.h"

namespace aotiny {

template <class Isa>
struct DequantizeLoops {
  using Bytes16 [[gnu::vector_size(16)]] = int8_t;
  using Words4 [[gnu::vector_size(16)]] = uint32_t;

  template <class Vector>
  static Vector load(const void* from) {
    Vector vector;
    __builtin_memcpy(&vector, from, sizeof(vector));
    return vector;
  }

  // --- two codes a byte -------------------------------------------------------------------------

  static void unpack_nibbles(const uint8_t* __restrict in, int64_t k, int8_t* __restrict codes) {
    for (int64_t j = 0; j < k / 2; ++j) {
      codes[2 * j] = static_cast<int8_t>(in[j] & 15);
      codes[2 * j + 1] = static_cast<int8_t>(in[j] >> 4);
    }
  }

  static void unpack_signed_nibbles(const uint8_t* __restrict in, int64_t k,
                                    int8_t* __restrict codes) {
    for (int64_t j = 0; j < k / 2; ++j) {
      codes[2 * j] = static_cast<int8_t>(((in[j] & 15) ^ 8) - 8);
      codes[2 * j + 1] = static_cast<int8_t>(((in[j] >> 4) ^ 8) - 8);
    }
  }

  // --- nibbles and higher bits: 32 codes as four words of the even k and four of the odd k
  // --------

  static void store_codes(Words4 even, Words4 odd, int8_t* codes) {
    constexpr Bytes16 kLow = {0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23};
    const auto e = (Bytes16)even, o = (Bytes16)odd;
    const Bytes16 low = __builtin_shuffle(e, o, kLow), high = __builtin_shuffle(e, o, kLow + 8);
    __builtin_memcpy(codes, &low, sizeof(low));
    __builtin_memcpy(codes + 16, &high, sizeof(high));
  }

  static void unpack_int5(const uint8_t* ql, const uint8_t* qh, int64_t k, int8_t* codes) {
    for (int64_t block = 0; block < k / 32; ++block, ql += 16, qh += 4, codes += 32) {
      const auto low = load<Words4>(ql);
      uint32_t bits;
      __builtin_memcpy(&bits, qh, sizeof(bits));
      const Words4 high = (Words4{} + bits) >> Words4{0, 1, 2, 3};
      store_codes((low & 0x0f0f0f0f) | (high & 0x01010101) << 4,
                  (low >> 4 & 0x0f0f0f0f) | (high >> 4 & 0x01010101) << 4, codes);
    }
  }

  // A word of two bits a byte from each of four bytes.
  static Words4 spread(const uint8_t* in) {
    uint32_t word;
    __builtin_memcpy(&word, in, sizeof(word));
    const Words4 bits = (Words4{} + word) >> Words4{0, 8, 16, 24} & 0xff;
    return (bits | bits << 6 | bits << 12 | bits << 18) & 0x03030303;
  }

  static void unpack_int6(const uint8_t* ql, const uint8_t* qh, int64_t k, int8_t* codes) {
    for (int64_t block = 0; block < k / 32; ++block, ql += 16, qh += 8, codes += 32) {
      const auto low = load<Words4>(ql);
      // As bytes of which none borrows from the next: 32 less is 5 sign bits more.
      const auto less = [](Words4 u) { return (Words4)((Bytes16)u - 32); };
      store_codes(less((low & 0x0f0f0f0f) | spread(qh) << 4),
                  less((low >> 4 & 0x0f0f0f0f) | spread(qh + 4) << 4), codes);
    }
  }

  // --- tiles ------------------------------------------------------------------------------------

  // The words of the four lanes with the same place in their lane have 32 codes: of lane l, nibble
  // i is at k = 8·i + 2·l, nibble i + 4 after it.
  template <int kWords>
  static void unpack_tiles_of(const uint32_t* in, int64_t step, int64_t k, int8_t* codes) {
    for (int64_t tile = 0; tile < k / (32 * kWords); ++tile, in += step) {
      for (int place = 0; place < kWords; ++place, codes += 32) {
        const Words4 words = {in[place], in[kWords + place], in[2 * kWords + place],
                              in[3 * kWords + place]};
        for (int i = 0; i < 4; i += 2) {
          // Of every word the two low bytes: codes at i, and those at i + 1, 8 further on.
          constexpr Bytes16 kTwo = {0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 28, 29};
          const Words4 first = words >> (4 * i) & 0x000f000f;
          const Words4 second = words >> (4 * i + 4) & 0x000f000f;
          const Bytes16 sixteen = __builtin_shuffle((Bytes16)(first | first >> 8),
                                                    (Bytes16)(second | second >> 8), kTwo) -
                                  8;
          __builtin_memcpy(codes + 8 * i, &sixteen, sizeof(sixteen));
        }
      }
    }
  }

  static void unpack_tiles(const uint32_t* in, int64_t step, int words, int64_t k, int8_t* codes) {
    (words == 1   ? unpack_tiles_of<1>
     : words == 2 ? unpack_tiles_of<2>
                  : unpack_tiles_of<4>)(in, step, k, codes);
  }

  // --- values -----------------------------------------------------------------------------------

  template <Value kValue>
  static void values_of(const int8_t* __restrict codes, int64_t k, int64_t group_size,
                        const float* __restrict scale, const float* __restrict zero_or_min,
                        float* __restrict out) {
    for (int64_t group = 0; group < k / group_size; ++group) {
      const float s = scale[group], z = zero_or_min[group];
      for (int64_t j = 0; j < group_size; ++j) {
        const float q = codes[j];
        out[j] = kValue == Value::Zero ? (q - z) * s : q * s - z;
      }
      codes += group_size;
      out += group_size;
    }
  }

  // Value::Scale is Value::Min with mins of 0.
  static void values(Value value, const int8_t* codes, int64_t k, int64_t group_size,
                     const float* scale, const float* zero_or_min, float* out) {
    (value == Value::Zero ? values_of<Value::Zero>
                          : values_of<Value::Min>)(codes, k, group_size, scale, zero_or_min, out);
  }

  static constexpr DequantizeKernels table(const char* name) {
    return {name,         unpack_nibbles, unpack_signed_nibbles, unpack_int5, unpack_int6,
            unpack_tiles, values};
  }
};

}  // namespace aotiny
