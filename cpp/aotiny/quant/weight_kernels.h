// What a device library computes with quantized weights.
//
// The operators of shims/weight_ops.h check their arguments and call these where the weight is on a
// device; nothing is checked here again. Work goes to the current stream of the device, and nothing
// waits for it unless it says so, so that it can be captured into a graph.
#pragma once

#include <utility>

#include "aotiny/core/device_interface.h"
#include "aotiny/quant/weight.h"

namespace aotiny {

// Whether kernels can load a plane as it lies: its address and its strides are multiples of what
// they load at once. A plane with at least the dimensions that `spec` has.
bool fits_device_loads(const PlaneSpec& spec, const Tensor& plane);

// A weight [N, K], or a stack of B such, as kernels see it. Fails with InvalidArgument, naming the
// plane, where one does not fit its loads.
struct DeviceWeight {
  explicit DeviceWeight(const Weight& weight);

  FormatId format;
  int64_t batch, n, k, group_size;
  const uint8_t* plane[kMaxPlanes] = {};
  // Bytes from one row of W to the next; in Layout::Tiles from eight rows to the next eight.
  int64_t row[kMaxPlanes] = {};
  // Bytes from group to group (Layout::Groups), from k-tile to k-tile (Layout::Tiles), unused
  // otherwise.
  int64_t step[kMaxPlanes] = {};
  // Bytes from weight to weight of a stack.
  int64_t stack[kMaxPlanes] = {};
};

// y[b] = x[b] W[b]^T + bias.
struct WeightProduct {
  DeviceWeight weight;
  int64_t m;
  DType dtype;        // of x and y: float32, float16 or bfloat16
  const void* x;      // [B, m, K], unit stride along K
  int64_t x_batch;    // elements from matrix to matrix
  int64_t x_row;      // and from row to row
  const float* bias;  // [N], or null
  void* y;            // [B, m, N], contiguous; overlaps neither x nor bias
};

// Rows of W, dequantized: W[indices], or the first `count` rows where indices is null.
struct WeightGather {
  DeviceWeight weight;
  int64_t stacked = 0;     // which weight of a stack
  const int64_t* indices;  // [count]; one outside 0..N-1 gives a row of NaN
  int64_t count;
  DType dtype;  // of out: float32, float16 or bfloat16
  void* out;    // [count, K], contiguous
};

// 4-bit codes and where their tiles go (Int4TilePacked); both are contiguous.
struct TilePacking {
  // i32 [N, K], 0..15, or u8 [N, K/2], two a byte with the even k in the high nibble.
  const void* codes;
  DType dtype;
  int64_t n, k;       // k is a multiple of 16·t
  int inner_k_tiles;  // t: 2, 4 or 8
  int32_t* qdata;     // [⌈N/8⌉, K/(16·t), 32, t/2]; rows from N on become zeros
};

class WeightKernels {
 public:
  virtual ~WeightKernels() = default;

  // With activations quantized to int8, where the format has that: kernels/plain_mm.h.
  virtual void plain_product(const WeightProduct& product, Device device) = 0;
  // With activations as they are: kernels/dequantized_mm.h. fp16 and bf16 products round the
  // dequantized weight to x's dtype and accumulate in fp32.
  virtual void native_product(const WeightProduct& product, Device device) = 0;
  virtual void gather(const WeightGather& gather, Device device) = 0;
  virtual void pack_tiles(const TilePacking& packing, Device device) = 0;
  // The least and the greatest of `count` >= 1 integers, contiguous, int32 or int64. Waits for the
  // stream; InvalidState while it is being captured.
  virtual std::pair<int64_t, int64_t> index_range(const void* indices, DType dtype, int64_t count,
                                                  Device device) = 0;
};

}  // namespace aotiny
