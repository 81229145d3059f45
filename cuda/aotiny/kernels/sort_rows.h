// Rows in order: all of a row, or its k first. The order is that of the CPU's sort: NaN counts as
// greater than every number, and equal elements keep their order.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "aotiny/core/dtype.h"

namespace aotiny::cuda {

struct SortProblem {
  DType dtype;  // a real one
  int64_t rows;
  int64_t length;  // of a row, at most kMaxSortLength
  int64_t k;       // how many of each row are wanted, at most length
  bool descending;
};

inline constexpr int64_t kMaxSortLength = INT32_MAX;

// Fails with InvalidType for dtypes that are not real, InvalidArgument for longer rows; `what`
// begins the sentence.
void check_sort(const SortProblem& problem, const char* what);

// The bytes of scratch memory that sort_rows needs, on the device that is current.
size_t sort_scratch_bytes(const SortProblem& problem);

// From in [rows, length]: the first k of each row in order into values [rows, k], with where each
// came from in indices [rows, k].
void sort_rows(const SortProblem& problem, const void* in, void* values, int64_t* indices,
               void* scratch, cudaStream_t stream);

}  // namespace aotiny::cuda
