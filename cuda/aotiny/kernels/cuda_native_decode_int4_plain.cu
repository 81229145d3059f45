// native_decode of Int4Plain.
#include "aotiny/kernels/cuda_native_decode_kernel.cuh"

namespace aotiny::cuda {

template void native_decode_of<Int4PlainTraits<BFloat16>>(const WeightProduct&,
                                                          const NativeDecodePlan&, cudaStream_t);
template void native_decode_of<Int4PlainTraits<Float16>>(const WeightProduct&,
                                                         const NativeDecodePlan&, cudaStream_t);
template void native_decode_of<Int4PlainTraits<float>>(const WeightProduct&,
                                                       const NativeDecodePlan&, cudaStream_t);

}  // namespace aotiny::cuda
