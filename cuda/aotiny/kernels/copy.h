// Elementwise copy on one device: any strides, any pair of real dtypes.
#pragma once

#include <cuda_runtime.h>

#include "aotiny/core/device_interface.h"
#include "aotiny/core/sizes_strides.h"

namespace aotiny::cuda {

// Fails with InvalidArgument for more dimensions, after merging, than a tensor can have.
void copy_strided(const StridedCopy& copy, cudaStream_t stream);

}  // namespace aotiny::cuda
