// Rows are sorted by the elements' bits, transformed so that they compare as unsigned integers. A
// chunk of rows is one radix sort: with up to 32 bits an element, row and element make up one key
// of 64 bits; with 64, a stable sort by the elements is followed by one by the rows. The values are
// then gathered, so that NaN and -0 keep the bits that their keys do not have.
#include <algorithm>
#include <bit>

#include "aotiny/kernels/launch.cuh"
#include "aotiny/kernels/radix_sort.h"
#include "aotiny/kernels/sort_rows.h"

namespace aotiny::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kChunkElements = 1 << 26;  // bounds the scratch memory, at about 24 bytes each
constexpr size_t kAlignment = 256;

enum class Kind { Unsigned, Signed, Float };

// How elements become keys.
struct Order {
  Kind kind;
  uint64_t infinity;  // the bits of +infinity, for Float
  bool descending;
};

// A key per element: equal elements have equal keys, NaN has the greatest.
template <class Bits>
__device__ Bits order_key(Bits bits, const Order& order) {
  constexpr Bits kSign = Bits(1) << (8 * sizeof(Bits) - 1);
  Bits key = bits;
  if (order.kind == Kind::Signed) {
    key = bits ^ kSign;
  } else if (order.kind == Kind::Float) {
    const Bits magnitude = bits & Bits(~kSign);
    if (magnitude > static_cast<Bits>(order.infinity)) {
      key = Bits(~Bits(0));
    } else if (magnitude == 0) {
      key = kSign;
    } else {
      key = (bits & kSign) != 0 ? Bits(~bits) : Bits(bits | kSign);
    }
  }
  return order.descending ? Bits(~key) : key;
}

// keys[i] = row of element i and its key, or its key alone; values[i] = i.
template <class Bits>
__global__ void __launch_bounds__(kThreads)
    key_kernel(const Bits* in, uint64_t* keys, uint32_t* values, uint32_t count, uint32_t length,
               Order order) {
  const uint32_t step = gridDim.x * kThreads;
  for (uint64_t i = blockIdx.x * kThreads + threadIdx.x; i < count; i += step) {
    uint64_t key = order_key(in[i], order);
    if constexpr (sizeof(Bits) < 8) {
      key |= uint64_t{static_cast<uint32_t>(i) / length} << (8 * sizeof(Bits));
    }
    keys[i] = key;
    values[i] = static_cast<uint32_t>(i);
  }
}

// keys[i] = row of the element that values[i] names.
__global__ void __launch_bounds__(kThreads)
    row_key_kernel(uint64_t* keys, const uint32_t* values, uint32_t count, uint32_t length) {
  const uint32_t step = gridDim.x * kThreads;
  for (uint64_t i = blockIdx.x * kThreads + threadIdx.x; i < count; i += step) {
    keys[i] = values[i] / length;
  }
}

// The first k of each sorted row: their bits and their places in the row.
template <class Bits>
__global__ void __launch_bounds__(kThreads)
    gather_kernel(const Bits* in, const uint32_t* sorted, Bits* values, int64_t* indices,
                  uint32_t count, uint32_t length, uint32_t k) {
  const uint32_t step = gridDim.x * kThreads;
  for (uint64_t i = blockIdx.x * kThreads + threadIdx.x; i < count; i += step) {
    const uint32_t row = static_cast<uint32_t>(i) / k;
    const uint32_t place = sorted[row * length + (static_cast<uint32_t>(i) - row * k)];
    values[i] = in[place];
    indices[i] = place - row * length;
  }
}

Order order_of(const SortProblem& problem) {
  switch (problem.dtype) {
    case DType::Float16:
      return {Kind::Float, 0x7c00, problem.descending};
    case DType::BFloat16:
      return {Kind::Float, 0x7f80, problem.descending};
    case DType::Float32:
      return {Kind::Float, 0x7f800000, problem.descending};
    case DType::Float64:
      return {Kind::Float, 0x7ff0000000000000, problem.descending};
    case DType::Int8:
    case DType::Int16:
    case DType::Int32:
    case DType::Int64:
      return {Kind::Signed, 0, problem.descending};
    default:
      return {Kind::Unsigned, 0, problem.descending};
  }
}

// The rows that are sorted at a time.
int64_t chunk_rows(const SortProblem& problem) {
  return std::clamp<int64_t>(kChunkElements / problem.length, 1, problem.rows);
}

// The pieces of the scratch memory for `count` elements, one after the other.
struct Scratch {
  explicit Scratch(int64_t count)
      : keys(rounded(static_cast<size_t>(count) * sizeof(uint64_t))),
        values(rounded(static_cast<size_t>(count) * sizeof(uint32_t))),
        sort(radix_sort_scratch_bytes(count)) {}

  static size_t rounded(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }
  size_t total() const { return 2 * keys + 2 * values + sort; }

  size_t keys, values, sort;  // bytes
};

template <class Bits>
void sort_chunk(const SortProblem& problem, const Bits* in, Bits* values, int64_t* indices,
                char* scratch, cudaStream_t stream) {
  const int64_t count = problem.rows * problem.length;
  const auto n = static_cast<uint32_t>(count);
  const auto length = static_cast<uint32_t>(problem.length);
  const Scratch sizes(count);
  SortPairs pairs;
  pairs.keys = reinterpret_cast<uint64_t*>(scratch);
  pairs.other_keys = reinterpret_cast<uint64_t*>(scratch + sizes.keys);
  pairs.values = reinterpret_cast<uint32_t*>(scratch + 2 * sizes.keys);
  pairs.other_values = reinterpret_cast<uint32_t*>(scratch + 2 * sizes.keys + sizes.values);
  void* sort_scratch = scratch + 2 * sizes.keys + 2 * sizes.values;

  launch(key_kernel<Bits>, grid_for(count, kThreads), kThreads, stream, in, pairs.keys,
         pairs.values, n, length, order_of(problem));
  const int row_bits = std::bit_width(static_cast<uint64_t>(problem.rows - 1));
  constexpr int kBits = 8 * sizeof(Bits);
  radix_sort(pairs, count, sizeof(Bits) < 8 ? kBits + row_bits : kBits, sort_scratch, sizes.sort,
             stream);
  if (sizeof(Bits) == 8 && row_bits > 0) {
    launch(row_key_kernel, grid_for(count, kThreads), kThreads, stream, pairs.keys, pairs.values, n,
           length);
    radix_sort(pairs, count, row_bits, sort_scratch, sizes.sort, stream);
  }
  const int64_t wanted = problem.rows * problem.k;
  launch(gather_kernel<Bits>, grid_for(wanted, kThreads), kThreads, stream, in, pairs.values,
         values, indices, static_cast<uint32_t>(wanted), length, static_cast<uint32_t>(problem.k));
}

template <class Bits>
void sort_all(const SortProblem& problem, const void* in, void* values, int64_t* indices,
              void* scratch, cudaStream_t stream) {
  const int64_t rows = chunk_rows(problem);
  SortProblem chunk = problem;
  for (int64_t row = 0; row < problem.rows; row += rows) {
    chunk.rows = std::min(rows, problem.rows - row);
    sort_chunk(chunk, static_cast<const Bits*>(in) + row * problem.length,
               static_cast<Bits*>(values) + row * problem.k, indices + row * problem.k,
               static_cast<char*>(scratch), stream);
  }
}

bool is_empty(const SortProblem& problem) { return problem.rows == 0 || problem.k == 0; }

}  // namespace

void check_sort(const SortProblem& problem, const char* what) {
  visit_dtype(problem.dtype, what, [](auto) {});
  require(problem.length <= kMaxSortLength, Status::InvalidArgument, what, ": ", problem.length,
          " elements in a row, at most ", kMaxSortLength, " are supported on CUDA");
}

size_t sort_scratch_bytes(const SortProblem& problem) {
  return is_empty(problem) ? 0 : Scratch(chunk_rows(problem) * problem.length).total();
}

void sort_rows(const SortProblem& problem, const void* in, void* values, int64_t* indices,
               void* scratch, cudaStream_t stream) {
  if (is_empty(problem)) return;
  switch (itemsize(problem.dtype)) {
    case 1:
      return sort_all<uint8_t>(problem, in, values, indices, scratch, stream);
    case 2:
      return sort_all<uint16_t>(problem, in, values, indices, scratch, stream);
    case 4:
      return sort_all<uint32_t>(problem, in, values, indices, scratch, stream);
    default:
      return sort_all<uint64_t>(problem, in, values, indices, scratch, stream);
  }
}

}  // namespace aotiny::cuda
