// dequantized_mm of Int4TilePacked.
#include "aotiny/kernels/cuda_dequantized_mm_kernel.cuh"

namespace aotiny::cuda {

template void dequantized_mm_of<Int4TilePackedTraits<2>>(const WeightProduct&,
                                                         const DequantizedMmPlan&, cudaStream_t);
template void dequantized_mm_of<Int4TilePackedTraits<4>>(const WeightProduct&,
                                                         const DequantizedMmPlan&, cudaStream_t);
template void dequantized_mm_of<Int4TilePackedTraits<8>>(const WeightProduct&,
                                                         const DequantizedMmPlan&, cudaStream_t);

}  // namespace aotiny::cuda
