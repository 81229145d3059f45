// A stable sort of pairs by the low bits of their keys: the one instance of the library's radix
// sort, which takes long to compile.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

namespace aotiny::cuda {

// Keys and values, and as much room beside them; the sort leaves its result in one of the two and
// swaps them so that it is in `keys` and `values`.
struct SortPairs {
  uint64_t* keys;
  uint64_t* other_keys;
  uint32_t* values;
  uint32_t* other_values;
};

// The bytes of scratch memory for `count` pairs, on the device that is current; count <= INT32_MAX.
size_t radix_sort_scratch_bytes(int64_t count);

// Sorts by the lowest `bits` bits, ascending.
void radix_sort(SortPairs& pairs, int64_t count, int bits, void* scratch, size_t scratch_bytes,
                cudaStream_t stream);

}  // namespace aotiny::cuda
