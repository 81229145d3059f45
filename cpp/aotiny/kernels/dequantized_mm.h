// y = x W^T with weights that are dequantized and activations as they are, in fp32.
//
// A thread dequantizes a panel of rows of W, which then stays in its cache, and multiplies all rows
// of x by it. Every element of y is a sum over stretches of k, in their order, of vectors along k,
// whatever the shape of the problem is: it depends neither on the other rows of x nor on the number
// of threads, bit for bit.
#pragma once

#include <iosfwd>

#include "aotiny/core/cpu_features.h"
#include "aotiny/quant/weight.h"

namespace aotiny {

struct DequantizedMmProblem {
  int64_t batch, m, n, k;
  int threads;
};

struct DequantizedMmPlan {
  int64_t panel_rows;  // a multiple of 8
  int64_t grain;       // panels that are worth a thread's start

  bool operator==(const DequantizedMmPlan&) const = default;
};

DequantizedMmPlan plan_dequantized_mm(const DequantizedMmProblem& problem);
std::ostream& operator<<(std::ostream& out, const DequantizedMmProblem& problem);
std::ostream& operator<<(std::ostream& out, const DequantizedMmPlan& plan);

struct DequantizedMmArgs {
  int64_t m;
  const float* x;     // [B, m, K], unit stride along K; B is 1 if the weight is no stack
  int64_t x_batch;    // elements from matrix to matrix
  int64_t x_row;      // and from row to row
  const float* bias;  // [N], or null
  float* y;           // [B, m, N], contiguous
};

void dequantized_mm(const Weight& weight, const DequantizedMmArgs& args,
                    const CpuFeatures& features = cpu_features());

}  // namespace aotiny
