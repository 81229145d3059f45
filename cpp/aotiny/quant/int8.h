// Int8: 8-bit codes with an integer zero.
//
//   value(n, k) = (q − zero)·scale,  q in −128..127, scale and zero of group k / g
//
//   qdata  i8   [N, K]      byte k of a row is q(k), two's complement
//   scale  bf16 [N, K/g]    zero  i8 [N, K/g]      (24 bits a group)
//
// An integer zero within −128..127 means that 0 is always a value, so that every range is widened
// to hold 0.
#pragma once

#include <algorithm>
#include <cmath>

#include "aotiny/quant/format.h"

namespace aotiny {

struct Int8Traits {
  static constexpr PlaneSpec kPlanes[] = {
      {"qdata", DType::Int8, Per::Weight, 1},
      {"scale", DType::BFloat16, Per::Group, 1},
      {"zero", DType::Int8, Per::Group, 1},
  };
  static constexpr FormatInfo kInfo{"Int8", "", 8, KOrder::Natural, kPlanes};
  static constexpr int kMinCode = -128;
  static constexpr int kMaxCode = 127;

  // Stores the metadata that suits groups with values lo[i]..hi[i].
  static void encode_params(const float* lo, const float* hi, int64_t groups,
                            int64_t /*group_size*/, WeightRow row) {
    for (int64_t i = 0; i < groups; ++i) {
      const double low = std::min(static_cast<double>(lo[i]), 0.0);
      const double high = std::max(static_cast<double>(hi[i]), 0.0);
      const BFloat16 scale(static_cast<float>((high - low) / (kMaxCode - kMinCode)));
      const double step = static_cast<float>(scale);
      const double zero = step > 0 ? std::nearbyint(kMinCode - low / step) : 0;
      row.as<BFloat16>(1)[i] = scale;
      row.as<int8_t>(2)[i] = static_cast<int8_t>(std::clamp(zero, 1.0 * kMinCode, 1.0 * kMaxCode));
    }
  }

  // The scale and zero of every group, in fp32.
  static void decode_params(WeightRow row, int64_t groups, int64_t /*group_size*/, float* scale,
                            float* zero) {
    for (int64_t i = 0; i < groups; ++i) {
      scale[i] = static_cast<float>(row.as<BFloat16>(1)[i]);
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

static_assert(Int8Traits::kPlanes[0].columns(384, 32) == 384);

}  // namespace aotiny
