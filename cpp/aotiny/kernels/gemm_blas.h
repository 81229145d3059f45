// Products of any strides through a BLAS that wants one dimension of each matrix contiguous.
#pragma once

#include "aotiny/kernels/blas.h"
#include "aotiny/kernels/gemm.h"

namespace aotiny {

// fp32 and fp64. `choice.transposed` computes C^T, for a column-major C.
void gemm_blas(const GemmProblem& problem, const GemmOperands& operands, const GemmChoice& choice,
               const Blas& blas);

}  // namespace aotiny
