#include "aotiny/kernels/cuda_plain_mm_kernel.cuh"

namespace aotiny::cuda {

template void launch_plain_mm<ExactInt4Traits>(const PlainMmArguments&, const PlainMmPlan&,
                                               cudaStream_t);
template void launch_plain_mm<ExactInt5Traits>(const PlainMmArguments&, const PlainMmPlan&,
                                               cudaStream_t);

}  // namespace aotiny::cuda
