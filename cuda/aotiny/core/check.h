// CUDA's error codes as aotiny's Errors.
#pragma once

#include <cuda_runtime.h>

namespace aotiny::cuda {

// Throws an Error that names the expression, the file and the line, and what CUDA says. CUDA's own
// record of the last error is cleared, so that no later check finds it. An error that has ruined
// the process's CUDA context (an illegal address, say) comes back from every later call: it is told
// with its place the first time, and the later calls say that they failed because of it.
[[noreturn, gnu::cold]] void fail_on(cudaError_t code, const char* expression, const char* file,
                                     int line);

}  // namespace aotiny::cuda

#define AOTINY_CUDA_CHECK(expression)                                        \
  do {                                                                       \
    const cudaError_t aotiny_code = (expression);                            \
    if (aotiny_code != cudaSuccess) [[unlikely]] {                           \
      ::aotiny::cuda::fail_on(aotiny_code, #expression, __FILE__, __LINE__); \
    }                                                                        \
  } while (false)
