// PlanarInt6: 6-bit codes in two planes, with scales alone, which hold GGUF's Q6_K without loss.
//
//   value(n, k) = q·scale,  q in −32..31, scale of group k / g;  u = q + 32 is what the planes hold
//
//   ql  u8 [N, K/2]    byte j of a row:  bit 7......4   3......0
//                                            u(2j+1)%16  u(2j)%16
//   qh  u8 [N, K/4]    8 bytes for every 32 weights, 4 for their even k and 4 for their odd k. With
//                      k counted within the 32, and h(k) = u(k) / 16, byte w has of word w, the
//                      eight k from 8·w on:
//                                        bit 7....6   5....4   3....2   1....0
//                             byte w         h(8w+6)  h(8w+4)  h(8w+2)  h(8w)
//                             byte 4 + w     h(8w+7)  h(8w+5)  h(8w+3)  h(8w+1)
//
//   metadata A (16 bits a group):
//     scale bf16 [N, K/g]
//   metadata B (8 bits a group, 16 bits a row):
//     scale i8 [N, K/g]     steps bf16 [N, 1]         scale = code·steps[n][0]
//   metadata C (8 bits a group, 16 bits per 256 weights; K a multiple of 256, g divides it):
//     scale i8 [N, K/g]     steps fp16 [N, K/256]     scale = code·steps[n][k / 256]
//
// g is a multiple of 16, K of 32. Codes of scales and steps may be negative, as GGUF's are, though
// a quantizer makes none. A value has at most 6 + 7 + 11 significant bits, so fp32 has it exactly.
#pragma once

#include "aotiny/quant/format.h"
#include "aotiny/quant/steps.h"

namespace aotiny {

namespace planar_int6 {
inline constexpr PlaneSpec kPlanesA[] = {
    {"ql", DType::UInt8, Per::Weight, 2},
    {"qh", DType::UInt8, Per::Weight, 4},
    {"scale", DType::BFloat16, Per::Group, 1},
};
inline constexpr PlaneSpec kPlanesB[] = {
    {"ql", DType::UInt8, Per::Weight, 2},
    {"qh", DType::UInt8, Per::Weight, 4},
    {"scale", DType::Int8, Per::Group, 1},
    {"steps", DType::BFloat16, Per::Row, 1},
};
inline constexpr PlaneSpec kPlanesC[] = {
    {"ql", DType::UInt8, Per::Weight, 2},
    {"qh", DType::UInt8, Per::Weight, 4},
    {"scale", DType::Int8, Per::Group, 1},
    {"steps", DType::Float16, Per::SuperBlock, 1},
};
constexpr std::span<const PlaneSpec> planes(Metadata metadata) {
  if (metadata == Metadata::A) return kPlanesA;
  if (metadata == Metadata::B) return kPlanesB;
  return kPlanesC;
}
}  // namespace planar_int6

template <Metadata kMetadata>
struct PlanarInt6Traits {
  static_assert(kMetadata != Metadata::H);
  static constexpr FormatInfo kInfo{
      .name = "PlanarInt6",
      .variant = name_of(kMetadata),
      .bits = 6,
      .planes = planar_int6::planes(kMetadata),
      .value = Value::Scale,
      .order = KOrder::EvenOdd,
      .group_multiple = 16,
      .default_group = 16,
      // −32 times the scale of the largest must be finite.
      .largest = kMetadata == Metadata::C ? 31 * 127 * 65504.0f : 0x1.fep127f};
  static constexpr int kMinCode = -32;
  static constexpr int kMaxCode = 31;

  // The scale that suits a group with values lo..hi: the least one under which both ends fit.
  static GroupParams params_of_range(double lo, double hi) {
    return {std::max({hi / kMaxCode, lo / kMinCode, 0.0}), 0};
  }

  // Stores scales as near to these as it can. The largest of a row (B) or super-block (C) sets the
  // step. The smallest code of a scale that is not 0 is ±1, so that no group is lost to a far
  // larger one beside it.
  static void encode_params(const GroupParams* params, int64_t groups, int64_t group_size,
                            WeightRow row) {
    if constexpr (kMetadata == Metadata::A) {
      for (int64_t i = 0; i < groups; ++i) {
        row.as<BFloat16>(2)[i] = nearest_scale<BFloat16>(params[i].scale);
      }
    } else {
      const int64_t run = run_of(groups, group_size);
      for (int64_t i = 0; i < groups; i += run) {
        encode_codes(params + i, run, row.as<int8_t>(2) + i, row.as<Step>(3)[i / run]);
      }
    }
  }

  // The scale of every group, in fp32, and 0.
  static void decode_params(WeightRow row, int64_t groups, int64_t group_size, float* scale,
                            float* zero) {
    for (int64_t i = 0; i < groups; ++i) {
      if constexpr (kMetadata == Metadata::A) {
        scale[i] = static_cast<float>(row.as<BFloat16>(2)[i]);
      } else {
        const float step = static_cast<float>(row.as<Step>(3)[i / run_of(groups, group_size)]);
        scale[i] = row.as<int8_t>(2)[i] * step;
      }
      zero[i] = 0;
    }
  }

  static void pack_codes(const int* codes, int64_t k, WeightRow row) {
    for (int64_t i = 0; i < k; ++i) {
      if (i % 32 == 0) {
        std::fill_n(row.plane[0] + i / 2, 16, uint8_t{0});
        std::fill_n(row.plane[1] + i / 4, 8, uint8_t{0});
      }
      const int u = codes[i] - kMinCode;
      row.plane[0][i / 2] |= static_cast<uint8_t>((u & 15) << low_shift(i));
      row.plane[1][high_byte(i)] |= static_cast<uint8_t>((u >> 4) << high_shift(i));
    }
  }

  static void unpack_codes(WeightRow row, int64_t k, int* codes) {
    for (int64_t i = 0; i < k; ++i) {
      const int low = row.plane[0][i / 2] >> low_shift(i) & 15;
      const int high = row.plane[1][high_byte(i)] >> high_shift(i) & 3;
      codes[i] = (low | high << 4) + kMinCode;
    }
  }

 private:
  using Step = std::conditional_t<kMetadata == Metadata::C, Float16, BFloat16>;

  // Groups that share a step.
  static int64_t run_of(int64_t groups, int64_t group_size) {
    return kMetadata == Metadata::C ? kSuperBlock / group_size : groups;
  }

  static void encode_codes(const GroupParams* params, int64_t groups, int8_t* codes,
                           Step& stored_step) {
    double largest = 0;
    for (int64_t i = 0; i < groups; ++i) largest = std::max(largest, std::fabs(params[i].scale));
    const double step = store_step(largest / 127, stored_step);
    for (int64_t i = 0; i < groups; ++i) {
      const double scale = params[i].scale;
      codes[i] = scale > 0   ? to_code<int8_t>(scale, step, 1, 127)
                 : scale < 0 ? to_code<int8_t>(scale, step, -127, -1)
                             : int8_t{0};
    }
  }

  static int64_t low_shift(int64_t k) { return k % 2 * 4; }
  static int64_t high_byte(int64_t k) { return k / 32 * 8 + k % 2 * 4 + k % 32 / 8; }
  static int64_t high_shift(int64_t k) { return k % 8 / 2 * 2; }
};

static_assert(planar_int6::kPlanesA[1].columns(384, 16) == 96);
static_assert(planar_int6::kPlanesB[3].columns(384, 16) == 1);
static_assert(planar_int6::kPlanesC[3].columns(768, 16) == 3);

}  // namespace aotiny
