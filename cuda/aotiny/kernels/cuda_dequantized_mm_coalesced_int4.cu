// dequantized_mm of CoalescedInt4.
#include "aotiny/kernels/cuda_dequantized_mm_kernel.cuh"

namespace aotiny::cuda {

template void dequantized_mm_of<CoalescedInt4Traits<Metadata::A>>(const WeightProduct&,
                                                                  const DequantizedMmPlan&,
                                                                  cudaStream_t);
template void dequantized_mm_of<CoalescedInt4Traits<Metadata::H>>(const WeightProduct&,
                                                                  const DequantizedMmPlan&,
                                                                  cudaStream_t);
template void dequantized_mm_of<CoalescedInt4Traits<Metadata::B>>(const WeightProduct&,
                                                                  const DequantizedMmPlan&,
                                                                  cudaStream_t);
template void dequantized_mm_of<CoalescedInt4Traits<Metadata::C>>(const WeightProduct&,
                                                                  const DequantizedMmPlan&,
                                                                  cudaStream_t);

}  // namespace aotiny::cuda
