// Int4Plain: signed 4-bit codes with the metadata groups first, as torchao's Int4Tensor holds them.
//
//   value(n, k) = q·scale + zero_point,  q in −8..7, scale and zero_point of group k / g
//
//   qdata       i8 [N, K/2]      byte j of a row:  bit 7......4 3......0    two's complement
//                                                      q(2j+1)   q(2j)
//   scale, zero_point [K/g, N]   in the weight's own dtype: bf16, fp16 or fp32
//
// The type of a stack of experts: [B, N, K/2] with [B, K/g, N].
#pragma once

#include "aotiny/quant/format.h"
#include "aotiny/quant/steps.h"

namespace aotiny {

template <class T>
struct Int4PlainTraits {
  static constexpr DType kDType = dtype_of<T>();
  static constexpr PlaneSpec kPlanes[] = {
      {"qdata", DType::Int8, Per::Weight, 2},
      {"scale", kDType, Per::Group, 1, Layout::Groups},
      {"zero_point", kDType, Per::Group, 1, Layout::Groups},
  };
  static constexpr FormatInfo kInfo{.name = "Int4Plain",
                                    .variant = kDType == DType::BFloat16  ? "bfloat16"
                                               : kDType == DType::Float16 ? "float16"
                                                                          : "float32",
                                    .bits = 4,
                                    .planes = kPlanes,
                                    .value = Value::Min,
                                    .plain = false,
                                    .largest = kDType == DType::Float16 ? 65504.0f : kLargestValue};
  static constexpr int kMinCode = -8;
  static constexpr int kMaxCode = 7;

  // The scale and min (−zero_point) that suit a group with values lo..hi: the lower end is held
  // under the scale as it will be stored.
  static GroupParams params_of_range(double lo, double hi) {
    const T stored(static_cast<float>((hi - lo) / (kMaxCode - kMinCode)));
    const double scale = static_cast<float>(stored);
    return {scale, kMinCode * scale - lo};
  }

  static void encode_params(const GroupParams* params, int64_t groups, int64_t /*group_size*/,
                            WeightRow row) {
    for (int64_t i = 0; i < groups; ++i) {
      row.as<T>(1)[i * row.step[1]] = T(static_cast<float>(params[i].scale));
      row.as<T>(2)[i * row.step[2]] = T(static_cast<float>(-params[i].zero));
    }
  }

  static void decode_params(WeightRow row, int64_t groups, int64_t /*group_size*/, float* scale,
                            float* min) {
    for (int64_t i = 0; i < groups; ++i) {
      scale[i] = static_cast<float>(row.as<T>(1)[i * row.step[1]]);
      min[i] = -static_cast<float>(row.as<T>(2)[i * row.step[2]]);
    }
  }

  static void pack_codes(const int* codes, int64_t k, WeightRow row) {
    for (int64_t j = 0; j < k / 2; ++j) {
      row.plane[0][j] = static_cast<uint8_t>((codes[2 * j] & 15) | (codes[2 * j + 1] & 15) << 4);
    }
  }

  static void unpack_codes(WeightRow row, int64_t k, int* codes) {
    for (int64_t j = 0; j < k / 2; ++j) {
      codes[2 * j] = static_cast<int8_t>(row.plane[0][j] << 4) >> 4;
      codes[2 * j + 1] = static_cast<int8_t>(row.plane[0][j]) >> 4;
    }
  }
};

}  // namespace aotiny
