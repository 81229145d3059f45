// Rows of a weight as fp32, quickly: what products with native activations and gathers read.
//
// The numbers are those of Weight::dequantize, bit for bit. A row is decoded in three steps: the
// codes to one byte each, the scale and zero of every group to fp32, and from those the values.
#pragma once

#include "aotiny/core/cpu_features.h"
#include "aotiny/quant/weight.h"

namespace aotiny {

// The steps that are worth vectors. k is a multiple of 32. (Vectors of AVX-512 are no faster here
// than those of AVX2.)
struct DequantizeKernels {
  const char* name;

  // Two codes a byte, even k in the low nibble: 0..15, or −8..7 in two's complement.
  void (*unpack_nibbles)(const uint8_t* in, int64_t k, int8_t* codes);
  void (*unpack_signed_nibbles)(const uint8_t* in, int64_t k, int8_t* codes);

  // As exact_int5.h and planar_int6.h draw them, to 0..31 and −32..31.
  void (*unpack_int5)(const uint8_t* ql, const uint8_t* qh, int64_t k, int8_t* codes);
  void (*unpack_int6)(const uint8_t* ql, const uint8_t* qh, int64_t k, int8_t* codes);

  // A row of Layout::Tiles, as int4_tile_packed.h draws it, to −8..7: `words` (1, 2 or 4) 32-bit
  // words a lane, tiles `step` words apart.
  void (*unpack_tiles)(const uint32_t* in, int64_t step, int words, int64_t k, int8_t* codes);

  // out[j] = value_of(value, codes[j], scale[j / group_size], zero_or_min[j / group_size]).
  // group_size is a multiple of 16.
  void (*values)(Value value, const int8_t* codes, int64_t k, int64_t group_size,
                 const float* scale, const float* zero_or_min, float* out);
};

const DequantizeKernels& dequantize_kernels_portable() noexcept;
const DequantizeKernels& dequantize_kernels_avx2() noexcept;
const DequantizeKernels& dequantize_kernels(const CpuFeatures& features) noexcept;

// Rows begin..end-1 of weight b of a stack (0 if it is none), one after the other, K floats each.
// On the calling thread.
void dequantize_rows(const Weight& weight, int64_t b, int64_t begin, int64_t end, float* out,
                     const CpuFeatures& features = cpu_features());

}  // namespace aotiny
