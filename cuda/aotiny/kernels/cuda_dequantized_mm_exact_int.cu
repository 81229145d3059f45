// dequantized_mm of ExactInt4 and ExactInt5.
#include "aotiny/kernels/cuda_dequantized_mm_kernel.cuh"

namespace aotiny::cuda {

template void dequantized_mm_of<ExactInt4Traits>(const WeightProduct&, const DequantizedMmPlan&,
                                                 cudaStream_t);
template void dequantized_mm_of<ExactInt5Traits>(const WeightProduct&, const DequantizedMmPlan&,
                                                 cudaStream_t);

}  // namespace aotiny::cuda
