// The kernel, written once over Isa (see plain_mm_unpack.h), which also has
//   kMaxRows                          rows of x in a tile
//   dot<Codes, Part>(const U32 w[8], q)   Σ w·q over a part of a block, exactly; q is 32 int8
//   set1(x)                           x in every lane
//   fma(a, b, c), fnma(a, b, c)       a·b + c and c − a·b
#pragma once

#include "aotiny/kernels/plain_mm_unpack.h"

namespace aotiny {

// Where a tile's weights come from: the packed format ...
template <class Isa, class CodesT>
struct DirectSource {
  using Codes = CodesT;
  static void load(const PlainTile& tile, int64_t block, typename Isa::U32* w) {
    // The next panel follows this one in memory.
    const uint8_t* next = tile.packed.plane[0] + Isa::kLanes * tile.packed.stride[0] +
                          block * Isa::kLanes * Codes::kBlockBytes;
    for (int i = 0; i < Isa::kLanes * Codes::kBlockBytes; i += 64) __builtin_prefetch(next + i);
    Codes::load(tile.packed, block, w);
  }
};

// ... or an unpacked panel.
template <class Isa, class CodesT>
struct UnpackedSource {
  using Codes = CodesT;
  static void load(const PlainTile& tile, int64_t block, typename Isa::U32* w) {
    for (int i = 0; i < 8; ++i) {
      __builtin_memcpy(w + i, tile.unpacked + (8 * block + i) * sizeof(*w), sizeof(*w));
    }
  }
};

// The vectors of a block that a sum is over: all, or the 16 lowest or highest k in the order
// EvenOdd.
struct WholeBlock {
  static constexpr int kVectors[] = {0, 1, 2, 3, 4, 5, 6, 7};
};
struct FirstHalf {
  static constexpr int kVectors[] = {0, 1, 4, 5};
};
struct SecondHalf {
  static constexpr int kVectors[] = {2, 3, 6, 7};
};

template <class Isa>
typename Isa::F32 load_lanes(const float* values) {
  typename Isa::F32 lanes;
  __builtin_memcpy(&lanes, values, sizeof(lanes));
  return lanes;
}

// What 32 or 16 k of one group add, but for d: Σ value·qx, given the sum of qx.
template <class Isa, class Codes, Value kValue, class Part>
[[gnu::always_inline]] inline typename Isa::F32 product(const typename Isa::U32* w, const int8_t* q,
                                                        typename Isa::F32 scale,
                                                        typename Isa::F32 zero, float sum) {
  using F32 = typename Isa::F32;
  const F32 dot = __builtin_convertvector((Isa::template dot<Codes, Part>(w, q)), F32);
  return kValue == Value::Min ? Isa::fnma(zero, Isa::set1(sum), dot * scale)
                              : Isa::fnma(zero, Isa::set1(sum), dot) * scale;
}

// Adds all blocks of a tile to `total`; groups are whole blocks.
template <class Isa, class Source, Value kValue, int kRows>
[[gnu::always_inline]] inline void add_blocks(const PlainTile& tile,
                                              typename Isa::F32 (&total)[kRows]) {
  using F32 = typename Isa::F32;
  const BlockScale* x = tile.blocks;
  const int8_t* q = tile.q;
  int64_t block = 0;
  for (int64_t group = 0; group < tile.groups; ++group) {
    const F32 scale = load_lanes<Isa>(tile.scale + group * Isa::kLanes);
    const F32 zero = load_lanes<Isa>(tile.zero + group * Isa::kLanes);
    for (const int64_t end = block + tile.group_blocks; block < end; ++block) {
      typename Isa::U32 w[8];
      Source::load(tile, block, w);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r, ++x, q += kBlock) {
        const F32 sum =
            product<Isa, typename Source::Codes, kValue, WholeBlock>(w, q, scale, zero, x->sum);
        total[r] = Isa::fma(sum, Isa::set1(x->d), total[r]);
      }
    }
  }
}

// The same; groups are an odd number of half blocks.
template <class Isa, class Source, Value kValue, int kRows>
[[gnu::always_inline]] inline void add_half_blocks(const PlainTile& tile,
                                                   typename Isa::F32 (&total)[kRows]) {
  using F32 = typename Isa::F32;
  using Codes = typename Source::Codes;
  const BlockScale* x = tile.blocks;
  const int8_t* q = tile.q;
  const auto group_halves = static_cast<uint32_t>(tile.group_halves);
  const auto num_blocks = static_cast<uint32_t>(tile.groups * tile.group_halves / 2);
  for (uint32_t block = 0; block < num_blocks; ++block) {
    const int64_t first = int64_t{2 * block / group_halves} * Isa::kLanes;
    const int64_t second = int64_t{(2 * block + 1) / group_halves} * Isa::kLanes;
    const F32 scales[] = {load_lanes<Isa>(tile.scale + first),
                          load_lanes<Isa>(tile.scale + second)};
    const F32 zeros[] = {load_lanes<Isa>(tile.zero + first), load_lanes<Isa>(tile.zero + second)};
    typename Isa::U32 w[8];
    Source::load(tile, block, w);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r, ++x, q += kBlock) {
      const F32 sum =
          product<Isa, Codes, kValue, FirstHalf>(w, q, scales[0], zeros[0], x->first_sum) +
          product<Isa, Codes, kValue, SecondHalf>(w, q, scales[1], zeros[1], x->sum - x->first_sum);
      total[r] = Isa::fma(sum, Isa::set1(x->d), total[r]);
    }
  }
}

template <class Isa, class Source, Value kValue, bool kHalves, int kRows>
void run_rows(const PlainTile& tile) {
  using F32 = typename Isa::F32;
  F32 total[kRows] = {};
  if constexpr (kHalves) {
    add_half_blocks<Isa, Source, kValue>(tile, total);
  } else {
    add_blocks<Isa, Source, kValue>(tile, total);
  }
  F32 bias = {};
  if (tile.bias != nullptr) bias = load_lanes<Isa>(tile.bias);
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    const F32 y = tile.bias != nullptr ? total[r] + bias : total[r];
    __builtin_memcpy(tile.y + r * tile.y_stride, &y, sizeof(y));
  }
}

// run_rows for a number of rows known only now, 1..kRows, and, where the format may have them
// (kHalves), for groups of half blocks.
template <class Isa, class Source, Value kValue, bool kHalves, int kRows = Isa::kMaxRows>
void run_tile(const PlainTile& tile, int rows) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return run_tile<Isa, Source, kValue, kHalves, kRows - 1>(tile, rows);
  }
  if constexpr (kHalves) {
    if (tile.group_halves % 2 != 0) return run_rows<Isa, Source, kValue, true, kRows>(tile);
  }
  run_rows<Isa, Source, kValue, false, kRows>(tile);
}

template <class Isa, class Codes>
void unpack_panel(const PlainPanel& panel, int64_t num_blocks, uint8_t* unpacked) {
  for (int64_t block = 0; block < num_blocks; ++block) {
    typename Isa::U32 w[8];
    Codes::load(panel, block, w);
    __builtin_memcpy(unpacked + block * sizeof(w), w, sizeof(w));
  }
}

template <class Isa, class Traits>
constexpr PlainFormatKernels plain_format_kernels() {
  if constexpr (Traits::kInfo.plain) {
    using Codes = typename Unpack<Isa, Traits>::Codes;
    constexpr FormatInfo kInfo = Traits::kInfo;
    constexpr bool kHalves = kInfo.group_multiple % kBlock != 0;
    static_assert(kInfo.group_multiple % (kBlock / 2) == 0);
    static_assert(!kHalves || kInfo.order == KOrder::EvenOdd);
    return {Unpack<Isa, Traits>::load_params, unpack_panel<Isa, Codes>,
            run_tile<Isa, DirectSource<Isa, Codes>, kInfo.value, kHalves>,
            run_tile<Isa, UnpackedSource<Isa, Codes>, kInfo.value, kHalves>};
  } else {
    return {};
  }
}

template <class Isa, class... Traits>
constexpr PlainMmKernels plain_mm_kernels(const char* name, FormatList<Traits...>) {
  return {name, Isa::kLanes, Isa::kMaxRows, {plain_format_kernels<Isa, Traits>()...}};
}

}  // namespace aotiny
