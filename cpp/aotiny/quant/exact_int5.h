// ExactInt5: 5-bit codes with a minimum, which hold GGUF's Q5_K without loss.
//
//   value(n, k) = q·scale − min,  q in 0..31, scale and min of group k / 32
//
//   ql  u8 [N, K/2]    byte j of a row:  bit 7......4   3......0
//                                            q(2j+1)%16  q(2j)%16
//   qh  u8 [N, K/8]    4 bytes for every 32 weights. With k counted within the 32, and
//                      h(k) = q(k) / 16, byte j has of every word of eight k the two that begin at
//                      2·j, for j in 0..3:
//                        bit 7        6        5        4        3        2        1        0
//                            h(2j+25) h(2j+17) h(2j+9)  h(2j+1)  h(2j+24) h(2j+16) h(2j+8)  h(2j)
//   scale  u8 [N, K/32]    min   u8   [N, K/32]
//   d    fp16 [N, K/256]   dmin  fp16 [N, K/256]     (16 bits a group, 32 bits per 256 weights)
//
// So the 4 bytes of qh as one little-endian number, shifted right by w and masked with 0x01010101,
// are the fifth bits of the even k of word w, and shifted by 4 + w those of its odd k: each in the
// byte in which the low nibbles of ql's word w, masked, have their codes.
//
// scale = code·d and min = code·dmin of super-block k / 256. These products and q·scale are exact
// in fp32, so a value is rounded once. K is a multiple of 256, the group size is 32.
#pragma once

#include "aotiny/quant/format.h"
#include "aotiny/quant/min_params.h"

namespace aotiny {

struct ExactInt5Traits {
  static constexpr PlaneSpec kPlanes[] = {
      {"ql", DType::UInt8, Per::Weight, 2},      {"qh", DType::UInt8, Per::Weight, 8},
      {"scale", DType::UInt8, Per::Group, 1},    {"min", DType::UInt8, Per::Group, 1},
      {"d", DType::Float16, Per::SuperBlock, 1}, {"dmin", DType::Float16, Per::SuperBlock, 1},
  };
  static constexpr int64_t kGroupSizes[] = {32};
  static constexpr FormatInfo kInfo{.name = "ExactInt5",
                                    .variant = "",
                                    .bits = 5,
                                    .planes = kPlanes,
                                    .value = Value::Min,
                                    .order = KOrder::EvenOdd,
                                    .group_sizes = kGroupSizes,
                                    .largest = 255 * 65504.0f,
                                    .unsigned_zero = true};
  static constexpr int kMinCode = 0;
  static constexpr int kMaxCode = 31;

  static GroupParams params_of_range(double lo, double hi) {
    return min_params_of_range(lo, hi, kMaxCode);
  }
  static void encode_params(const GroupParams* params, int64_t groups, int64_t group_size,
                            WeightRow row) {
    encode_min_params(params, groups, kSuperBlock / group_size, kMaxCode, metadata(row));
  }
  static void decode_params(WeightRow row, int64_t groups, int64_t group_size, float* scale,
                            float* min) {
    decode_min_params(metadata(row), groups, kSuperBlock / group_size, scale, min);
  }

  static void pack_codes(const int* codes, int64_t k, WeightRow row) {
    for (int64_t i = 0; i < k; ++i) {
      if (i % 32 == 0) {
        std::fill_n(row.plane[0] + i / 2, 16, uint8_t{0});
        std::fill_n(row.plane[1] + i / 8, 4, uint8_t{0});
      }
      row.plane[0][i / 2] |= static_cast<uint8_t>((codes[i] & 15) << low_shift(i));
      row.plane[1][high_byte(i)] |= static_cast<uint8_t>((codes[i] >> 4) << high_shift(i));
    }
  }

  static void unpack_codes(WeightRow row, int64_t k, int* codes) {
    for (int64_t i = 0; i < k; ++i) {
      const int low = row.plane[0][i / 2] >> low_shift(i) & 15;
      const int high = row.plane[1][high_byte(i)] >> high_shift(i) & 1;
      codes[i] = low | high << 4;
    }
  }

 private:
  static MinPlanes metadata(WeightRow row) {
    return {row.plane[2], row.plane[3], row.as<Float16>(4), row.as<Float16>(5)};
  }
  static int64_t low_shift(int64_t k) { return k % 2 * 4; }
  static int64_t high_byte(int64_t k) { return k / 32 * 4 + k % 8 / 2; }
  static int64_t high_shift(int64_t k) { return k % 2 * 4 + k % 32 / 8; }
};

static_assert(ExactInt5Traits::kPlanes[1].columns(512, 32) == 64);
static_assert(ExactInt5Traits::kPlanes[5].columns(512, 32) == 2);

}  // namespace aotiny
