// Weights from the blocks of GGUF's quantized types, value for value.
//
//   Q4_0  CoalescedInt4 H     Q8_0  Int8 H     Q4_K  ExactInt4     Q5_K  ExactInt5
//   Q6_K  PlanarInt6 C
//
// Blocks go straight to the planes, on all threads; nothing is dequantized on the way.
#pragma once

#include <span>
#include <string_view>

#include "aotiny/quant/weight.h"

namespace aotiny {

// A type of GGUF tensors that a format holds without loss.
struct GgufType {
  const char* name;       // "Q4_K"
  int64_t block_weights;  // weights along k in a block
  int64_t block_bytes;
  FormatId format;
  int64_t group_size;
};

std::span<const GgufType> gguf_types();

// By name; fails with NotSupported, naming those that there are.
const GgufType& find_gguf_type(std::string_view name);

// The weight of this shape, [N, K] or [B, N, K], with these blocks, row by row. Fails with
// InvalidArgument, with the numbers, unless K is a multiple of the block and `blocks` has exactly
// the bytes that the shape needs, or if a scale is NaN or infinite.
Weight import_gguf(const GgufType& type, std::span<const uint8_t> blocks, IntSpan shape);

// The same with blocks that begin at `offset` of an open file. They are read piece by piece, so
// that the weight itself is all the memory that is used. Fails also with AccessFailed where the
// file cannot be read or ends too early.
Weight read_gguf(const GgufType& type, int file, int64_t offset, IntSpan shape);

}  // namespace aotiny
