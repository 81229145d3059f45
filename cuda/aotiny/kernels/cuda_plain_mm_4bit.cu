#include "aotiny/kernels/cuda_plain_mm_kernel.cuh"

namespace aotiny::cuda {

template void launch_plain_mm<CoalescedInt4Traits<Metadata::A>>(const PlainMmArguments&,
                                                                const PlainMmPlan&, cudaStream_t);
template void launch_plain_mm<CoalescedInt4Traits<Metadata::H>>(const PlainMmArguments&,
                                                                const PlainMmPlan&, cudaStream_t);
template void launch_plain_mm<CoalescedInt4Traits<Metadata::B>>(const PlainMmArguments&,
                                                                const PlainMmPlan&, cudaStream_t);
template void launch_plain_mm<CoalescedInt4Traits<Metadata::C>>(const PlainMmArguments&,
                                                                const PlainMmPlan&, cudaStream_t);

}  // namespace aotiny::cuda
