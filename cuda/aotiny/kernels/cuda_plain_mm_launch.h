// What the kernels of plain_mm take, and the launcher that each format has.
#pragma once

#include <cuda_runtime.h>

#include "aotiny/kernels/cuda_plain_mm_plan.h"
#include "aotiny/kernels/cuda_quantize_activations.h"
#include "aotiny/quant/weight_kernels.h"

namespace aotiny::cuda {

struct PlainMmArguments {
  DeviceWeight weight;  // [B, N, K]
  int64_t m;
  const int8_t* q;               // [B, m, K]
  const BlockNumbers* blocks;    // [B, m, K / 32]
  const float* bias;             // [N], or null
  DType dtype;                   // of y: float32, float16 or bfloat16
  void* y;                       // [B, m, N]
  int64_t chunks, tiles, items;  // the plan's
};

// Instances are in cuda_plain_mm_4bit.cu and its neighbours, several files so that they compile at
// the same time.
template <class Traits>
void launch_plain_mm(const PlainMmArguments& arguments, const PlainMmPlan& plan,
                     cudaStream_t stream);

}  // namespace aotiny::cuda
