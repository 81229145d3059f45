// Int4TilePacked: 4-bit codes in the order in which a warp's tensor-core instruction takes them, as
// torch's tinygemm kernel `_weight_int4pack_mm` reads them.
//
//   value(n, k) = (q − 8)·scale + zero,  q in 0..15, scale and zero of group k / g
//
//   qdata             i32  [N/8, K/(16·t), 32, t/2]   t "inner k-tiles": 2, 4 or 8
//   scales_and_zeros  bf16 [K/g, N, 2]
//
// Lane l of a tile serves row n = 8·tile + l / 4. In a k-tile, 16 along k, it has the four codes at
//   k = 2·(l mod 4) + {0, 1, 8, 9}
// A word has two k-tiles one after the other: v0..v3 of the first and v4..v7 of the second.
//
//   bit  31..28 27..24 23..20 19..16 15..12 11..8  7..4  3..0
//          v7     v5     v3     v1     v6     v4    v2    v0
//
// So a row of W has, of every tile of 16·t along k, the 4·(t/2) words of its four lanes.
// g is 32, 64, 128 or 256; N is a multiple of 8, K of 16·t.
#pragma once

#include "aotiny/quant/format.h"
#include "aotiny/quant/steps.h"

namespace aotiny {

template <int kInnerKTiles>
struct Int4TilePackedTraits {
  static_assert(kInnerKTiles == 2 || kInnerKTiles == 4 || kInnerKTiles == 8);
  static constexpr PlaneSpec kPlanes[] = {
      {"qdata", DType::Int32, Per::Weight, kInnerKTiles / 2, Layout::Tiles},
      {"scales_and_zeros", DType::BFloat16, Per::Group, 2, Layout::Groups},
  };
  static constexpr int64_t kGroupSizes[] = {32, 64, 128, 256};
  static constexpr int64_t kTileK = 16 * kInnerKTiles;
  static constexpr FormatInfo kInfo{.name = "Int4TilePacked",
                                    .variant = kInnerKTiles == 2   ? "2"
                                               : kInnerKTiles == 4 ? "4"
                                                                   : "8",
                                    .bits = 4,
                                    .planes = kPlanes,
                                    .value = Value::Min,
                                    .plain = false,
                                    .group_sizes = kGroupSizes,
                                    .n_multiple = 8,
                                    .k_multiple = kTileK};
  static constexpr int kMinCode = -8;
  static constexpr int kMaxCode = 7;

  // The scale and min (−zero) that suit a group with values lo..hi: the lower end is held under the
  // scale as it will be stored.
  static GroupParams params_of_range(double lo, double hi) {
    const BFloat16 stored(static_cast<float>((hi - lo) / (kMaxCode - kMinCode)));
    const double scale = static_cast<float>(stored);
    return {scale, kMinCode * scale - lo};
  }

  static void encode_params(const GroupParams* params, int64_t groups, int64_t /*group_size*/,
                            WeightRow row) {
    for (int64_t i = 0; i < groups; ++i) {
      BFloat16* pair = row.as<BFloat16>(1) + i * row.step[1];
      pair[0] = BFloat16(static_cast<float>(params[i].scale));
      pair[1] = BFloat16(static_cast<float>(-params[i].zero));
    }
  }

  static void decode_params(WeightRow row, int64_t groups, int64_t /*group_size*/, float* scale,
                            float* min) {
    for (int64_t i = 0; i < groups; ++i) {
      const BFloat16* pair = row.as<BFloat16>(1) + i * row.step[1];
      scale[i] = static_cast<float>(pair[0]);
      min[i] = -static_cast<float>(pair[1]);
    }
  }

  static void pack_codes(const int* codes, int64_t k, WeightRow row) {
    visit_words(row, k, [&](uint32_t* word, const int* k_of) {
      *word = 0;
      for (int i = 0; i < 8; ++i) {
        *word |= static_cast<uint32_t>(codes[k_of[i]] + 8) << (4 * i);
      }
    });
  }

  static void unpack_codes(WeightRow row, int64_t k, int* codes) {
    visit_words(row, k, [&](const uint32_t* word, const int* k_of) {
      for (int i = 0; i < 8; ++i) {
        codes[k_of[i]] = static_cast<int>(*word >> (4 * i) & 15) - 8;
      }
    });
  }

 private:
  // Calls f(word, k of its eight nibbles from the lowest on) for every word of the row.
  template <class F>
  static void visit_words(WeightRow row, int64_t k, const F& f) {
    constexpr int kOffsets[] = {0, 8, 16, 24, 1, 9, 17, 25};  // v0 v2 v4 v6 v1 v3 v5 v7
    for (int64_t tile = 0; tile < k / kTileK; ++tile) {
      uint32_t* words = row.as<uint32_t>(0) + tile * row.step[0];
      for (int lane = 0; lane < 4; ++lane) {
        for (int pair = 0; pair < kInnerKTiles / 2; ++pair) {
          int k_of[8];
          for (int i = 0; i < 8; ++i) {
            k_of[i] = static_cast<int>(tile * kTileK) + 32 * pair + 2 * lane + kOffsets[i];
          }
          f(words + lane * (kInnerKTiles / 2) + pair, k_of);
        }
      }
    }
  }
};

}  // namespace aotiny
