// Rows in order: all of a row, or its k first. NaN counts as greater than every number.
#pragma once

#include <cstdint>

#include "aotiny/core/dtype.h"

namespace aotiny {

// Sorts each row of in [rows, length] into values [rows, length], with where each came from in
// indices [rows, length]. Equal elements keep their order. Fails with InvalidType for dtypes that
// are not real.
void sort_rows(DType dtype, const void* in, void* values, int64_t* indices, int64_t rows,
               int64_t length, bool descending);

// The k largest (or smallest) elements of each row of in [rows, length], best first, into values
// and indices [rows, k]; of equal elements those with the lower indices. 0 <= k <= length.
void topk_rows(DType dtype, const void* in, void* values, int64_t* indices, int64_t rows,
               int64_t length, int64_t k, bool largest);

}  // namespace aotiny
