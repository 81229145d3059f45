// Int8: 8-bit codes with an integer zero.
//
//   value(n, k) = (q − zero)·scale,  q in −128..127, scale and zero of group k / g
//
//   qdata  i8   [N, K]      byte k of a row is q(k), two's complement
//   scale  bf16 [N, K/g]    zero  i8 [N, K/g]      (24 bits a group)
//                                                    (H: fp16 scale, GGUF's Q8_0 without loss)
//
// An integer zero within −128..127 means that 0 is always a value, so that every range is widened
// to hold 0.
#pragma once

#include "aotiny/quant/format.h"
#include "aotiny/quant/steps.h"

namespace aotiny {

namespace int8 {
inline constexpr PlaneSpec kPlanesA[] = {
    {"qdata", DType::Int8, Per::Weight, 1},
    {"scale", DType::BFloat16, Per::Group, 1},
    {"zero", DType::Int8, Per::Group, 1},
};
inline constexpr PlaneSpec kPlanesH[] = {
    {"qdata", DType::Int8, Per::Weight, 1},
    {"scale", DType::Float16, Per::Group, 1},
    {"zero", DType::Int8, Per::Group, 1},
};
}  // namespace int8

template <Metadata kMetadata>
struct Int8Traits {
  using Scale = std::conditional_t<kMetadata == Metadata::H, Float16, BFloat16>;
  static constexpr FormatInfo kInfo{.name = "Int8",
                                    .variant = name_of(kMetadata),
                                    .bits = 8,
                                    .planes = kMetadata == Metadata::H
                                                  ? std::span<const PlaneSpec>(int8::kPlanesH)
                                                  : std::span<const PlaneSpec>(int8::kPlanesA),
                                    .largest = kMetadata == Metadata::H ? 65504.0f : kLargestValue,
                                    .integer_zero = true};
  static constexpr int kMinCode = -128;
  static constexpr int kMaxCode = 127;

  // The scale and zero that suit a group with values lo..hi; the range is widened to hold 0.
  static GroupParams params_of_range(double lo, double hi) {
    lo = std::min(lo, 0.0);
    hi = std::max(hi, 0.0);
    const double scale =
        static_cast<float>(nearest_scale<Scale>((hi - lo) / (kMaxCode - kMinCode)));
    return {scale, scale > 0 ? kMinCode - lo / scale : 0};
  }

  // Stores metadata as near to these as it can.
  static void encode_params(const GroupParams* params, int64_t groups, int64_t /*group_size*/,
                            WeightRow row) {
    for (int64_t i = 0; i < groups; ++i) {
      row.as<Scale>(1)[i] = nearest_scale<Scale>(params[i].scale);
      row.as<int8_t>(2)[i] = to_code<int8_t>(params[i].zero, 1, kMinCode, kMaxCode);
    }
  }

  // The scale and zero of every group, in fp32.
  static void decode_params(WeightRow row, int64_t groups, int64_t /*group_size*/, float* scale,
                            float* zero) {
    for (int64_t i = 0; i < groups; ++i) {
      scale[i] = static_cast<float>(row.as<Scale>(1)[i]);
      zero[i] = row.as<int8_t>(2)[i];
    }
  }

  static void pack_codes(const int* codes, int64_t k, WeightRow row) {
    for (int64_t j = 0; j < k; ++j) row.as<int8_t>(0)[j] = static_cast<int8_t>(codes[j]);
  }

  static void unpack_codes(WeightRow row, int64_t k, int* codes) {
    for (int64_t j = 0; j < k; ++j) codes[j] = row.as<int8_t>(0)[j];
  }
};

static_assert(int8::kPlanesA[0].columns(384, 32) == 384);

}  // namespace aotiny
