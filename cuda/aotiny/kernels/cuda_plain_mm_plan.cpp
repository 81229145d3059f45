#include "aotiny/kernels/cuda_plain_mm_plan.h"

#include <algorithm>
#include <ostream>

namespace aotiny::cuda {
namespace {

constexpr int64_t kMaxGrid = 2147483647;
// Kernels have the size of a group, which may be K, and count half blocks of a row in 32 bits.
constexpr int64_t kMaxK = int64_t{1} << 31;

int64_t ceil_div(int64_t a, int64_t b) { return a / b + (a % b != 0); }

}  // namespace

PlainMmPlan plan_plain_mm(const PlainMmProblem& problem) {
  require(problem.k <= kMaxK, Status::InvalidArgument, problem, ": K is above ", kMaxK);
  PlainMmPlan plan;
  plan.rows_x = problem.m == 1 ? 1 : problem.m == 2 ? 2 : problem.m <= 4 ? 4 : 8;
  plan.rows_w = plain_mm_rows_w(plan.rows_x);
  plan.halves = problem.group_size % kBlock != 0;
  plan.chunks = ceil_div(problem.m, plan.rows_x);
  plan.tiles = ceil_div(problem.n, kPlainMmWarps * plan.rows_w);
  int64_t items = 0;
  require(!__builtin_mul_overflow(plan.chunks, plan.tiles, &items) &&
              !__builtin_mul_overflow(items, problem.batch, &plan.items),
          Status::InvalidArgument, problem, ": the product has too many elements");
  plan.grid = std::min(plan.items, kMaxGrid);
  return plan;
}

std::ostream& operator<<(std::ostream& out, const PlainMmProblem& problem) {
  const FormatInfo& info = format_info(problem.format);
  return out << "plain_mm " << info.name << info.variant << " batch=" << problem.batch
             << " m=" << problem.m << " n=" << problem.n << " k=" << problem.k
             << " g=" << problem.group_size;
}

std::ostream& operator<<(std::ostream& out, const PlainMmPlan& plan) {
  return out << "rows_x=" << plan.rows_x << " rows_w=" << plan.rows_w
             << (plan.halves ? " halves" : "") << " chunks=" << plan.chunks
             << " tiles=" << plan.tiles << " items=" << plan.items << " grid=" << plan.grid;
}

}  // namespace aotiny::cuda
