// The kernel, written once over Isa (see plain_mm_unpack.h), which also has
//   kDirectRows, kTileRows, kPanels   rows of x in a tile, and panels in an unpacked one
//   dot<Codes, Part>(const U32 w[8], q)   Σ w·q over a part of a block, exactly; q is 32 int8
//   kStepwise                         or, if it is set, of four k at a time in every lane:
//   step(I32 sum, U32 w, U32 q)       sum + Σ w·q
//   in_register(U32 w)                w, and a compiler that would load it for every row does not
//   set1(x)                           x in every lane
//   fma(a, b, c), fnma(a, b, c)       a·b + c and c − a·b
#pragma once

#include "aotiny/kernels/plain_mm_unpack.h"

namespace aotiny {

// To the L2 cache: a panel and the next do not fit into the L1 cache together. (Not inlined, it
// would be a function without effects, whose calls compilers drop.)
template <class Isa>
[[gnu::always_inline]] inline void fetch_next(const PlainTile& tile, int64_t block,
                                              int num_blocks) {
  const uint8_t* next = tile.next + block * tile.next_bytes;
  for (int64_t i = 0; i < num_blocks * tile.next_bytes; i += 64) {
    __builtin_prefetch(next + i, 0, 2);
  }
}

// Where a tile's weights come from: the packed format ...
template <class Isa, class CodesT>
struct DirectSource {
  using Codes = CodesT;
  static constexpr int kPanels = 1;
  static constexpr int kRun = Codes::kRun;

  void load(const PlainTile& tile, int64_t block) {
    fetch_next<Isa>(tile, block, kRun);
    codes_.load(tile.packed, block);
  }
  template <int kIndex>
  void get(typename Isa::U32 (&w)[1][8]) const {
    codes_.template get<kIndex>(w[0]);
  }

 private:
  Codes codes_;
};

// ... or unpacked panels.
template <class Isa, class CodesT>
struct UnpackedSource {
  using Codes = CodesT;
  using U32 = typename Isa::U32;
  static constexpr int kPanels = Isa::kPanels;
  static constexpr int kRun = 1;

  void load(const PlainTile& tile, int64_t block) {
    fetch_next<Isa>(tile, block, 1);
    at_ = tile.unpacked + block * int64_t{sizeof(U32[8][kPanels])};
  }
  template <int kIndex>
  void get(U32 (&w)[kPanels][8]) const {
    for (int i = 0; i < 8; ++i) {
      for (int p = 0; p < kPanels; ++p) {
        __builtin_memcpy(&w[p][i], at_ + (i * kPanels + p) * sizeof(U32), sizeof(U32));
      }
    }
  }

 private:
  const uint8_t* at_;
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

// Σ w·q over a part of a block, for every row of x and every panel.
template <class Isa, class Codes, class Part, int kRows, int kPanels>
[[gnu::always_inline]] inline void dots(const typename Isa::U32 (&w)[kPanels][8], const int8_t* q,
                                        typename Isa::I32 (&sums)[kRows][kPanels]) {
  using U32 = typename Isa::U32;
  if constexpr (Isa::kStepwise) {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int p = 0; p < kPanels; ++p) sums[r][p] = typename Isa::I32{};
    }
#pragma GCC unroll 8
    for (const int vector : Part::kVectors) {
      U32 codes[kPanels];
#pragma GCC unroll 4
      for (int p = 0; p < kPanels; ++p) codes[p] = Isa::in_register(w[p][vector]);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        uint32_t four;
        __builtin_memcpy(&four, q + r * kBlock + 4 * vector, sizeof(four));
        const U32 x = U32{} + four;
#pragma GCC unroll 4
        for (int p = 0; p < kPanels; ++p) {
          sums[r][p] = Isa::template step<Codes>(sums[r][p], codes[p], x);
        }
      }
    }
  } else {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int p = 0; p < kPanels; ++p) {
        sums[r][p] = Isa::template dot<Codes, Part>(w[p], q + r * kBlock);
      }
    }
  }
}

// Σ value·qx over 32 or 16 k of one group, but for d, given Σ qw·qx and Σ qx.
template <class Isa, Value kValue>
[[gnu::always_inline]] inline typename Isa::F32 value_sum(typename Isa::I32 dot,
                                                          typename Isa::F32 scale,
                                                          typename Isa::F32 zero, float sum) {
  using F32 = typename Isa::F32;
  const F32 codes = __builtin_convertvector(dot, F32);
  return kValue == Value::Min ? Isa::fnma(zero, Isa::set1(sum), codes * scale)
                              : Isa::fnma(zero, Isa::set1(sum), codes) * scale;
}

// Where the numbers of a group stand, from one group's block (or half) to the next.
struct GroupCursor {
  int64_t length;  // blocks or halves in a group
  int64_t lanes;
  int64_t left = length;
  int64_t offset = 0;

  void next() {
    if (--left == 0) {
      left = length;
      offset += lanes;
    }
  }
};

// One block: adds d·(what value_sum says), of its two halves where groups end in the middle of
// blocks, to `totals`.
template <class Isa, class Codes, Value kValue, bool kHalves, int kRows, int kPanels>
[[gnu::always_inline]] inline void add_block(const PlainTile& tile,
                                             const typename Isa::U32 (&w)[kPanels][8],
                                             const int8_t* q, const BlockScale* x,
                                             GroupCursor& group,
                                             typename Isa::F32 (&totals)[kRows][kPanels]) {
  using F32 = typename Isa::F32;
  typename Isa::I32 sums[kRows][kPanels];
  F32 halves[kRows][kPanels];
  const auto param = [&](const float* params, int panel) {
    return load_lanes<Isa>(params + group.offset + panel * tile.params_stride);
  };
  if constexpr (kHalves) {
    dots<Isa, Codes, FirstHalf>(w, q, sums);
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) {
      const F32 scale = param(tile.scale, p), zero = param(tile.zero, p);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        halves[r][p] = value_sum<Isa, kValue>(sums[r][p], scale, zero, x[r].first_sum);
      }
    }
    group.next();
    dots<Isa, Codes, SecondHalf>(w, q, sums);
  } else {
    dots<Isa, Codes, WholeBlock>(w, q, sums);
  }
#pragma GCC unroll 4
  for (int p = 0; p < kPanels; ++p) {
    const F32 scale = param(tile.scale, p), zero = param(tile.zero, p);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const float sum = kHalves ? x[r].sum - x[r].first_sum : x[r].sum;
      F32 value = value_sum<Isa, kValue>(sums[r][p], scale, zero, sum);
      if constexpr (kHalves) value = halves[r][p] + value;
      totals[r][p] = Isa::fma(value, Isa::set1(x[r].d), totals[r][p]);
    }
  }
  group.next();
}

template <class Isa, class Source, Value kValue, bool kHalves, int kRows>
void run_rows(const PlainTile& tile) {
  using F32 = typename Isa::F32;
  constexpr int kPanels = Source::kPanels;
  F32 totals[kRows][kPanels] = {};
  const auto sums = [&tile](int row, int panel) {
    return tile.sums + row * tile.sums_stride + panel * Isa::kLanes;
  };
  if (!tile.first) {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int p = 0; p < kPanels; ++p) totals[r][p] = load_lanes<Isa>(sums(r, p));
    }
  }
  const int8_t* q = tile.q;
  const BlockScale* x = tile.blocks;
  GroupCursor group{kHalves ? tile.group_halves : tile.group_blocks, Isa::kLanes};
  for (int64_t block = 0; block < tile.num_blocks; block += Source::kRun) {
    Source source;
    source.load(tile, block);
    const auto add = [&]<int kIndex>(std::integral_constant<int, kIndex>)
        __attribute__((always_inline)) {
      if (kIndex > 0 && block + kIndex >= tile.num_blocks) return;
      typename Isa::U32 w[kPanels][8];
      source.template get<kIndex>(w);
      add_block<Isa, typename Source::Codes, kValue, kHalves>(tile, w, q, x, group, totals);
      q += kRows * kBlock;
      x += kRows;
    };
    [&]<int... kIndex>(std::integer_sequence<int, kIndex...>) __attribute__((always_inline)) {
      (add(std::integral_constant<int, kIndex>{}), ...);
    }
    (std::make_integer_sequence<int, Source::kRun>{});
  }
#pragma GCC unroll 4
  for (int p = 0; p < kPanels; ++p) {
    const F32 bias = tile.bias == nullptr ? F32{} : load_lanes<Isa>(tile.bias + p * Isa::kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const F32 sum = tile.bias == nullptr ? totals[r][p] : totals[r][p] + bias;
      __builtin_memcpy(sums(r, p), &sum, sizeof(sum));
    }
  }
}

// run_rows for a number of rows known only now, 1..kRows, and, where the format may have them
// (kHalves), for groups of half blocks.
template <class Isa, class Source, Value kValue, bool kHalves, int kRows>
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
  using U32 = typename Isa::U32;
  for (int64_t block = 0; block < num_blocks; block += Codes::kRun) {
    Codes codes;
    codes.load(panel, block);
    const auto store = [&]<int kIndex>(std::integral_constant<int, kIndex>) {
      if (kIndex > 0 && block + kIndex >= num_blocks) return;
      U32 w[8];
      codes.template get<kIndex>(w);
      for (int i = 0; i < 8; ++i) {
        const int64_t vector = ((block + kIndex) * 8 + i) * Isa::kPanels;
        __builtin_memcpy(unpacked + vector * int64_t{sizeof(U32)}, &w[i], sizeof(U32));
      }
    };
    [&]<int... kIndex>(std::integer_sequence<int, kIndex...>) {
      (store(std::integral_constant<int, kIndex>{}), ...);
    }
    (std::make_integer_sequence<int, Codes::kRun>{});
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
            run_tile<Isa, DirectSource<Isa, Codes>, kInfo.value, kHalves, Isa::kDirectRows>,
            run_tile<Isa, UnpackedSource<Isa, Codes>, kInfo.value, kHalves, Isa::kTileRows>};
  } else {
    return {};
  }
}

template <class Isa, class... Traits>
constexpr PlainMmKernels plain_mm_kernels(const char* name, FormatList<Traits...>) {
  return {name,           Isa::kLanes,
          Isa::kPanels,   Isa::kDirectRows,
          Isa::kTileRows, {plain_format_kernels<Isa, Traits>()...}};
}

}  // namespace aotiny
