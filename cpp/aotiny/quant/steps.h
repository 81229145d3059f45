// Metadata in codes: value = code·step. A step is rounded to its stored type before any code is
// computed from it, so that encoder and decoder agree.
#pragma once

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "aotiny/core/dtype.h"

namespace aotiny {

// What a quantizer chooses for a group, before it is stored: the second number is a min with
// Value::Min and 0 with Value::Scale.
struct GroupParams {
  double scale;
  double zero;
};

// The largest number of a type that scales and steps are stored in, and the smallest that has all
// of its digits.
template <class T>
inline constexpr double kLargest = std::is_same_v<T, Float16> ? 65504.0 : 0x1.fep127;
template <class T>
inline constexpr double kSmallestNormal = std::is_same_v<T, Float16> ? 0x1p-14 : 0x1p-126;

// The stored scale nearest to this one, never infinite. Below the smallest normal number, where
// they are few, it is the next away from 0: so none is lost, and codes reach as far as they are to.
template <class T>
T nearest_scale(double scale) {
  T stored(static_cast<float>(std::clamp(scale, -kLargest<T>, kLargest<T>)));
  const double size = std::fabs(static_cast<float>(stored));
  if (size < kSmallestNormal<T> && size < std::fabs(scale)) ++stored.bits;
  return stored;
}

// Stores a step and returns the value that a decoder will read.
inline double store_step(double step, BFloat16& stored) {
  stored = nearest_scale<BFloat16>(step);
  return static_cast<float>(stored);
}

// fp16 is rounded away from 0, as far as it reaches: the largest code shall stand for no less than
// the largest scale.
inline double store_step(double step, Float16& stored) {
  stored = nearest_scale<Float16>(step);
  const double least = std::min(std::fabs(step), kLargest<Float16>);
  if (std::fabs(static_cast<float>(stored)) < least) ++stored.bits;
  return static_cast<float>(stored);
}

// The same for a step above 0, rounded up to a power of two, so that codes stand for round numbers.
template <class Step>
double store_power_of_two(double step, Step& stored) {
  return store_step(std::exp2(std::ceil(std::log2(step))), stored);
}

template <class Code>
Code to_code(double value, double step, int smallest, int largest) {
  if (step == 0) return 0;
  return static_cast<Code>(std::clamp(std::nearbyint(value / step), 1.0 * smallest, 1.0 * largest));
}

}  // namespace aotiny
