#include "aotiny/kernels/cuda_native_decode_plan.h"

#include <algorithm>
#include <ostream>

namespace aotiny::cuda {
namespace {

constexpr int kMostSplit = 8;  // thread blocks of a cluster that every device with clusters has
constexpr int kMostKept = 16;
constexpr int kPiecesOfWarp = 4;
constexpr int kMostWarps = 4;  // of a team
constexpr int kMostTeams = 4;
// A cluster lies within a group of multiprocessors, and clusters of more than two leave some of a
// group over: of the H200's 132 multiprocessors 30 clusters of 4, or 15 of 8, are under way at
// once.
constexpr int processors_for_clusters(int processors, int split) {
  return split <= 2 ? processors : processors * 10 / 11;
}
constexpr int64_t kMostPieces = int64_t{1} << 24;

int64_t ceil_div(int64_t a, int64_t b) { return (a - 1) / b + 1; }

}  // namespace

NativeDecodePlan plan_native_decode(const NativeDecodeProblem& problem,
                                    const NativeDecodeDevice& device) {
  NativeDecodePlan plan{};
  const int64_t pieces = ceil_div(problem.k, kDecodePiece);
  if (problem.m > kDecodeRows || pieces > kMostPieces) return plan;
  plan.pieces = static_cast<int>(pieces);
  plan.tiles = ceil_div(problem.n, kDecodeTile);
  plan.batch = problem.batch;
  plan.slot = decode_slot_bytes(format_info(problem.format));
  const int rows = problem.m <= 8 ? 8 : 16;
  for (int split = 1; split <= (device.has_clusters ? kMostSplit : 1); split *= 2) {
    if (split > plan.pieces) break;
    plan.rows = rows;
    plan.split = split;
    plan.slice = static_cast<int>(ceil_div(plan.pieces, split));
    // Enough pieces of a tile for each warp, and no warp without: none may pass by a tile.
    plan.warps = std::clamp(plan.pieces / split / kPiecesOfWarp, 1, kMostWarps);
    plan.teams = kDecodeWarps / plan.warps;
    if (plan.teams > kMostTeams) plan.teams = kMostTeams;
    const int processors = processors_for_clusters(device.processors, split);
    const int64_t blocks = std::min<int64_t>(plan.tiles, std::max(1, processors / split));
    plan.columns = blocks * plan.teams;
    const int64_t most = ceil_div(plan.tiles, plan.columns);  // of a team
    plan.round = static_cast<int>(std::min<int64_t>(16 / rows, most));
    plan.kept = split > 1 ? static_cast<int>(std::min<int64_t>(kMostKept, most)) : 0;
    if (plan.shared_bytes(rows) <= device.shared) return plan;
  }
  plan.rows = 0;
  return plan;
}

std::ostream& operator<<(std::ostream& out, const NativeDecodePlan& plan) {
  if (plan.rows == 0) return out << "none";
  return out << "rows=" << plan.rows << " teams=" << plan.teams << " warps=" << plan.warps
             << " split=" << plan.split << " round=" << plan.round << " kept=" << plan.kept
             << " pieces=" << plan.pieces << " slice=" << plan.slice << " tiles=" << plan.tiles
             << " columns=" << plan.columns << " batch=" << plan.batch;
}

}  // namespace aotiny::cuda
