// Running sums and products of rows.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "aotiny/core/dtype.h"

namespace aotiny::cuda {

enum class ScanOp { Sum, Product };

struct ScanProblem {
  DType dtype;  // a real one, not bool
  ScanOp op;
  int64_t rows;
  int64_t length;  // of a row
};

// Fails with InvalidType for bool and for dtypes that are not real; `what` begins the sentence.
void check_scan(DType dtype, const char* what);

// The bytes of scratch memory that scan_rows needs.
size_t scan_scratch_bytes(const ScanProblem& problem);

// out[r, i] = in[r, 0] op ... op in[r, i] for in and out [rows, length]; they may be the same
// memory. Accumulates as the CPU does: fp32 and fp64 in fp64, 16-bit floats in fp32, integers
// modulo 2^64. The order of the operations depends on nothing but the length.
void scan_rows(const ScanProblem& problem, const void* in, void* out, void* scratch,
               cudaStream_t stream);

}  // namespace aotiny::cuda
