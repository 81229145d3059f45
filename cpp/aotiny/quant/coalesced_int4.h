// CoalescedInt4: 4-bit codes with the metadata of a row beside it.
//
//   value(n, k) = (q − zero)·scale,  q in 0..15, scale and zero of group k / g
//
//   qdata  u8 [N, K/2]     byte j of a row:  bit 7......4 3......0
//                                                q(2j+1)   q(2j)
//   metadata A (32 bits a group), and H, the same in fp16 (GGUF's Q4_0 without loss):
//     scale bf16 [N, K/g]   zero bf16 [N, K/g]
//   metadata B (16 bits a group, 32 bits a row):
//     scale u8 [N, K/g]     zero u8 [N, K/g]      steps bf16 [N, 2]
//     scale = code·steps[n][0], zero = code·steps[n][1]
//   metadata C (16 bits a group, 32 bits per 256 weights; K a multiple of 256, g divides it):
//     scale u8 [N, K/g]     scale_step fp16 [N, K/256]
//     zero  u8 [N, K/g]     zero_point_step fp16 [N, K/256]
//     scale = code·scale_step, zero = code·zero_point_step of super-block k / 256
//
// The products of codes and steps are exact in fp32. `zero` is a point on the scale of codes and
// need not be an integer. Its steps are powers of two, so that an integer zero is held exactly.
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
inline constexpr PlaneSpec kPlanesH[] = {
    {"qdata", DType::UInt8, Per::Weight, 2},
    {"scale", DType::Float16, Per::Group, 1},
    {"zero", DType::Float16, Per::Group, 1},
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
  if (metadata == Metadata::H) return kPlanesH;
  if (metadata == Metadata::B) return kPlanesB;
  return kPlanesC;
}
}  // namespace coalesced_int4

template <Metadata kMetadata>
struct CoalescedInt4Traits {
  static constexpr FormatInfo kInfo{
      .name = "CoalescedInt4",
      .variant = name_of(kMetadata),
      .bits = 4,
      .planes = coalesced_int4::planes(kMetadata),
      .order = KOrder::EvenOdd,
      .largest = kMetadata == Metadata::C   ? 255 * 65504.0f
                 : kMetadata == Metadata::H ? 65504.0f
                                            : kLargestValue,
      .positive_steps = true,
      .unsigned_zero = kMetadata == Metadata::B || kMetadata == Metadata::C};
  static constexpr int kMinCode = 0;
  static constexpr int kMaxCode = 15;

  // The scale and zero that suit a group with values lo..hi.
  //
  // A and H keep a group's range as it is, also where that does not hold 0. A group of equal values
  // c becomes scale |c|, so its error is that of rounding c, and a group of zeros scale 0.
  //
  // The zero codes of B and C cannot be negative, and a zero beyond 15 would coarsen the step for
  // all its groups, so there every range is widened to hold 0.
  static GroupParams params_of_range(double lo, double hi) {
    if constexpr (kMetadata == Metadata::B || kMetadata == Metadata::C) {
      lo = std::min(lo, 0.0);
      hi = std::max(hi, 0.0);
      const double scale = (hi - lo) / kMaxCode;
      return {scale, scale > 0 ? -lo / scale : 0};
    } else {
      if (hi > lo) {
        // The end of the range is held under the scale as it will be stored.
        const double scale = static_cast<float>(stored_scale((hi - lo) / kMaxCode, lo));
        return {scale, scale > 0 ? -lo / scale : 0};
      }
      // Equal values: code 1 above zero 0, or code 0 below zero 1.
      return {std::fabs(lo), lo < 0 ? 1.0 : 0.0};
    }
  }

  // Stores metadata as near to these as it can.
  //
  // The largest scale and zero of a row (B) or super-block (C) set the steps. The
  // smallest scale code of a group whose scale is not 0 is 1, so that no group is lost to a far
  // larger one beside it. Where all codes are 0 the step is 1.
  static void encode_params(const GroupParams* params, int64_t groups, int64_t group_size,
                            WeightRow row) {
    if constexpr (kMetadata == Metadata::B) {
      BFloat16* steps = row.as<BFloat16>(3);
      encode_codes(params, groups, row.plane[1], row.plane[2], steps[0], steps[1]);
    } else if constexpr (kMetadata == Metadata::C) {
      const int64_t run = kSuperBlock / group_size;
      for (int64_t i = 0; i < groups; i += run) {
        encode_codes(params + i, run, row.plane[1] + i, row.plane[3] + i,
                     row.as<Float16>(2)[i / run], row.as<Float16>(4)[i / run]);
      }
    } else {
      for (int64_t i = 0; i < groups; ++i) {
        const Stored scale = stored_scale(params[i].scale, params[i].scale * params[i].zero);
        const double step = static_cast<float>(scale);
        row.as<Stored>(1)[i] = scale;
        row.as<Stored>(2)[i] = Stored(static_cast<float>(stored_zero(params[i], step)));
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
        scale[i] = static_cast<float>(row.as<Stored>(1)[i]);
        zero[i] = static_cast<float>(row.as<Stored>(2)[i]);
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
  using Stored = std::conditional_t<kMetadata == Metadata::H, Float16, BFloat16>;  // of A and H

  // The zero under which a range keeps its lower end, −zero·scale, though its scale is stored as
  // `scale`. A zero that is a code stays, so that 0 remains a value.
  static double stored_zero(GroupParams params, double scale) {
    if (scale == 0) return 0;
    const bool is_code =
        params.zero == std::clamp<double>(std::nearbyint(params.zero), kMinCode, kMaxCode);
    if (is_code) return params.zero;
    return params.zero * params.scale / scale;
  }

  // The scale of a range that begins at ±low, as A and H store it. Where a narrow range is far from
  // 0 it is the least under which the zero, low / scale, is within fp16 in H.
  static Stored stored_scale(double scale, double low) {
    const double least = kMetadata == Metadata::H ? std::fabs(low) / kLargest<Stored> : 0;
    const double wanted = std::copysign(std::max(std::fabs(scale), least), scale);
    Stored stored = nearest_scale<Stored>(wanted);
    if (std::fabs(static_cast<float>(stored)) < least) ++stored.bits;
    return stored;
  }

  // Codes of `groups` groups that share steps.
  template <class Step>
  static void encode_codes(const GroupParams* params, int64_t groups, uint8_t* scale_codes,
                           uint8_t* zero_codes, Step& scale_step, Step& zero_step) {
    double largest = 0;
    for (int64_t i = 0; i < groups; ++i) largest = std::max(largest, params[i].scale);
    const double step = store_step(largest > 0 ? largest / 255 : 1, scale_step);
    for (int64_t i = 0; i < groups; ++i) {
      scale_codes[i] = params[i].scale > 0 ? to_code<uint8_t>(params[i].scale, step, 1, 255) : 0;
    }
    const auto zero = [&](int64_t i) {
      return std::max(stored_zero(params[i], scale_codes[i] * step), 0.0);
    };
    largest = 0;
    for (int64_t i = 0; i < groups; ++i) largest = std::max(largest, zero(i));
    const double zeros_step = store_power_of_two(largest > 0 ? largest / 255 : 1, zero_step);
    for (int64_t i = 0; i < groups; ++i) {
      zero_codes[i] = to_code<uint8_t>(zero(i), zeros_step, 0, 255);
    }
  }
};

static_assert(sizeof(BFloat16) == 2 && sizeof(Float16) == 2);
static_assert(coalesced_int4::kPlanesA[0].columns(384, 32) == 192);
static_assert(coalesced_int4::kPlanesB[3].columns(384, 32) == 2);
static_assert(coalesced_int4::kPlanesC[4].columns(768, 32) == 3);

}  // namespace aotiny
