// dequantized_mm of Int4Plain.
#include "aotiny/kernels/cuda_dequantized_mm_kernel.cuh"

namespace aotiny::cuda {

template void dequantized_mm_of<Int4PlainTraits<BFloat16>>(const WeightProduct&,
                                                           const DequantizedMmPlan&, cudaStream_t);
template void dequantized_mm_of<Int4PlainTraits<Float16>>(const WeightProduct&,
                                                          const DequantizedMmPlan&, cudaStream_t);
template void dequantized_mm_of<Int4PlainTraits<float>>(const WeightProduct&,
                                                        const DequantizedMmPlan&, cudaStream_t);

}  // namespace aotiny::cuda
