#include "aotiny/kernels/scan_rows.cuh"

namespace aotiny::cuda {

template void scan_rows_of<__half>(const ScanProblem&, const void*, void*, void*, cudaStream_t);
template void scan_rows_of<__nv_bfloat16>(const ScanProblem&, const void*, void*, void*,
                                          cudaStream_t);
template void scan_rows_of<float>(const ScanProblem&, const void*, void*, void*, cudaStream_t);
template void scan_rows_of<double>(const ScanProblem&, const void*, void*, void*, cudaStream_t);

}  // namespace aotiny::cuda
