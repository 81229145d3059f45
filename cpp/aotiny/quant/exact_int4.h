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
#include "aotiny/quant/steps.h"

namespace aotiny {

struct ExactInt4Traits {
  static constexpr PlaneSpec kPlanes[] = {
      {"qdata", DType::UInt8, Per::Weight, 2},      {"scale", DType::UInt8, Per::Group, 1},
      {"min", DType::UInt8, Per::Group, 1},         {"d", DType::Float16, Per::SuperBlock, 1},
      {"dmin", DType::Float16, Per::SuperBlock, 1},
  };
  static constexpr FormatInfo kInfo{"ExactInt4", "", 4, KOrder::EvenOdd, kPlanes, Value::Min, 32};
  static constexpr int kMinCode = 0;
  static constexpr int kMaxCode = 15;

  // Stores the metadata that suits groups with values lo[i]..hi[i].
  //
  // min codes cannot be negative, so a range above 0 is widened to begin there. Scales are chosen
  // under the minimum as stored; the smallest scale code of a group that has a range is 1.
  static void encode_params(const float* lo, const float* hi, int64_t groups, int64_t group_size,
                            WeightRow row) {
    const int64_t run = kSuperBlock / group_size;
    for (int64_t begin = 0; begin < groups; begin += run) {
      Float16& d = row.as<Float16>(3)[begin / run];
      Float16& dmin = row.as<Float16>(4)[begin / run];
      const auto largest = [&](const auto& of) {
        double result = 0;
        for (int64_t i = begin; i < begin + run; ++i) result = std::max(result, of(i));
        return result;
      };
      const auto raw_min = [&](int64_t i) { return std::max(-static_cast<double>(lo[i]), 0.0); };
      const double min_step = store_step(largest(raw_min) / 255, dmin);
      for (int64_t i = begin; i < begin + run; ++i) {
        row.plane[2][i] = to_code<uint8_t>(raw_min(i), min_step, 0, 255);
      }
      const auto raw_scale = [&](int64_t i) {
        return std::max(hi[i] + row.plane[2][i] * min_step, 0.0) / kMaxCode;
      };
      const double scale_step = store_step(largest(raw_scale) / 255, d);
      for (int64_t i = begin; i < begin + run; ++i) {
        const bool flat = lo[i] == hi[i] && lo[i] <= 0;
        row.plane[1][i] = flat ? 0 : to_code<uint8_t>(raw_scale(i), scale_step, 1, 255);
      }
    }
  }

  // The scale and min of every group, in fp32.
  static void decode_params(WeightRow row, int64_t groups, int64_t group_size, float* scale,
                            float* min) {
    for (int64_t i = 0; i < groups; ++i) {
      const int64_t block = i * group_size / kSuperBlock;
      scale[i] = row.plane[1][i] * static_cast<float>(row.as<Float16>(3)[block]);
      min[i] = row.plane[2][i] * static_cast<float>(row.as<Float16>(4)[block]);
    }
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
