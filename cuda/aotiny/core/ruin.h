// Which errors of CUDA are the end of it for this process.
#pragma once

#include <cuda_runtime.h>

namespace aotiny::cuda {

// Whether an error leaves a context that is of no more use: every later call fails with it too.
bool is_ruin(cudaError_t code) noexcept;

}  // namespace aotiny::cuda
