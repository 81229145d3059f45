// Where an array is not zero, in two steps, so that the caller can make room in between.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "aotiny/core/dtype.h"

namespace aotiny::cuda {

// Fails with InvalidType for dtypes that are not real.
void check_nonzero(DType dtype);

// The number of counts that count_nonzero writes: one a block of the array.
int64_t nonzero_blocks(int64_t numel);

// counts[b] = how many elements of block b of in [numel] are not zero. NaN is not zero, -0 is.
void count_nonzero(DType dtype, const void* in, int64_t numel, int64_t* counts,
                   cudaStream_t stream);

// Dimension d of the i-th element that is not zero, in row-major order of an array of `ndim` sizes
// (on the host), goes to indices[d * found + i], `found` being how many there are. ends[b] is how
// many there are up to the end of block b.
void write_nonzero(DType dtype, const void* in, int64_t numel, const int64_t* sizes, int64_t ndim,
                   const int64_t* ends, int64_t found, int64_t* indices, cudaStream_t stream);

}  // namespace aotiny::cuda
