// Metadata in codes: value = code·step. A step is rounded to its stored type before any code is
// computed from it, so that encoder and decoder agree.
#pragma once

#include <algorithm>
#include <cmath>

#include "aotiny/core/dtype.h"

namespace aotiny {

// What a quantizer chooses for a group, before it is stored: the second number is a min with
// Value::Min and 0 with Value::Scale.
struct GroupParams {
  double scale;
  double zero;
};

// Stores a step and returns the value that a decoder will read.
inline double store_step(double step, BFloat16& stored) {
  stored = BFloat16(static_cast<float>(step));
  return static_cast<float>(stored);
}

// fp16 is rounded away from 0: below 2^-14 its precision falls, so that the nearest could be much
// too small for the codes, and below 2^-25 it would be 0.
inline double store_step(double step, Float16& stored) {
  stored = Float16(static_cast<float>(step));
  if (std::fabs(static_cast<float>(stored)) < std::fabs(step)) ++stored.bits;
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
