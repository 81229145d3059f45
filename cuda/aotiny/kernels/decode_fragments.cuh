// Operands of tensor cores out of the weight formats: a piece of W, 16 rows by 128 along k, as the
// 32 lanes of a warp hold it.
//
// Lane l has of rows l / 4 and l / 4 + 8 the 32 codes of a quarter, l % 4. They go to the tensor
// cores in four steps of eight; which k these have is the format's own affair, and x is read to
// match. Codes pass through shared memory, some pieces ahead of their use:
//
//   kSlot                          bytes of shared memory for the codes of a piece
//   start(weight, rows, piece, slot) starts copying them; what lies beyond K becomes zeros
//   load_numbers(rows, piece)      starts loading the rest to registers, a piece ahead
//   take(slot)                     the codes to registers, once they are there for all lanes
//   weights(step, half, w)         four pairs of weights of a row, rounded to nearest
//
// x [rows, K] lies in shared memory, in entries of 16 bytes:
//
//   row_of_lane(), entry_of_lane() of which row (of 8), from which entry of a piece on, a lane asks
//   load_x(at, step, x)            for what the tensor cores want of it in a step
#pragma once

#include "aotiny/kernels/cuda_native_decode_plan.h"
#include "aotiny/kernels/dequantize.cuh"
#include "aotiny/kernels/ptx.cuh"

namespace aotiny::cuda {

inline constexpr int kPieceK = 128, kPieceSteps = 4;

namespace detail {

__device__ inline uint32_t bits(__half2 pair) { return *reinterpret_cast<uint32_t*>(&pair); }
__device__ inline uint32_t bits(__nv_bfloat162 pair) { return *reinterpret_cast<uint32_t*>(&pair); }
__device__ inline uint32_t rounded_pair(float low, float high, __half) {
  return bits(__floats2half2_rn(low, high));
}
__device__ inline uint32_t rounded_pair(float low, float high, __nv_bfloat16) {
  return bits(__floats2bfloat162_rn(low, high));
}

// A value that the compiler must not compute anew for every use.
__device__ inline int kept_in_register(int value) {
  asm volatile("mov.u32 %0, %0;" : "+r"(value));
  return value;
}

// An address in shared memory.
__device__ inline uint32_t shared_address(const void* p) {
  return static_cast<uint32_t>(kept_in_register(static_cast<int>(__cvta_generic_to_shared(p))));
}

// 4, 8 or 16 bytes from there.
template <int kBytes>
__device__ void load_shared(uint32_t (&to)[kBytes / 4], uint32_t address) {
  if constexpr (kBytes == 16) {
    asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(address)
                 : "memory");
  } else if constexpr (kBytes == 8) {
    asm volatile("ld.shared.v2.u32 {%0, %1}, [%2];"
                 : "=r"(to[0]), "=r"(to[1])
                 : "r"(address)
                 : "memory");
  } else {
    asm volatile("ld.shared.u32 %0, [%1];" : "=r"(to[0]) : "r"(address) : "memory");
  }
}

// Starts copying 4, 8 or 16 bytes to shared memory, or zeros; then nothing is read.
template <int kBytes>
__device__ void copy_async(uint32_t to, const void* from, bool exists) {
  const int size = exists ? kBytes : 0;
  if constexpr (kBytes == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(size)
                 : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(to), "l"(from), "n"(kBytes),
                 "r"(size)
                 : "memory");
  }
}

// Bytes to the index-th of things `step` bytes apart, both below 2^31.
__device__ inline int64_t bytes_to(int index, int64_t step) {
  return static_cast<int64_t>(static_cast<uint64_t>(static_cast<uint32_t>(index)) *
                              static_cast<uint32_t>(step));
}

// What this thread has started to copy, as one group; and the wait for all but the latest groups.
__device__ inline void end_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int kGroups>
__device__ void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kGroups) : "memory");
}

constexpr int item_bytes(DType dtype) {
  return dtype == DType::Float32 ? 4 : dtype == DType::UInt8 || dtype == DType::Int8 ? 1 : 2;
}

// q·scale is exact in fp32 where scales have at most 19 bits, as 8-bit codes times 16-bit steps
// have, and q at most 5. Then one fused operation rounds as two do.
template <class Traits>
constexpr bool has_exact_products() {
  bool exact = Traits::kInfo.bits <= 5;
  for (const PlaneSpec& plane : Traits::kInfo.planes) exact &= plane.dtype != DType::Float32;
  return exact;
}

}  // namespace detail

// Formats that have the codes of a row one after the other: a quarter is a block of 32.
template <class Traits, class T>
class DecodePiece {
  using Format = DeviceFormat<Traits>;
  static constexpr int kPlanes = static_cast<int>(Traits::kInfo.planes.size());
  static constexpr bool kHalves = Traits::kInfo.group_multiple % kBlock != 0;
  static constexpr int kNumbers = kHalves ? 2 : 1;  // of a block

  static constexpr PlaneSpec plane(int i) { return Traits::kInfo.planes[i]; }
  static constexpr bool has_codes(int i) { return plane(i).per == Per::Weight; }
  static constexpr int code_bytes(int i) {
    return has_codes(i) ? 32 / plane(i).count * detail::item_bytes(plane(i).dtype) : 0;
  }
  static constexpr int code_bytes_before(int i) {
    int sum = 0;
    for (int j = 0; j < i; ++j) sum += code_bytes(j);
    return sum;
  }
  using EveryPlane = std::make_integer_sequence<int, kPlanes>;

 public:
  static constexpr int kSlot = decode_slot_bytes(Traits::kInfo);
  static_assert(kSlot == 64 * code_bytes_before(kPlanes));

  // Rows l / 4 and l / 4 + 8 of 16; those past the last row of W are the last.
  struct Rows {
    FormatRow row[2];
    uint32_t blocks;
    uint32_t half_blocks_of_group;

    // The same rows of a later tile.
    __device__ void advance(const DeviceWeight& weight, int64_t first, int64_t b) {
      *this = Rows(weight, first, b);
    }

    __device__ Rows(const DeviceWeight& weight, int64_t first, int64_t b)
        : row{row_of(weight, first, b), row_of(weight, first + 8, b)},
          blocks(static_cast<uint32_t>(weight.k / kBlock)),
          half_blocks_of_group(static_cast<uint32_t>(weight.group_size / 16)) {}

   private:
    __device__ static FormatRow row_of(const DeviceWeight& weight, int64_t first, int64_t b) {
      const int64_t n = first + threadIdx.x % 32 / 4;
      return format_row<Traits>(weight, n < weight.n ? n : weight.n - 1, b);
    }
  };

  __device__ static void start(const DeviceWeight& /*weight*/, const Rows& rows, int piece,
                               uint32_t slot) {
    const uint32_t block = 4 * piece + threadIdx.x % 4;
    for_planes([&](auto i) {
      if constexpr (has_codes(i)) {
        constexpr int kBytes = code_bytes(i), kAtOnce = kBytes < 16 ? kBytes : 16;
        const bool exists = block < rows.blocks;
#pragma unroll
        for (int part = 0; part < 2 * kBytes / kAtOnce; ++part) {
          const uint8_t* from = rows.row[part % 2].plane[i] + part / 2 * kAtOnce;
          detail::copy_async<kAtOnce>(slot_of<i>(slot, part), from + int64_t{block} * kBytes,
                                      exists);
        }
      }
    });
  }

  __device__ void load_numbers(const Rows& rows, int piece) {
    const uint32_t last = rows.blocks - 1, wanted = 4 * piece + threadIdx.x % 4;
    const uint32_t block = wanted < last ? wanted : last;  // beyond K, where x is zero, any will do
    for_planes([&](auto i) {
      if constexpr (!has_codes(i)) {
        constexpr int kItem = detail::item_bytes(plane(i).dtype), kCount = plane(i).count;
#pragma unroll
        for (int part = 0; part < 2 * kNumbers; ++part) {
          const FormatRow& row = rows.row[part % 2];
          const uint8_t* at = row.plane[i];
          if constexpr (plane(i).per == Per::Group) {
            constexpr bool kHasSteps = plane(i).layout == Layout::Groups;
            const int64_t group = (2 * block + part / 2) / rows.half_blocks_of_group;
            at += group * (kHasSteps ? row.step[i] : kItem * kCount);
          } else if constexpr (plane(i).per == Per::SuperBlock) {
            at += int64_t{block / (kSuperBlock / kBlock)} * kItem * kCount;
          }
          for (int j = 0; j < kCount; ++j) {
            copy_item<kItem>(at + j * kItem, numbers_[part % 2][part / 2][i] + j * kItem);
          }
        }
      }
    });
  }

  __device__ void take(const uint32_t slot) {
    for_planes([&](auto i) {
      if constexpr (has_codes(i)) {
        constexpr int kBytes = code_bytes(i), kAtOnce = kBytes < 16 ? kBytes : 16;
#pragma unroll
        for (int part = 0; part < 2 * kBytes / kAtOnce; ++part) {
          uint32_t words[kAtOnce / 4];
          detail::load_shared<kAtOnce>(words, slot_of<i>(slot, part));
#pragma unroll
          for (int j = 0; j < kAtOnce / 4; ++j) {
            codes_[part % 2][i][part / 2 * (kAtOnce / 4) + j] = words[j];
          }
        }
      }
    });
  }

  __device__ void weights(int step, int half, uint32_t (&w)[4]) const {
    FormatRow row{};
    for (int i = 0; i < kPlanes; ++i)
      row.plane[i] = reinterpret_cast<const uint8_t*>(codes_[half][i]);
    uint32_t words[8];
    Format::codes(row, 0, words);
    for (int i = 0; i < kPlanes; ++i) row.plane[i] = numbers_[half][kHalves ? step / 2 : 0][i];
    const GroupNumbers numbers = Format::numbers(row, 0, kBlock);
    float values[8];
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      constexpr bool kNatural = Format::kOrder == KOrder::Natural;
      const int word = kNatural ? 2 * step + i / 4 : i % 2 * 4 + step;
      values[i] = value(float_of(words[word], kNatural ? i % 4 : i / 2), numbers);
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) w[i] = detail::rounded_pair(values[2 * i], values[2 * i + 1], T());
  }

  __device__ static int row_of_lane() { return threadIdx.x % 32 / 4; }
  __device__ static int entry_of_lane() { return threadIdx.x % 4 * 4; }
  __device__ static void load_x(uint32_t at, int step, uint32_t (&x)[4]) {
    detail::load_shared<16>(x, at + 16 * step);
  }

 private:
  template <class F, int... kI>
  __device__ static void for_each(const F& f, std::integer_sequence<int, kI...>) {
    (f(std::integral_constant<int, kI>()), ...);
  }
  template <class F>
  __device__ static void for_planes(const F& f) {
    for_each(f, EveryPlane());
  }

  // [plane][part][lane]
  template <int kI>
  __device__ static uint32_t slot_of(uint32_t slot, int part) {
    constexpr int kBytes = code_bytes(kI), kAtOnce = kBytes < 16 ? kBytes : 16;
    constexpr int kBefore = 64 * code_bytes_before(kI);
    return slot + kBefore + (32 * part + threadIdx.x % 32) * kAtOnce;
  }

  template <int kBytes>
  __device__ static void copy_item(const uint8_t* from, uint8_t* to) {
    using Item = std::conditional_t<kBytes == 1, uint8_t,
                                    std::conditional_t<kBytes == 2, uint16_t, uint32_t>>;
    *reinterpret_cast<Item*>(to) = *reinterpret_cast<const Item*>(from);
  }

  // A code in a byte: at the end of the fraction of 2²³, with 128 added.
  __device__ static float float_of(uint32_t word, int byte) {
    constexpr bool kSigned = Traits::kMinCode < 0;
    const uint32_t biased = kSigned ? word ^ 0x80808080u : word;
    return __fsub_rn(__uint_as_float(__byte_perm(biased, 0x4B000000u, 0x7540 | byte)),
                     kSigned ? 8388608.0f + 128.0f : 8388608.0f);
  }

  __device__ static float value(float q, GroupNumbers numbers) {
    if constexpr (Traits::kInfo.value == Value::Min && detail::has_exact_products<Traits>()) {
      return __fmaf_rn(q, numbers.scale, -numbers.zero);
    } else {
      return dequantized<Traits>(q, numbers);
    }
  }

  alignas(16) uint32_t codes_[2][kPlanes][8];
  alignas(4) uint8_t numbers_[2][kNumbers][kPlanes][4];
};

// Tiles in torch's order, which is that of the tensor cores: a lane's word is a step. Pairs of
// scale and zero, one a step, are copied along with the codes.
template <int kInnerKTiles, class T>
class DecodePiece<Int4TilePackedTraits<kInnerKTiles>, T> {
  static constexpr int kWords = kInnerKTiles / 2;  // of a lane in a tile
  static constexpr int kCodes = 2 * 32 * 16;

 public:
  static constexpr int kSlot = decode_slot_bytes(Int4TilePackedTraits<kInnerKTiles>::kInfo);
  static_assert(kSlot == kCodes + 2 * 32 * 4);

  struct Rows {
    const uint8_t* codes[2];
    const uint8_t* pairs[2];
    int steps[2];  // along K; none of rows past the last
    int group_shift;

    __device__ Rows(const DeviceWeight& weight, int64_t first, int64_t b)
        : group_shift(detail::kept_in_register((weight.group_size > 32) + (weight.group_size > 64) +
                                               (weight.group_size > 128))) {
      advance(weight, first, b);
    }

    // Strides are below 2^31 here.
    __device__ void advance(const DeviceWeight& weight, int64_t first, int64_t b) {
      const int lane = static_cast<int>(threadIdx.x) % 32;
      const auto eight = static_cast<int>(first / 8);
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        codes[half] = weight.plane[0] + b * weight.stack[0] + lane * (4 * kWords) +
                      detail::bytes_to(eight + half, weight.row[0]);
        pairs[half] = weight.plane[1] + b * weight.stack[1] +
                      detail::bytes_to(8 * (eight + half) + lane / 4, weight.row[1]);
        steps[half] = first + 8 * half < weight.n ? static_cast<int>(weight.k / 32) : 0;
      }
    }
  };

  __device__ static void start(const DeviceWeight& weight, const Rows& rows, int piece,
                               uint32_t slot) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int64_t pairs =
        detail::bytes_to((kPieceSteps * piece + lane % 4) >> rows.group_shift, weight.step[1]);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int left = rows.steps[half] - kPieceSteps * piece;
#pragma unroll
      for (int i = 0; i < kPieceSteps; i += kWords) {
        const int64_t at =
            detail::bytes_to(kPieceSteps / kWords * piece + i / kWords, weight.step[0]);
        detail::copy_async<4 * kWords>(slot + half * 512 + lane * 16 + i * 4, rows.codes[half] + at,
                                       i < left);
      }
      detail::copy_async<4>(slot + kCodes + half * 128 + lane * 4, rows.pairs[half] + pairs,
                            lane % 4 < left);
    }
  }

  __device__ void load_numbers(const Rows& /*rows*/, int /*piece*/) {}

  __device__ void take(const uint32_t slot) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      detail::load_shared<16>(words_[half], slot + half * 512 + lane * 16);
      detail::load_shared<16>(pairs_[half], slot + kCodes + half * 128 + lane / 4 * 16);
    }
  }

  __device__ void weights(int step, int half, uint32_t (&w)[4]) const {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      w[i] = dequantized(words_[half][step] >> (4 * i), pairs_[half][step], T());
    }
  }

  __device__ static int row_of_lane() { return threadIdx.x % 8; }
  __device__ static int entry_of_lane() { return threadIdx.x % 32 / 8; }
  __device__ static void load_x(uint32_t at, int step, uint32_t (&x)[4]) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                 : "r"(at + 64 * step));
  }

 private:
  // The lowest nibble of each half word, in place of the low bits of `float16`, at once.
  __device__ static uint32_t nibbles_in(uint32_t codes, uint32_t float16) {
    uint32_t result;
    asm("lop3.b32 %0, %1, %2, %3, 0xEA;"  // (a & b) | c
        : "=r"(result)
        : "r"(codes), "r"(0x000F000Fu), "r"(float16));
    return result;
  }

  // bf16 at its exponent of 128 holds 128 + q, and q − 8 exactly. Then as torch's kernel does.
  __device__ static uint32_t dequantized(uint32_t codes, uint32_t pair, __nv_bfloat16) {
    const auto scale_and_zero = as<__nv_bfloat162>(pair);
    const __nv_bfloat162 q = __hsub2(as<__nv_bfloat162>(nibbles_in(codes, 0x43004300u)),
                                     __floats2bfloat162_rn(136.0f, 136.0f));
    return detail::bits(
        __hfma2(q, __low2bfloat162(scale_and_zero), __high2bfloat162(scale_and_zero)));
  }

  // In fp32, since fp16 does not hold every scale of bf16.
  __device__ static uint32_t dequantized(uint32_t codes, uint32_t pair, __half) {
    const float scale = __uint_as_float(pair << 16), zero = __uint_as_float(pair & 0xffff0000u);
    const float2 q = __half22float2(
        __hsub2(as<__half2>(nibbles_in(codes, 0x64006400u)), __floats2half2_rn(1032.0f, 1032.0f)));
    return detail::rounded_pair(__fmaf_rn(q.x, scale, zero), __fmaf_rn(q.y, scale, zero), __half());
  }

  template <class V>
  __device__ static V as(uint32_t value) {
    return *reinterpret_cast<const V*>(&value);
  }

  uint32_t words_[2][kPieceSteps];
  uint32_t pairs_[2][kPieceSteps];
};

}  // namespace aotiny::cuda
