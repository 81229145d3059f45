// Running sums and products of rows.
#pragma once

#include <cstdint>

#include "aotiny/core/dtype.h"

namespace aotiny {

enum class ScanOp { Sum, Product };

// out[r, i] = in[r, 0] op ... op in[r, i] for in and out [rows, length] of one dtype; they may be
// the same memory. Accumulates as torch does: fp32 and fp64 in fp64, 16-bit floats in fp32,
// integers modulo 2^64. Fails with InvalidType for bool and for dtypes that are not real.
void scan_rows(DType dtype, ScanOp op, const void* in, void* out, int64_t rows, int64_t length);

}  // namespace aotiny
