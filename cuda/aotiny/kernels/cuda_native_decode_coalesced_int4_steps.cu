// native_decode of CoalescedInt4 with codes and steps as metadata.
#include "aotiny/kernels/cuda_native_decode_kernel.cuh"

namespace aotiny::cuda {

template void native_decode_of<CoalescedInt4Traits<Metadata::B>>(const WeightProduct&,
                                                                 const NativeDecodePlan&,
                                                                 cudaStream_t);
template void native_decode_of<CoalescedInt4Traits<Metadata::C>>(const WeightProduct&,
                                                                 const NativeDecodePlan&,
                                                                 cudaStream_t);

}  // namespace aotiny::cuda
