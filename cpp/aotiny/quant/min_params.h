// Scales and mins in u8 codes with fp16 steps for every 256 weights, as ExactInt4 and ExactInt5
// hold them: scale = code·d, min = code·dmin.
#pragma once

#include "aotiny/quant/format.h"
#include "aotiny/quant/steps.h"

namespace aotiny {

struct MinPlanes {
  uint8_t* scale;
  uint8_t* min;
  Float16* d;
  Float16* dmin;
};

// The scale and min that suit a group with values lo..hi. Codes of mins cannot be negative, so a
// range above 0 is widened to begin there.
inline GroupParams min_params_of_range(double lo, double hi, int max_code) {
  const double min = std::max(-lo, 0.0);
  return {lo == hi && lo <= 0 ? 0 : std::max(hi + min, 0.0) / max_code, min};
}

// Stores metadata as near to these as it can; `run` groups share steps. Mins come first, and scales
// are corrected for their rounding, so that max_code·scale − min, the upper end of the range,
// stays. The smallest code of a scale that is not 0 is 1.
inline void encode_min_params(const GroupParams* params, int64_t groups, int64_t run, int max_code,
                              MinPlanes planes) {
  for (int64_t begin = 0; begin < groups; begin += run) {
    const auto largest = [&](const auto& of) {
      double result = 0;
      for (int64_t i = begin; i < begin + run; ++i) result = std::max(result, of(i));
      return result;
    };
    const auto min = [&](int64_t i) { return std::max(params[i].zero, 0.0); };
    const double min_step = store_step(largest(min) / 255, planes.dmin[begin / run]);
    for (int64_t i = begin; i < begin + run; ++i) {
      planes.min[i] = to_code<uint8_t>(min(i), min_step, 0, 255);
    }
    const auto scale = [&](int64_t i) {
      if (params[i].scale == 0) return 0.0;
      const double correction = planes.min[i] * min_step - params[i].zero;
      return std::max(params[i].scale + correction / max_code, 0.0);
    };
    const double scale_step = store_step(largest(scale) / 255, planes.d[begin / run]);
    for (int64_t i = begin; i < begin + run; ++i) {
      planes.scale[i] = params[i].scale == 0 ? 0 : to_code<uint8_t>(scale(i), scale_step, 1, 255);
    }
  }
}

// The scale and min of every group, in fp32. The products are exact.
inline void decode_min_params(MinPlanes planes, int64_t groups, int64_t run, float* scale,
                              float* min) {
  for (int64_t i = 0; i < groups; ++i) {
    scale[i] = planes.scale[i] * static_cast<float>(planes.d[i / run]);
    min[i] = planes.min[i] * static_cast<float>(planes.dmin[i / run]);
  }
}

}  // namespace aotiny
