#include "aotiny/kernels/plain_mm.h"

#include "aotiny/kernels/plain_mm_kernel.h"

namespace aotiny {
namespace {

// Four lanes of the compiler's own vectors, which every processor has.
struct Portable {
  static constexpr int kLanes = 4;
  static constexpr int kPanels = 1;
  static constexpr int kDirectRows = 4;
  static constexpr int kTileRows = 4;
  static constexpr int kRunBytes = 16;
  static constexpr bool kStepwise = false;
  static constexpr uint32_t kSignedFlip = 0x80808080u;  // dot takes unsigned bytes
  static constexpr int kSignedBias = 128;
  using U32 [[gnu::vector_size(16)]] = uint32_t;
  using I32 [[gnu::vector_size(16)]] = int32_t;
  using F32 [[gnu::vector_size(16)]] = float;

  static void transpose(const uint8_t* rows, int64_t stride, U32* out) {
    uint32_t dwords[4][kLanes];
    for (int l = 0; l < kLanes; ++l) {
      uint32_t row[4];
      __builtin_memcpy(row, rows + l * stride, sizeof(row));
      for (int i = 0; i < 4; ++i) dwords[i][l] = row[i];
    }
    __builtin_memcpy(out, dwords, sizeof(dwords));
  }

  template <class Codes, class Part>
  static I32 dot(const U32* w, const int8_t* q) {
    I32 sum = {};
    for (const int vector : Part::kVectors) {
      for (int i = 0; i < 4; ++i) {
        sum += (I32)((w[vector] >> (8 * i)) & 0xffu) * static_cast<int32_t>(q[4 * vector + i]);
      }
    }
    return sum;
  }

  // As Float16 converts.
  static F32 from_half(U32 half) {
    const U32 magnitude = half & 0x7fffu;
    const F32 subnormal = __builtin_convertvector((I32)magnitude, F32) * 0x1p-24f;
    const U32 is_subnormal = (U32)(magnitude < 0x0400u);
    const U32 is_infinite = (U32)(magnitude >= 0x7c00u);
    const U32 bits = ((U32)subnormal & is_subnormal) |
                     (((magnitude << 13) + 0x38000000u) & ~is_subnormal) |
                     (is_infinite & 0x7f800000u);
    return (F32)(bits | (half & 0x8000u) << 16);
  }

  static F32 set1(float x) { return F32{x, x, x, x}; }
  static F32 fma(F32 a, F32 b, F32 c) { return a * b + c; }
  static F32 fnma(F32 a, F32 b, F32 c) { return c - a * b; }
};

}  // namespace

const PlainMmKernels kPlainMm = plain_mm_kernels<Portable>("portable", Formats{});

}  // namespace aotiny
