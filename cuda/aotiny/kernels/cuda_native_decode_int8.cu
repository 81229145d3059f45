// native_decode of Int8.
#include "aotiny/kernels/cuda_native_decode_kernel.cuh"

namespace aotiny::cuda {

template void native_decode_of<Int8Traits<Metadata::A>>(const WeightProduct&,
                                                        const NativeDecodePlan&, cudaStream_t);
template void native_decode_of<Int8Traits<Metadata::H>>(const WeightProduct&,
                                                        const NativeDecodePlan&, cudaStream_t);

}  // namespace aotiny::cuda
