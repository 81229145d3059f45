#include "aotiny/kernels/scan_rows.cuh"

namespace aotiny::cuda {

template void scan_rows_of<uint8_t>(const ScanProblem&, const void*, void*, void*, cudaStream_t);
template void scan_rows_of<uint16_t>(const ScanProblem&, const void*, void*, void*, cudaStream_t);
template void scan_rows_of<uint32_t>(const ScanProblem&, const void*, void*, void*, cudaStream_t);
template void scan_rows_of<uint64_t>(const ScanProblem&, const void*, void*, void*, cudaStream_t);

}  // namespace aotiny::cuda
