// The kernel, written once over Isa (see plain_mm_unpack.h), which also has
//   kMaxRows                          rows of x in a tile
//   dot<Codes>(const U32 w[8], q)     Σ w·q over a block, exactly; q is 32 int8
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

template <class Isa, class Source, Value kValue, int kRows>
void run_rows(const PlainTile& tile) {
  using F32 = typename Isa::F32;
  F32 total[kRows] = {};
  int64_t block = 0;
  for (int64_t group = 0; group < tile.groups; ++group) {
    F32 scale, zero;
    __builtin_memcpy(&scale, tile.scale + group * Isa::kLanes, sizeof(scale));
    __builtin_memcpy(&zero, tile.zero + group * Isa::kLanes, sizeof(zero));
    for (const int64_t end = block + tile.group_blocks; block < end; ++block) {
      typename Isa::U32 w[8];
      Source::load(tile, block, w);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        const BlockScale& x = tile.blocks[block * kRows + r];
        const int8_t* q = tile.q + (block * kRows + r) * kBlock;
        const F32 dot =
            __builtin_convertvector(Isa::template dot<typename Source::Codes>(w, q), F32);
        const F32 sum = Isa::set1(x.sum);
        const F32 product = kValue == Value::Min ? Isa::fnma(zero, sum, dot * scale)
                                                 : Isa::fnma(zero, sum, dot) * scale;
        total[r] = Isa::fma(product, Isa::set1(x.d), total[r]);
      }
    }
  }
  F32 bias = {};
  if (tile.bias != nullptr) __builtin_memcpy(&bias, tile.bias, sizeof(bias));
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    const F32 y = tile.bias != nullptr ? total[r] + bias : total[r];
    __builtin_memcpy(tile.y + r * tile.y_stride, &y, sizeof(y));
  }
}

// run_rows for a number of rows known only now, 1..kRows.
template <class Isa, class Source, Value kValue, int kRows = Isa::kMaxRows>
void run_tile(const PlainTile& tile, int rows) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return run_tile<Isa, Source, kValue, kRows - 1>(tile, rows);
  }
  run_rows<Isa, Source, kValue, kRows>(tile);
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
    return {Unpack<Isa, Traits>::load_params, unpack_panel<Isa, Codes>,
            run_tile<Isa, DirectSource<Isa, Codes>, Traits::kInfo.value>,
            run_tile<Isa, UnpackedSource<Isa, Codes>, Traits::kInfo.value>};
  } else {
    return {};
  }
}

template <class Isa, class... Traits>
constexpr PlainMmKernels plain_mm_kernels(const char* name, FormatList<Traits...>) {
  return {name, Isa::kLanes, Isa::kMaxRows, {plain_format_kernels<Isa, Traits>()...}};
}

}  // namespace aotiny
