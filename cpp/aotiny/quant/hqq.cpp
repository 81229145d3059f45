#include "aotiny/quant/hqq.h"

#include <algorithm>
#include <cmath>

#include "aotiny/core/scratch.h"

namespace aotiny {
namespace {

constexpr float kNorm = 0.7f;
constexpr float kFirstBeta = 10;
constexpr float kKappa = 1.01f;
constexpr int kMaxRounds = 20;

float shrink(float x, float beta) {
  const float size = std::fabs(x);
  return size == 0 ? 0 : std::copysign(std::max(size - std::pow(size, kNorm - 1) / beta, 0.0f), x);
}

}  // namespace

// In units of steps: v = w/scale is quantized to q with the value (q − zero)·stretch, where one of
// zero and stretch is what is looked for and the other stays.
GroupParams hqq_params(const float* values, int64_t count, const FormatInfo& format, int min_code,
                       int max_code, GroupParams params) {
  if (params.scale == 0) return params;
  const bool moves_zero = format.value != Value::Scale;
  Scratch<float> v(count), q(count);
  for (int64_t i = 0; i < count; ++i) v[i] = static_cast<float>(values[i] / params.scale);
  float zero = 0, stretch = 1;
  if (format.value == Value::Zero) zero = static_cast<float>(params.zero);
  if (format.value == Value::Min) zero = static_cast<float>(params.zero / params.scale);
  float best_zero = zero, best_stretch = stretch, beta = kFirstBeta;
  double best = INFINITY;
  for (int round = 0; round <= kMaxRounds; ++round, beta *= kKappa) {
    double error = 0;
    for (int64_t i = 0; i < count; ++i) {
      q[i] = std::clamp(std::nearbyint(v[i] / stretch + zero), static_cast<float>(min_code),
                        static_cast<float>(max_code));
      error += std::pow(std::fabs(v[i] - (q[i] - zero) * stretch), kNorm);
    }
    if (error >= best) break;
    best = error;
    best_zero = zero;
    best_stretch = stretch;
    double sum = 0, product = 0, square = 0;
    for (int64_t i = 0; i < count; ++i) {
      const float rest = v[i] - shrink(v[i] - (q[i] - zero) * stretch, beta);
      sum += q[i] - rest;
      product += q[i] * rest;
      square += q[i] * q[i];
    }
    if (moves_zero) {
      zero = static_cast<float>(sum / static_cast<double>(count));
    } else if (product > 0) {
      stretch = static_cast<float>(product / square);
    }
  }
  if (format.value == Value::Scale) return {params.scale * best_stretch, 0};
  return {params.scale, format.value == Value::Zero ? best_zero : best_zero * params.scale};
}

}  // namespace aotiny
