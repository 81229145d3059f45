// Four floats in a vector, in plain C++. Each file that includes this has its own copy.
#pragma once

#include <cstddef>
#include <cstdint>

namespace aotiny {
namespace {

struct PortableVector {
  typedef float Reg __attribute__((vector_size(16)));
  using Element = float;
  static constexpr int64_t kStep = 1;
  static constexpr int64_t kLanes = 4;
  static constexpr int64_t kTileRows = 4;
  static constexpr int64_t kDotRows = 3;

  static Reg zero() { return Reg{}; }
  static Reg set1(float x) { return Reg{x, x, x, x}; }
  static Reg load(const float* p) {
    Reg r;
    __builtin_memcpy(&r, p, sizeof r);
    return r;
  }
  static void store(float* p, Reg r) { __builtin_memcpy(p, &r, sizeof r); }
  static Reg load_partial(const float* p, int64_t count) {
    Reg r{};
    __builtin_memcpy(&r, p, static_cast<size_t>(count) * sizeof(float));
    return r;
  }
  static void store_partial(float* p, Reg r, int64_t count) {
    __builtin_memcpy(p, &r, static_cast<size_t>(count) * sizeof(float));
  }
  static Reg fma(Reg a, Reg b, Reg c) { return a * b + c; }
  // value·column + sum, with the elements that multiply.
  static Reg multiply(Reg value, Reg column, Reg sum) { return fma(value, column, sum); }
  static Reg broadcast(const float* p) { return set1(*p); }
  static Reg broadcast_partial(const float* p) { return set1(*p); }
  static Reg add(Reg a, Reg b) { return a + b; }
  static Reg mul(Reg a, Reg b) { return a * b; }
  static Reg sub(Reg a, Reg b) { return a - b; }
  // The larger; b where a is NaN.
  static Reg max(Reg a, Reg b) {
    return Reg{a[0] > b[0] ? a[0] : b[0], a[1] > b[1] ? a[1] : b[1], a[2] > b[2] ? a[2] : b[2],
               a[3] > b[3] ? a[3] : b[3]};
  }
  // e^x for x <= 0, as the C library has it.
  static Reg exp(Reg x) {
    return Reg{__builtin_expf(x[0]), __builtin_expf(x[1]), __builtin_expf(x[2]),
               __builtin_expf(x[3])};
  }
  // out = the sum over the lanes of each.
  static void reduce4(Reg a, Reg b, Reg c, Reg d, float* out) {
    transpose4(a, b, c, d);
    store(out, (a + b) + (c + d));
  }
  static void transpose4(Reg& a, Reg& b, Reg& c, Reg& d) {
    typedef int Index __attribute__((vector_size(16)));
    const Reg ab_low = __builtin_shuffle(a, b, Index{0, 4, 1, 5});
    const Reg ab_high = __builtin_shuffle(a, b, Index{2, 6, 3, 7});
    const Reg cd_low = __builtin_shuffle(c, d, Index{0, 4, 1, 5});
    const Reg cd_high = __builtin_shuffle(c, d, Index{2, 6, 3, 7});
    a = __builtin_shuffle(ab_low, cd_low, Index{0, 1, 4, 5});
    b = __builtin_shuffle(ab_low, cd_low, Index{2, 3, 6, 7});
    c = __builtin_shuffle(ab_high, cd_high, Index{0, 1, 4, 5});
    d = __builtin_shuffle(ab_high, cd_high, Index{2, 3, 6, 7});
  }
  static void transpose(Reg (&r)[kLanes]) { transpose4(r[0], r[1], r[2], r[3]); }
};

}  // namespace
}  // namespace aotiny
