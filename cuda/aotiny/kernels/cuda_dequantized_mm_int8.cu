// dequantized_mm of Int8.
#include "aotiny/kernels/cuda_dequantized_mm_kernel.cuh"

namespace aotiny::cuda {

template void dequantized_mm_of<Int8Traits<Metadata::A>>(const WeightProduct&,
                                                         const DequantizedMmPlan&, cudaStream_t);
template void dequantized_mm_of<Int8Traits<Metadata::H>>(const WeightProduct&,
                                                         const DequantizedMmPlan&, cudaStream_t);

}  // namespace aotiny::cuda
