#include "aotiny/quant/hqq.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "aotiny/core/scratch.h"

namespace aotiny {
namespace {

constexpr float kNorm = 0.7f;
constexpr float kFirstBeta = 10;
constexpr float kKappa = 1.01f;
constexpr int kMaxRounds = 20;
constexpr int kPatience = 4;  // rounds without a gain after which no more are tried

// Sums have lanes, so that compilers may use vectors without changing the order of additions.
constexpr int kLanes = 8;

struct Sum {
  float lane[kLanes] = {};

  double total() const {
    double result = 0;
    for (const float value : lane) result += value;
    return result;
  }
};

// size^kNorm for a size of at least 0, to 1e-5 of it; about 1e-27 for 0. std::pow would take most
// of a quantizer's time, and these operations become vectors. The polynomials are the best ones of
// their degree for log2(1 + m) and 2^f between 0 and 1.
inline float power(float size) {
  const int32_t bits = std::bit_cast<int32_t>(size);
  const float m = std::bit_cast<float>((bits & 0x7fffff) | 0x3f800000) - 1;
  const float log2 =
      static_cast<float>((bits >> 23) - 127) +
      m * (1.44255314f +
           m * (-0.718281906f +
                m * (0.458270748f + m * (-0.279538022f + m * (0.123451381f - m * 0.0264574134f)))));
  const float exponent = kNorm * log2 + 128;  // above 0, so that the cast rounds down
  const int32_t whole = static_cast<int32_t>(exponent);
  const float f = exponent - static_cast<float>(whole);
  return std::bit_cast<float>((whole - 1) << 23) *
         (1.0000037f +
          f * (0.692966123f + f * (0.241638445f + f * (0.0516903596f + f * 0.0136976638f))));
}

// To the nearest integer, ties to even, for magnitudes below 2^22.
inline float round_to_even(float x) {
  constexpr float kShift = 0x1.8p23f;
  return x + kShift - kShift;
}

// What a code stands for, on the scale of codes under the parameters that hqq_params was given:
// w/scale + zero = stretch·q + shift. Those parameters have stretch 1 and shift 0.
struct Line {
  double stretch = 1;
  double shift = 0;
};

// What one round finds out about a line.
struct Round {
  double error;  // Σ |u − stretch·q − shift|^p
  Line fitted;   // to q and to u without its outliers, by least squares
};

class Group {
 public:
  Group(const float* u, int64_t count, const FormatInfo& format, int min_code, int max_code,
        double zero)
      : u_(u),
        count_(count),
        format_(format),
        min_code_(static_cast<float>(min_code)),
        max_code_(static_cast<float>(max_code)),
        zero_(zero) {}

  // The line's zero as a point on its own scale of codes.
  double zero_of(Line line) const { return (zero_ - line.shift) / line.stretch; }

  // The line of the given scale and the zero next to `zero` that the format can hold.
  Line with_zero(double zero) const { return {1, zero_ - allowed(zero)}; }

  // The best line within reach of `line`, if it is better than `best` with its error `least`.
  void improve(Line line, Line& best, double& least) const {
    float beta = kFirstBeta;
    double least_here = INFINITY;
    for (int round = 0, since = 0; round <= kMaxRounds && since < kPatience; ++round, ++since) {
      const Round found = try_line(line, beta);
      if (found.error < least_here) {
        least_here = found.error;
        since = 0;
      }
      if (found.error < least) {
        least = found.error;
        best = line;
      }
      line = found.fitted;
      if (!(line.stretch > 0)) return;
      beta *= kKappa;
    }
  }

 private:
  // The zero next to this one that the format can hold.
  double allowed(double zero) const {
    if (format_.value == Value::Scale) return 0;
    if (format_.integer_zero) {
      return std::clamp<double>(std::nearbyint(zero), min_code_, max_code_);
    }
    return format_.unsigned_zero ? std::max(zero, 0.0) : zero;
  }

  Round try_line(Line line, float beta) const {
    const float stretch = static_cast<float>(line.stretch), shift = static_cast<float>(line.shift);
    const float inverse = 1 / stretch, inverse_beta = 1 / beta;
    Sum error, sum_q, sum_t, sum_qt, sum_qq;
    for (int64_t i = 0; i < count_; i += kLanes) {
      for (int lane = 0; lane < kLanes; ++lane) {
        const float u = u_[i + lane];
        const float q =
            round_to_even(std::min(std::max((u - shift) * inverse, min_code_), max_code_));
        const float rest = u - (stretch * q + shift);
        const float size = std::fabs(rest);
        const float powered = power(size);
        const float outlier = std::max(size - powered / (size + 0x1p-100f) * inverse_beta, 0.0f);
        const float t = u - std::copysign(outlier, rest);
        error.lane[lane] += powered;
        sum_q.lane[lane] += q;
        sum_t.lane[lane] += t;
        sum_qt.lane[lane] += q * t;
        sum_qq.lane[lane] += q * q;
      }
    }
    const double n = static_cast<double>(count_), q = sum_q.total(), t = sum_t.total(),
                 qt = sum_qt.total(), qq = sum_qq.total();
    Line fitted;
    fitted.stretch = (n * qt - q * t) / (n * qq - q * q);
    fitted.shift = (t - fitted.stretch * q) / n;
    // Where the format cannot hold that zero, the nearest that it can, and the slope through it.
    const double wanted = zero_of(fitted);
    const double zero = allowed(wanted);
    if (zero != wanted) {
      fitted.stretch =
          (qt - zero_ * q - zero * t + n * zero * zero_) / (qq - 2 * zero * q + n * zero * zero);
      fitted.shift = zero_ - fitted.stretch * zero;
    }
    return {error.total(), fitted};
  }

  const float* u_;
  int64_t count_;
  const FormatInfo& format_;
  float min_code_, max_code_;
  double zero_;
};

}  // namespace

GroupParams hqq_params(const float* values, int64_t count, const FormatInfo& format, int min_code,
                       int max_code, GroupParams params) {
  if (params.scale == 0) return params;
  const double zero = format.value == Value::Min ? params.zero / params.scale : params.zero;
  Scratch<float> u(count);
  for (int64_t i = 0; i < count; ++i) u[i] = static_cast<float>(values[i] / params.scale + zero);
  const Group group(u.data(), count, format, min_code, max_code, zero);
  const Line start = group.with_zero(zero);
  Line best = start;
  double least = INFINITY;
  group.improve(start, best, least);
  // With an integer zero 0 is a value: another start, and often the better one.
  const Line other = group.with_zero(std::nearbyint(zero));
  if (other.shift != start.shift) group.improve(other, best, least);
  const double scale = params.scale * best.stretch;
  switch (format.value) {
    case Value::Zero:
      return {scale, group.zero_of(best)};
    case Value::Min:
      return {scale, params.scale * (zero - best.shift)};
    default:
      return {scale, 0};
  }
}

double sparse_norm(const float* errors, int64_t count) {
  Sum sum;
  for (int64_t i = 0; i < count; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) sum.lane[lane] += power(std::fabs(errors[i + lane]));
  }
  return sum.total();
}

}  // namespace aotiny
