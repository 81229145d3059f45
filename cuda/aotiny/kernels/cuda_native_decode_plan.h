// How a product of few rows is launched: a pure function of the shape and the device, which can be
// printed and tested without a GPU.
#pragma once

#include <cstdint>
#include <iosfwd>

#include "aotiny/quant/formats.h"

namespace aotiny::cuda {

inline constexpr int kDecodeRows = 16;    // of x, at most
inline constexpr int kDecodeTile = 16;    // rows of W that a warp multiplies at a time,
inline constexpr int kDecodePiece = 128;  // and how far along K
inline constexpr int kDecodeWarps = 16;   // of a thread block, at most
inline constexpr int kDecodeStages = 3;   // pieces of a warp under way

// Bytes that wait in shared memory for a piece: codes, 32 of a row for each of two rows and 32
// lanes, and the pairs of scale and zero that come with tiles.
constexpr int decode_slot_bytes(const FormatInfo& info) {
  int of_block = 0;
  for (const PlaneSpec& plane : info.planes) {
    if (plane.layout == Layout::Tiles) return 2 * 32 * (16 + 4);
    if (plane.per == Per::Weight) of_block += 32 / plane.count;  // elements are bytes
  }
  return 2 * 32 * of_block;
}

struct NativeDecodeProblem {
  FormatId format;
  int64_t batch, m, n, k;
};

struct NativeDecodeDevice {
  int processors;
  int64_t shared;     // bytes of shared memory that a thread block can have
  bool has_clusters;  // of thread blocks
};

struct NativeDecodePlan {
  int rows;         // of x that a warp multiplies: 8 or 16
  int teams;        // of a thread block
  int warps;        // of a team
  int split;        // thread blocks that share a tile, each with a part of K: a cluster
  int round;        // tiles of a team between two sums over its warps,
  int kept;         // and between two sums over a cluster; 0 without
  int pieces;       // of kDecodePiece along K
  int slice;        // pieces that a thread block has, at most
  int64_t tiles;    // of kDecodeTile rows of a weight
  int64_t columns;  // of teams (of clusters): each takes every columns-th tile, if there is one
  int64_t batch;
  int slot;  // decode_slot_bytes of the format

  // Of shared memory, with m rows of x: sums of the warps for two rounds, sums that are kept for
  // the cluster, codes that wait, x.
  constexpr int64_t shared_bytes(int64_t m) const {
    const int64_t lanes_of_tile = int64_t{rows / 8} * 32 * 16;
    return int64_t{teams} * (2 * round * warps + kept) * lanes_of_tile +
           int64_t{teams * warps} * kDecodeStages * slot +
           (int64_t{slice} * kDecodePiece * 2 + 16) * m;
  }

  bool operator==(const NativeDecodePlan&) const = default;
};

// Every size is at least 1. Everything but the number of thread blocks for stacks is the same for
// any 1..8 rows of x, and for any 9..16, so that a row's sums are the same too. No plan, `rows` =
// 0, where x has more rows or a part of it that is small enough for shared memory does not exist.
NativeDecodePlan plan_native_decode(const NativeDecodeProblem& problem,
                                    const NativeDecodeDevice& device);
std::ostream& operator<<(std::ostream& out, const NativeDecodePlan& plan);

}  // namespace aotiny::cuda
