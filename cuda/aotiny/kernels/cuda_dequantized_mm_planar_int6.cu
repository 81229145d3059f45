// dequantized_mm of PlanarInt6.
#include "aotiny/kernels/cuda_dequantized_mm_kernel.cuh"

namespace aotiny::cuda {

template void dequantized_mm_of<PlanarInt6Traits<Metadata::A>>(const WeightProduct&,
                                                               const DequantizedMmPlan&,
                                                               cudaStream_t);
template void dequantized_mm_of<PlanarInt6Traits<Metadata::B>>(const WeightProduct&,
                                                               const DequantizedMmPlan&,
                                                               cudaStream_t);
template void dequantized_mm_of<PlanarInt6Traits<Metadata::C>>(const WeightProduct&,
                                                               const DequantizedMmPlan&,
                                                               cudaStream_t);

}  // namespace aotiny::cuda
