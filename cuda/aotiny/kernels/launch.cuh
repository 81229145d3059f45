// Launching a kernel, with its errors checked.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <utility>

#include "aotiny/core/check.h"

namespace aotiny::cuda {

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, int threads, cudaStream_t stream,
            Arguments&&... arguments) {
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.stream = stream;
  AOTINY_CUDA_CHECK(cudaLaunchKernelEx(&config, kernel, std::forward<Arguments>(arguments)...));
}

// Blocks for a kernel whose threads step through `count` elements, one at a time, by the whole
// grid.
inline dim3 grid_for(int64_t count, int threads) {
  constexpr int64_t kMaxBlocks = 1 << 16;
  return dim3(
      static_cast<unsigned>(std::clamp<int64_t>((count + threads - 1) / threads, 1, kMaxBlocks)));
}

}  // namespace aotiny::cuda
