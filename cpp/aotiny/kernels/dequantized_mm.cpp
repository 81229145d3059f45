#include "aotiny/kernels/dequantized_mm.h"

#include <algorithm>
#include <ostream>

#include "aotiny/core/parallel.h"
#include "aotiny/core/scratch.h"
#include "aotiny/kernels/dequantize.h"
#include "aotiny/kernels/gemm.h"

namespace aotiny {
namespace {

constexpr int64_t kPanelUnit = 8;            // rows that share the tiles of a format
constexpr int64_t kPanelRows = 64;           // columns of y that gemm finishes at once
constexpr int64_t kPanelBytes = 256 * 1024;  // to stay in the L2 cache
constexpr int64_t kDepth = 512;              // of k at once: a dozen rows of x stay in the L1 cache
constexpr int64_t kGrainProducts = 1 << 19;  // multiply-adds that outweigh a thread's start
constexpr int64_t kDequantizeRows = 8;       // dequantizing costs as much as this many rows of x

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// y[:, n0:n0+rows] of weight b from these rows of W.
void multiply_panel(const Weight& weight, const DequantizedMmArgs& args, int64_t b, int64_t n0,
                    int64_t rows, const float* panel, const CpuFeatures& features) {
  const int64_t k = weight.k(), n = weight.n();
  float* y = args.y + b * args.m * n + n0;
  const Strides2 y_strides{n, 1};
  for (int64_t k0 = 0; k0 < k; k0 += kDepth) {
    const GemmProblem problem{.m = args.m,
                              .n = rows,
                              .k = std::min(kDepth, k - k0),
                              .a = {args.x_row, 1},
                              .b = {1, k},
                              .c = y_strides};
    GemmOperands operands{.a = args.x + b * args.x_batch + k0, .b = panel + k0, .c = y};
    if (k0 > 0) {
      operands.d = y;
      operands.d_strides = y_strides;
      operands.beta = 1;
    } else if (args.bias != nullptr) {
      operands.d = args.bias + n0;
      operands.d_strides = {0, 1};
      operands.beta = 1;
    }
    // Always this path, and never transposed: its sums have one order.
    gemm(problem, operands, {.path = GemmPath::Dot}, features);
  }
}

}  // namespace

DequantizedMmPlan plan_dequantized_mm(const DequantizedMmProblem& problem) {
  const auto whole = [](int64_t rows) { return ceil_div(rows, kPanelUnit) * kPanelUnit; };
  DequantizedMmPlan plan;
  plan.panel_rows =
      std::clamp(kPanelBytes / (problem.k * int64_t{sizeof(float)}) / kPanelUnit * kPanelUnit,
                 kPanelUnit, kPanelRows);
  // Few panels: smaller ones, so that every thread has one.
  const int64_t each = ceil_div(problem.threads, std::max<int64_t>(problem.batch, 1));
  plan.panel_rows = std::min(plan.panel_rows, whole(ceil_div(problem.n, each)));
  plan.grain =
      ceil_div(kGrainProducts, plan.panel_rows * problem.k * (problem.m + kDequantizeRows));
  return plan;
}

std::ostream& operator<<(std::ostream& out, const DequantizedMmProblem& problem) {
  return out << "dequantized_mm batch=" << problem.batch << " m=" << problem.m << " n=" << problem.n
             << " k=" << problem.k << " threads=" << problem.threads;
}

std::ostream& operator<<(std::ostream& out, const DequantizedMmPlan& plan) {
  return out << "panel_rows=" << plan.panel_rows << " grain=" << plan.grain;
}

void dequantized_mm(const Weight& weight, const DequantizedMmArgs& args,
                    const CpuFeatures& features) {
  if (args.m == 0) return;
  const DequantizedMmPlan plan =
      plan_dequantized_mm({weight.batch(), args.m, weight.n(), weight.k(), max_threads()});
  const int64_t panels = ceil_div(weight.n(), plan.panel_rows);
  parallel_for(weight.batch() * panels, plan.grain, [&](int64_t begin, int64_t end) {
    const Scratch<float> panel(plan.panel_rows * weight.k());
    for (int64_t i = begin; i < end; ++i) {
      const int64_t b = i / panels, n0 = i % panels * plan.panel_rows;
      const int64_t rows = std::min(plan.panel_rows, weight.n() - n0);
      dequantize_rows(weight, b, n0, n0 + rows, panel.data(), features);
      multiply_panel(weight, args, b, n0, rows, panel.data(), features);
    }
  });
}

}  // namespace aotiny
