// ExactInt4: 4-bit codes with a minimum, which hold GGUF's Q4_K without loss.
//
//   value(n, k) = q·scale − min,  q in 0..15, scale and min of group k / 32
//
//   qdata  u8 [N, K/2]     byte j of a row:  bit 7......4 3......0
//                                                q(2j+1)   q(2j)
//   scale  u8 [N, K/32]    min   u8   [N, K/32]
//   d    fp16 [N, K/256]   dmin  fp16 [N, K/256]     (16 bits a group, 32 bits per 256 weights)
//
// scale = code·d and min = code·dmin of super-block k / 256. These products and q·scale are exact
// in fp32, so a value is rounded once. K is a multiple of 256, the group size is 32.
#pragma once

#include "aotiny/quant/format.h"
#include "aotiny/quant/min_params.h"

namespace aotiny {

struct ExactInt4Traits {
  static constexpr PlaneSpec kPlanes[] = {
      {"qdata", DType::UInt8, Per::Weight, 2},      {"scale", DType::UInt8, Per::Group, 1},
      {"min", DType::UInt8, Per::Group, 1},         {"d", DType::Float16, Per::SuperBlock, 1},
      {"dmin", DType::Float16, Per::SuperBlock, 1},
  };
  static constexpr int64_t kGroupSizes[] = {32};
  static constexpr FormatInfo kInfo{.name = "ExactInt4",
                                    .variant = "",
                                    .bits = 4,
                                    .planes = kPlanes,
                                    .value = Value::Min,
                                    .order = KOrder::EvenOdd,
                                    .group_sizes = kGroupSizes,
                                    .largest = 255 * 65504.0f,
                                    .unsigned_zero = true};
  static constexpr int kMinCode = 0;
  static constexpr int kMaxCode = 15;

  static GroupParams params_of_range(double lo, double hi) {
    return min_params_of_range(lo, hi, kMaxCode);
  }
  static void encode_params(const GroupParams* params, int64_t groups, int64_t group_size,
                            WeightRow row) {
    encode_min_params(params, groups, kSuperBlock / group_size, kMaxCode,
                      {row.plane[1], row.plane[2], row.as<Float16>(3), row.as<Float16>(4)});
  }

  static void decode_params(WeightRow row, int64_t groups, int64_t group_size, float* scale,
                            float* min) {
    decode_min_params({row.plane[1], row.plane[2], row.as<Float16>(3), row.as<Float16>(4)}, groups,
                      kSuperBlock / group_size, scale, min);
  }

  static void pack_codes(const int* codes, int64_t k, WeightRow row) {
    pack_nibbles(codes, k, row.plane[0]);
  }
  static void unpack_codes(WeightRow row, int64_t k, int* codes) {
    unpack_nibbles(row.plane[0], k, codes);
  }
};

static_assert(ExactInt4Traits::kPlanes[0].columns(512, 32) == 256);
static_assert(ExactInt4Traits::kPlanes[4].columns(512, 32) == 2);

}  // namespace aotiny
