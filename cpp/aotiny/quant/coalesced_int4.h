// CoalescedInt4: 4-bit codes with the metadata of a row beside it.
//
//   value(n, k) = (q − zero)·scale,  q in 0..15, scale and zero of group k / g
//
//   qdata  u8 [N, K/2]     byte j of a row:  bit 7......4 3......0
//                                                q(2j+1)   q(2j)
//   metadata A (32 bits a group):
//     scale bf16 [N, K/g]   zero bf16 [N, K/g]
//   metadata B (16 bits a group, 32 bits a row):
//     scale u8 [N, K/g]     zero u8 [N, K/g]      steps bf16 [N, 2]
//     scale = code·steps[n][0], zero = code·steps[n][1]
//   metadata C (16 bits a group, 32 bits per 256 weights; K a multiple of 256, g divides it):
//     scale u8 [N, K/g]     scale_step fp16 [N, K/256]
//     zero  u8 [N, K/g]     zero_point_step fp16 [N, K/256]
//     scale = code·scale_step, zero = code·zero_point_step of super-block k / 256
//
// The products of codes and steps are exact in fp32.
// `zero` is a point on the scale of codes and need not be an integer.
#pragma once

#include "aotiny/quant/format.h"
#include "aotiny/quant/steps.h"

namespace aotiny {

namespace coalesced_int4 {
inline constexpr PlaneSpec kPlanesA[] = {
    {"qdata", DType::UInt8, Per::Weight, 2},
    {"scale", DType::BFloat16, Per::Group, 1},
    {"zero", DType::BFloat16, Per::Group, 1},
};
inline constexpr PlaneSpec kPlanesB[] = {
    {"qdata", DType::UInt8, Per::Weight, 2},
    {"scale", DType::UInt8, Per::Group, 1},
    {"zero", DType::UInt8, Per::Group, 1},
    {"steps", DType::BFloat16, Per::Row, 2},
};
inline constexpr PlaneSpec kPlanesC[] = {
    {"qdata", DType::UInt8, Per::Weight, 2},
    {"scale", DType::UInt8, Per::Group, 1},
    {"scale_step", DType::Float16, Per::SuperBlock, 1},
    {"zero", DType::UInt8, Per::Group, 1},
    {"zero_point_step", DType::Float16, Per::SuperBlock, 1},
};
constexpr std::span<const PlaneSpec> planes(Metadata metadata) {
  if (metadata == Metadata::A) return kPlanesA;
  if (metadata == Metadata::B) return kPlanesB;
  return kPlanesC;
}
}  // namespace coalesced_int4

template <Metadata kMetadata>
struct CoalescedInt4Traits {
  static constexpr FormatInfo kInfo{"CoalescedInt4", name_of(kMetadata), 4, KOrder::EvenOdd,
                                    coalesced_int4::planes(kMetadata)};
  static constexpr int kMinCode = 0;
  static constexpr int kMaxCode = 15;

  // Stores the metadata that suits groups with values lo[i]..hi[i].
  //
  // A keeps a group's range as it is, also where that does not hold 0. A group of equal values c
  // becomes scale |c|, so its error is that of rounding c to bf16, and a group of zeros scale 0.
  //
  // The zero codes of B and C cannot be negative, and a zero beyond 15 would coarsen the step for
  // all its groups, so there every range is widened to hold 0. The largest scale and zero of a row
  // (B) or super-block (C) set the steps. The smallest scale code of a group that is not all zeros
  // is 1, so that no group is lost to a far larger one beside it.
  static void encode_params(const float* lo, const float* hi, int64_t groups, int64_t group_size,
                            WeightRow row) {
    if constexpr (kMetadata == Metadata::B) {
      BFloat16* steps = row.as<BFloat16>(3);
      encode_codes(lo, hi, groups, row.plane[1], row.plane[2], steps[0], steps[1]);
    } else if constexpr (kMetadata == Metadata::C) {
      const int64_t run = kSuperBlock / group_size;
      for (int64_t i = 0; i < groups; i += run) {
        encode_codes(lo + i, hi + i, run, row.plane[1] + i, row.plane[3] + i,
                     row.as<Float16>(2)[i / run], row.as<Float16>(4)[i / run]);
      }
    } else {
      for (int64_t i = 0; i < groups; ++i) {
        const double range = static_cast<double>(hi[i]) - lo[i];
        const double size = std::min(std::fabs(static_cast<double>(lo[i])), kMaxBFloat16);
        const BFloat16 scale(static_cast<float>(range > 0 ? range / kMaxCode : size));
        const float step = static_cast<float>(scale);
        // Equal values: code 1 above zero 0, or code 0 below zero 1.
        const float zero = step == 0 ? 0 : range > 0 ? -lo[i] / step : lo[i] < 0 ? 1 : 0;
        row.as<BFloat16>(1)[i] = scale;
        row.as<BFloat16>(2)[i] = BFloat16(zero);
      }
    }
  }

  // The scale and zero of every group, in fp32.
  static void decode_params(WeightRow row, int64_t groups, int64_t group_size, float* scale,
                            float* zero) {
    for (int64_t i = 0; i < groups; ++i) {
      if constexpr (kMetadata == Metadata::C) {
        const int64_t block = i * group_size / kSuperBlock;
        scale[i] = row.as<uint8_t>(1)[i] * static_cast<float>(row.as<Float16>(2)[block]);
        zero[i] = row.as<uint8_t>(3)[i] * static_cast<float>(row.as<Float16>(4)[block]);
      } else if constexpr (kMetadata == Metadata::B) {
        scale[i] = row.as<uint8_t>(1)[i] * static_cast<float>(row.as<BFloat16>(3)[0]);
        zero[i] = row.as<uint8_t>(2)[i] * static_cast<float>(row.as<BFloat16>(3)[1]);
      } else {
        scale[i] = static_cast<float>(row.as<BFloat16>(1)[i]);
        zero[i] = static_cast<float>(row.as<BFloat16>(2)[i]);
      }
    }
  }

  static void pack_codes(const int* codes, int64_t k, WeightRow row) {
    pack_nibbles(codes, k, row.plane[0]);
  }

  static void unpack_codes(WeightRow row, int64_t k, int* codes) {
    unpack_nibbles(row.plane[0], k, codes);
  }

 private:
  static constexpr double kMaxBFloat16 = 0x1.fep127;

  // Codes of `groups` groups that share steps.
  template <class Step>
  static void encode_codes(const float* lo, const float* hi, int64_t groups, uint8_t* scale_codes,
                           uint8_t* zero_codes, Step& scale_step, Step& zero_step) {
    const auto low = [&](int64_t i) { return std::min(static_cast<double>(lo[i]), 0.0); };
    const auto raw_scale = [&](int64_t i) {
      return (std::max(static_cast<double>(hi[i]), 0.0) - low(i)) / kMaxCode;
    };
    double largest = 0;
    for (int64_t i = 0; i < groups; ++i) largest = std::max(largest, raw_scale(i));
    double step = store_step(largest / 255, scale_step);
    for (int64_t i = 0; i < groups; ++i) {
      scale_codes[i] = raw_scale(i) > 0 ? to_code<uint8_t>(raw_scale(i), step, 1, 255) : 0;
    }
    const auto raw_zero = [&](int64_t i) {
      const double scale = scale_codes[i] * static_cast<double>(static_cast<float>(scale_step));
      return scale > 0 ? -low(i) / scale : 0.0;
    };
    largest = 0;
    for (int64_t i = 0; i < groups; ++i) largest = std::max(largest, raw_zero(i));
    step = store_step(largest / 255, zero_step);
    for (int64_t i = 0; i < groups; ++i) {
      zero_codes[i] = to_code<uint8_t>(raw_zero(i), step, 0, 255);
    }
  }
};

static_assert(sizeof(BFloat16) == 2 && sizeof(Float16) == 2);
static_assert(coalesced_int4::kPlanesA[0].columns(384, 32) == 192);
static_assert(coalesced_int4::kPlanesB[3].columns(384, 32) == 2);
static_assert(coalesced_int4::kPlanesC[4].columns(768, 32) == 3);

}  // namespace aotiny
