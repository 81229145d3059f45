// The loop of AttentionKernels over any vector type; see gemm_simd.h.
#pragma once

#include <cstdint>

#include "aotiny/kernels/attention_kernels.h"

namespace aotiny {

template <class Vector>
struct AttentionSimd {
  using Reg = typename Vector::Reg;
  static constexpr int64_t kLanes = Vector::kLanes;

  static float softmax(int64_t count, float* scores, SoftmaxState* state) {
    const float lowest = -__builtin_inff();
    Reg largest = Vector::set1(state->maximum);
    int64_t j = 0;
    for (; j + kLanes <= count; j += kLanes) {
      largest = Vector::max(Vector::load(scores + j), largest);
    }
    float lanes[kLanes];
    Vector::store(lanes, largest);
    float maximum = lanes[0];
    for (int64_t i = 1; i < kLanes; ++i) maximum = lanes[i] > maximum ? lanes[i] : maximum;
    for (int64_t i = j; i < count; ++i) maximum = scores[i] > maximum ? scores[i] : maximum;

    if (maximum == lowest) {  // nothing but -infinity, or NaN, which the comparisons pass over
      for (int64_t i = 0; i < count; ++i) {
        scores[i] = scores[i] == lowest ? 0.0f : scores[i];
        state->sum += scores[i];
      }
      return 1.0f;
    }
    const Reg shift = Vector::set1(maximum);
    Reg sums = Vector::zero();
    for (j = 0; j + kLanes <= count; j += kLanes) {
      const Reg power = Vector::exp(Vector::sub(Vector::load(scores + j), shift));
      Vector::store(scores + j, power);
      sums = Vector::add(sums, power);
    }
    // The rest, and the correction, which takes the same exponential.
    float rest[2 * kLanes] = {};
    const int64_t left = count - j;
    for (int64_t i = 0; i < left; ++i) rest[i] = scores[j + i] - maximum;
    rest[left] = state->maximum - maximum;
    Vector::store(rest, Vector::exp(Vector::load(rest)));
    for (int64_t i = 0; i < left; ++i) scores[j + i] = rest[i];
    const float correction = rest[left];
    Vector::store(lanes, sums);
    float sum = 0.0f;
    for (int64_t i = 0; i < kLanes; ++i) sum += lanes[i];
    for (int64_t i = 0; i < left; ++i) sum += rest[i];
    state->sum = state->sum * correction + sum;
    state->maximum = maximum;
    return correction;
  }
};

}  // namespace aotiny
