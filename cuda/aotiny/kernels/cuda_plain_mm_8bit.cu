#include "aotiny/kernels/cuda_plain_mm_kernel.cuh"

namespace aotiny::cuda {

template void launch_plain_mm<Int8Traits<Metadata::A>>(const PlainMmArguments&, const PlainMmPlan&,
                                                       cudaStream_t);
template void launch_plain_mm<Int8Traits<Metadata::H>>(const PlainMmArguments&, const PlainMmPlan&,
                                                       cudaStream_t);

}  // namespace aotiny::cuda
