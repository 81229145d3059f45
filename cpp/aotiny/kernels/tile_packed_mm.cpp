#include "aotiny/kernels/tile_packed_mm.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "aotiny/core/parallel.h"
#include "aotiny/core/scratch.h"

namespace aotiny {

bool has_tile_packed_mm(FormatId format, DType activations, const CpuFeatures& features) noexcept {
#if defined(__x86_64__)
  return features.avx512_bf16 && activations == DType::BFloat16 &&
         std::string_view(format_info(format).name) == "Int4TilePacked";
#else
  static_cast<void>(format);
  static_cast<void>(activations);
  static_cast<void>(features);
  return false;
#endif
}

#if defined(__x86_64__)
namespace {

constexpr int64_t kTileRows = 8;
constexpr int64_t kPanelRows = 16;           // whose scales and zeros fill a cache line
constexpr int64_t kStretch = 1024;           // of k: eight rows of W and six of x in the L1 cache
constexpr int64_t kGrainProducts = 1 << 19;  // multiply-adds that outweigh a thread's start
constexpr int64_t kUnpackRows = 8;           // unpacking costs as much as this many rows of x

// Scales and zeros of a panel, [groups][kPanelRows]. From group to group they lie far apart, so the
// next panel's are fetched now.
void load_pairs(const Weight& weight, int64_t b, int64_t n0, int64_t rows, uint32_t* pairs) {
  const WeightRow first = weight.row(n0, b);
  const BFloat16* from = first.as<BFloat16>(1);
  for (int64_t group = 0; group < weight.k() / weight.group_size(); ++group) {
    __builtin_prefetch(from + 2 * kPanelRows, 0, 2);
    std::memcpy(pairs, from, static_cast<size_t>(rows) * sizeof(uint32_t));
    from += first.step[1];
    pairs += kPanelRows;
  }
}

void multiply_tile(const Weight& weight, const TilePackedMmArgs& args, int64_t n0,
                   const uint32_t* unpacked, float* sums) {
  const int64_t k = weight.k(), n = weight.n();
  for (int64_t k0 = 0; k0 < k; k0 += kStretch) {
    for (int64_t m = 0; m < args.m; m += kTilePackedXRows) {
      const auto rows = static_cast<int>(std::min<int64_t>(kTilePackedXRows, args.m - m));
      multiply_tile_rows_avx512bf16({.pairs = unpacked + k0 * kTileRows / 2,
                                     .k = std::min(kStretch, k - k0),
                                     .x = args.x + m * args.x_row + k0,
                                     .x_row = args.x_row,
                                     .first = k0 == 0,
                                     .last = k0 + kStretch >= k,
                                     .sums = sums + m * kTileRows,
                                     .bias = args.bias == nullptr ? nullptr : args.bias + n0,
                                     .y = args.y + m * n + n0,
                                     .y_row = n},
                                    rows);
    }
  }
}

}  // namespace

void tile_packed_mm(const Weight& weight, int64_t b, const TilePackedMmArgs& args) {
  if (args.m == 0) return;
  const int64_t n = weight.n(), k = weight.k();
  const int64_t grain = 1 + kGrainProducts / (kPanelRows * k * (args.m + kUnpackRows));
  parallel_for((n + kPanelRows - 1) / kPanelRows, grain, [&](int64_t begin, int64_t end) {
    const Scratch<uint32_t> pairs(k / weight.group_size() * kPanelRows);
    const Scratch<uint32_t> unpacked(kTileRows * k / 2);
    const Scratch<float> sums(args.m * kTileRows);
    for (int64_t panel = begin; panel < end; ++panel) {
      const int64_t first = panel * kPanelRows, last = std::min(n, first + kPanelRows);
      load_pairs(weight, b, first, last - first, pairs.data());
      for (int64_t n0 = first; n0 < last; n0 += kTileRows) {
        const WeightRow row = weight.row(n0, b);
        unpack_tile_rows_avx512bf16({.words = row.as<uint32_t>(0),
                                     .words_step = row.step[0],
                                     .words_per_lane = weight.info().planes[0].count,
                                     .pairs = pairs.data() + (n0 - first),
                                     .pairs_step = kPanelRows,
                                     .k = k,
                                     .group_size = weight.group_size()},
                                    unpacked.data());
        multiply_tile(weight, args, n0, unpacked.data(), sums.data());
      }
    }
  });
}
#else
void tile_packed_mm(const Weight& weight, int64_t, const TilePackedMmArgs&) {
  fail(Status::NotSupported, "tile_packed_mm: there is none here for ", weight.info().name);
}
#endif

}  // namespace aotiny
