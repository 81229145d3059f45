// softmax(scale·Q x K^T + mask) x V, without ever holding all the scores.
//
// Q [B, H, Tq, D], K and V [B, Hkv, Tk, D], Hkv a divisor of H: query head h reads head h·Hkv/H.
// fp32, fp64, fp16 and bf16; scores and sums are fp32 (fp64 for fp64), the result is rounded once.
#pragma once

#include <cstdint>
#include <iosfwd>

#include "aotiny/core/cpu_features.h"
#include "aotiny/core/dtype.h"

namespace aotiny {

struct Strides4 {
  int64_t batch = 0;  // in elements
  int64_t head = 0;
  int64_t row = 0;
  int64_t column = 0;
};

struct AttentionProblem {
  DType dtype = DType::Float32;
  int64_t batch = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t queries = 0;
  int64_t keys = 0;
  int64_t depth = 0;
  bool causal = false;  // query t sees keys 0..t
  double scale = 1.0;
  DType mask_dtype = DType::Float32;  // that of Q, or fp32
  Strides4 q, k, v, out;
  Strides4 mask;       // 0 where it is broadcast
  Strides4 logsumexp;  // column unused
};

std::ostream& operator<<(std::ostream& out, const AttentionProblem& problem);

struct AttentionOperands {
  const void* q = nullptr;
  const void* k = nullptr;
  const void* v = nullptr;
  const void* mask = nullptr;  // added to the scaled scores; may be null
  void* out = nullptr;         // [B, H, Tq, D]
  void* logsumexp = nullptr;   // [B, H, Tq], fp32 (fp64 for fp64); may be null
};

// A row whose scores are all -infinity, or that sees no key, gives 0 and logsumexp 0, as torch's.
void attention(const AttentionProblem& problem, const AttentionOperands& operands,
               const CpuFeatures& features);

}  // namespace aotiny
