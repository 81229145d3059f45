// native_decode of PlanarInt6.
#include "aotiny/kernels/cuda_native_decode_kernel.cuh"

namespace aotiny::cuda {

template void native_decode_of<PlanarInt6Traits<Metadata::A>>(const WeightProduct&,
                                                              const NativeDecodePlan&,
                                                              cudaStream_t);
template void native_decode_of<PlanarInt6Traits<Metadata::B>>(const WeightProduct&,
                                                              const NativeDecodePlan&,
                                                              cudaStream_t);
template void native_decode_of<PlanarInt6Traits<Metadata::C>>(const WeightProduct&,
                                                              const NativeDecodePlan&,
                                                              cudaStream_t);

}  // namespace aotiny::cuda
