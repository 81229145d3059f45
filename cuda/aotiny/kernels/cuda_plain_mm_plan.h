// How a plain_mm is launched: a pure function of the shape, which can be printed and tested
// without a GPU.
#pragma once

#include <cstdint>
#include <iosfwd>

#include "aotiny/quant/formats.h"

namespace aotiny::cuda {

struct PlainMmProblem {
  FormatId format;
  int64_t batch, m, n, k, group_size;
};

// A warp computes rows_w columns of y for rows_x of its rows. Thread blocks of kPlainMmWarps warps
// take items: rows_x rows of x (a chunk) against kPlainMmWarps·rows_w rows of W (a tile) of one
// weight of a stack.
struct PlainMmPlan {
  int rows_x;      // 1, 2, 4 or 8
  int rows_w;      // plain_mm_rows_w(rows_x)
  bool halves;     // groups end in the middle of blocks of 32
  int64_t chunks;  // of x
  int64_t tiles;   // of W
  int64_t items;   // chunks · tiles · batch
  int64_t grid;    // thread blocks; where there are more items, each takes several

  bool operator==(const PlainMmPlan&) const = default;
};

inline constexpr int kPlainMmWarps = 4;

// One row of x leaves nothing to reuse, and many warps are wanted to keep the memory busy; with
// more, the codes of x that a thread has loaded serve more rows of W.
constexpr int plain_mm_rows_w(int rows_x) { return rows_x == 1 ? 1 : rows_x == 2 ? 2 : 4; }

// Every size is at least 1. Fails with InvalidArgument, with the numbers, where the items or the
// groups cannot be counted.
PlainMmPlan plan_plain_mm(const PlainMmProblem& problem);
std::ostream& operator<<(std::ostream& out, const PlainMmProblem& problem);
std::ostream& operator<<(std::ostream& out, const PlainMmPlan& plan);

}  // namespace aotiny::cuda
