// The loops of DequantizeKernels, for the compiler to make vectors of.
//
// Every instruction set's file instantiates them with a type of its own unnamed namespace, so that
// the linker never merges them.
#pragma once

#include "aotiny/kernels/dequantize.h"

namespace aotiny {

template <class Isa>
struct DequantizeLoops {
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

  // The words of the four lanes with the same place in their lane have 32 codes: of lane l, nibble
  // i is at k = 8·i + 2·l, nibble i + 4 after it.
  template <int kWords>
  static void unpack_tiles_of(const uint32_t* __restrict in, int64_t step, int64_t k,
                              int8_t* __restrict codes) {
    for (int64_t tile = 0; tile < k / (32 * kWords); ++tile, in += step) {
      for (int place = 0; place < kWords; ++place, codes += 32) {
        for (int i = 0; i < 4; ++i) {
          for (int lane = 0; lane < 4; ++lane) {
            const uint32_t pair = in[lane * kWords + place] >> (4 * i);
            codes[8 * i + 2 * lane] = static_cast<int8_t>((pair & 15) - 8);
            codes[8 * i + 2 * lane + 1] = static_cast<int8_t>((pair >> 16 & 15) - 8);
          }
        }
      }
    }
  }

  static void unpack_tiles(const uint32_t* in, int64_t step, int words, int64_t k, int8_t* codes) {
    (words == 1   ? unpack_tiles_of<1>
     : words == 2 ? unpack_tiles_of<2>
                  : unpack_tiles_of<4>)(in, step, k, codes);
  }

  template <Value kValue>
  static void values_of(const int8_t* __restrict codes, int64_t k, int64_t group_size,
                        const float* __restrict scale, const float* __restrict zero_or_min,
                        float* __restrict out) {
    for (int64_t group = 0; group < k / group_size; ++group) {
      const float s = scale[group], z = zero_or_min[group];
      for (int64_t block = 0; block < group_size / 16; ++block, codes += 16, out += 16) {
        for (int j = 0; j < 16; ++j) {
          const float q = codes[j];
          out[j] = kValue == Value::Zero ? (q - z) * s : q * s - z;
        }
      }
    }
  }

  // Value::Scale is Value::Min with mins of 0.
  static void values(Value value, const int8_t* codes, int64_t k, int64_t group_size,
                     const float* scale, const float* zero_or_min, float* out) {
    (value == Value::Zero ? values_of<Value::Zero>
                          : values_of<Value::Min>)(codes, k, group_size, scale, zero_or_min, out);
  }

  static constexpr DequantizeKernels table(const char* name) {
    return {name, unpack_nibbles, unpack_signed_nibbles, unpack_tiles, values};
  }
};

}  // namespace aotiny
