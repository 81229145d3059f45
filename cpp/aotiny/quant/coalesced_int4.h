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
//     scale = code·steps[n][0], zero = code·steps[n][1]; both products are exact in fp32
//
// `zero` is a point on the scale of codes and need not be an integer.
#pragma once

#include <algorithm>
#include <cmath>

#include "aotiny/quant/format.h"

namespace aotiny {

enum class Metadata : char { A = 'A', B = 'B' };

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
}  // namespace coalesced_int4

template <Metadata kMetadata>
struct CoalescedInt4Traits {
  static constexpr bool kSteps = kMetadata == Metadata::B;
  static constexpr FormatInfo kInfo{"CoalescedInt4", kSteps ? "B" : "A", 4, KOrder::EvenOdd,
                                    kSteps ? std::span<const PlaneSpec>(coalesced_int4::kPlanesB)
                                           : std::span<const PlaneSpec>(coalesced_int4::kPlanesA)};
  static constexpr int kMinCode = 0;
  static constexpr int kMaxCode = 15;

  // Stores the metadata that suits groups with values lo[i]..hi[i].
  //
  // A keeps a group's range as it is, also where that does not hold 0. A group of equal values c
  // becomes scale |c|, so its error is that of rounding c to bf16, and a group of zeros scale 0.
  //
  // B's zero codes cannot be negative, and a zero beyond 15 would coarsen the step for the whole
  // row, so there every range is widened to hold 0. The row's largest scale and zero set the
  // steps, and steps are rounded to bf16 before codes are computed. The smallest code of a group
  // that is not all zeros is 1, so that no group is lost to a far larger one in the same row.
  static void encode_params(const float* lo, const float* hi, int64_t groups, WeightRow row) {
    if constexpr (kSteps) {
      encode_steps(lo, hi, groups, row);
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
  static void decode_params(WeightRow row, int64_t groups, float* scale, float* zero) {
    for (int64_t i = 0; i < groups; ++i) {
      if constexpr (kSteps) {
        scale[i] = row.as<uint8_t>(1)[i] * static_cast<float>(row.as<BFloat16>(3)[0]);
        zero[i] = row.as<uint8_t>(2)[i] * static_cast<float>(row.as<BFloat16>(3)[1]);
      } else {
        scale[i] = static_cast<float>(row.as<BFloat16>(1)[i]);
        zero[i] = static_cast<float>(row.as<BFloat16>(2)[i]);
      }
    }
  }

  static void pack_codes(const int* codes, int64_t k, WeightRow row) {
    for (int64_t j = 0; j < k / 2; ++j) {
      row.plane[0][j] = static_cast<uint8_t>(codes[2 * j] | codes[2 * j + 1] << 4);
    }
  }

  static void unpack_codes(WeightRow row, int64_t k, int* codes) {
    for (int64_t j = 0; j < k / 2; ++j) {
      codes[2 * j] = row.plane[0][j] & 15;
      codes[2 * j + 1] = row.plane[0][j] >> 4;
    }
  }

 private:
  static constexpr double kMaxBFloat16 = 0x1.fep127;

  static void encode_steps(const float* lo, const float* hi, int64_t groups, WeightRow row) {
    const auto low = [&](int64_t i) { return std::min(static_cast<double>(lo[i]), 0.0); };
    const auto raw_scale = [&](int64_t i) {
      return (std::max(static_cast<double>(hi[i]), 0.0) - low(i)) / kMaxCode;
    };
    double largest = 0;
    for (int64_t i = 0; i < groups; ++i) largest = std::max(largest, raw_scale(i));
    const double scale_step = store_step(largest, row, 0);
    const auto scale_code = [&](int64_t i) {
      return raw_scale(i) > 0 ? to_code(raw_scale(i), scale_step, 1) : uint8_t{0};
    };
    const auto raw_zero = [&](int64_t i) {
      const double scale = scale_code(i) * scale_step;
      return scale > 0 ? -low(i) / scale : 0.0;
    };
    largest = 0;
    for (int64_t i = 0; i < groups; ++i) largest = std::max(largest, raw_zero(i));
    const double zero_step = store_step(largest, row, 1);
    for (int64_t i = 0; i < groups; ++i) {
      row.plane[1][i] = scale_code(i);
      row.plane[2][i] = to_code(raw_zero(i), zero_step, 0);
    }
  }

  // Writes largest / 255 as steps[index] and returns the value that a decoder will read.
  static double store_step(double largest, WeightRow row, int index) {
    const BFloat16 step(static_cast<float>(largest / 255));
    row.as<BFloat16>(3)[index] = step;
    return static_cast<float>(step);
  }

  static uint8_t to_code(double value, double step, int smallest) {
    if (step == 0) return 0;
    return static_cast<uint8_t>(std::clamp(std::nearbyint(value / step), 1.0 * smallest, 255.0));
  }
};

static_assert(sizeof(BFloat16) == 2);
static_assert(coalesced_int4::kPlanesA[0].columns(384, 32) == 192);
static_assert(coalesced_int4::kPlanesB[3].columns(384, 32) == 2);

}  // namespace aotiny
