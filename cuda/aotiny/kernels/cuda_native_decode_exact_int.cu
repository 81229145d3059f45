// native_decode of ExactInt4 and ExactInt5.
#include "aotiny/kernels/cuda_native_decode_kernel.cuh"

namespace aotiny::cuda {

template void native_decode_of<ExactInt4Traits>(const WeightProduct&, const NativeDecodePlan&,
                                                cudaStream_t);
template void native_decode_of<ExactInt5Traits>(const WeightProduct&, const NativeDecodePlan&,
                                                cudaStream_t);

}  // namespace aotiny::cuda
