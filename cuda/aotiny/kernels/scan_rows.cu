#include "aotiny/kernels/scan_rows.cuh"

namespace aotiny::cuda {

void check_scan(DType dtype, const char* what) {
  require(dtype != DType::Bool, Status::InvalidType, what, ": dtype ", dtype,
          " is not supported for the result");
  visit_dtype(dtype, what, [](auto) {});
}

size_t scan_scratch_bytes(const ScanProblem& problem) {
  const int64_t tiles = scan_tiles(problem.length);
  return tiles > 1 ? static_cast<size_t>(problem.rows * tiles) * sizeof(uint64_t) : 0;
}

// Integers wrap, so that signed ones are added like the unsigned ones of their width.
void scan_rows(const ScanProblem& problem, const void* in, void* out, void* scratch,
               cudaStream_t stream) {
  if (problem.rows == 0 || problem.length == 0) return;
  switch (problem.dtype) {
    case DType::Float16:
      return scan_rows_of<__half>(problem, in, out, scratch, stream);
    case DType::BFloat16:
      return scan_rows_of<__nv_bfloat16>(problem, in, out, scratch, stream);
    case DType::Float32:
      return scan_rows_of<float>(problem, in, out, scratch, stream);
    case DType::Float64:
      return scan_rows_of<double>(problem, in, out, scratch, stream);
    default:
      break;
  }
  switch (itemsize(problem.dtype)) {
    case 1:
      return scan_rows_of<uint8_t>(problem, in, out, scratch, stream);
    case 2:
      return scan_rows_of<uint16_t>(problem, in, out, scratch, stream);
    case 4:
      return scan_rows_of<uint32_t>(problem, in, out, scratch, stream);
    default:
      return scan_rows_of<uint64_t>(problem, in, out, scratch, stream);
  }
}

}  // namespace aotiny::cuda
