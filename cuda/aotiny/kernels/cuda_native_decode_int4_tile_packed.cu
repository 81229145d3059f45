// native_decode of Int4TilePacked.
#include "aotiny/kernels/cuda_native_decode_kernel.cuh"

namespace aotiny::cuda {

template void native_decode_of<Int4TilePackedTraits<2>>(const WeightProduct&,
                                                        const NativeDecodePlan&, cudaStream_t);
template void native_decode_of<Int4TilePackedTraits<4>>(const WeightProduct&,
                                                        const NativeDecodePlan&, cudaStream_t);
template void native_decode_of<Int4TilePackedTraits<8>>(const WeightProduct&,
                                                        const NativeDecodePlan&, cudaStream_t);

}  // namespace aotiny::cuda
