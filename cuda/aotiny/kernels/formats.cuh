// The weight formats on a device: 32 codes of a row at a time, and the numbers of a group.
//
//   static void codes(const FormatRow& row, int64_t block, uint32_t (&words)[8]);
//     The codes at k = 32·block .. 32·block + 31 as int8, four a word, in the order kOrder.
//   static GroupNumbers numbers(const FormatRow& row, int64_t group, int64_t group_size);
//     scale and zero (or min, as the format's Value says) in fp32: those of Traits::decode_params,
//     bit for bit.
//
// Codes are loaded 16 bytes at a time where a block of 32 has as many. A plane of codes therefore
// begins, like its rows, at a multiple of what a block takes, or of 16: weight_ops.cpp checks that.
// A new format is one specialisation here. All of it compiles for the host too, which is how
// tests/cuda/test_formats.cpp compares it with the traits on machines without a GPU.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "aotiny/quant/weight_kernels.h"

namespace aotiny::cuda {

// One row of a weight: where its part of a plane begins, and bytes from group to group or from
// k-tile to k-tile in layouts that have them.
struct FormatRow {
  const uint8_t* plane[kMaxPlanes];
  int64_t step[kMaxPlanes];

  template <class T>
  __host__ __device__ const T* as(int index) const {
    return reinterpret_cast<const T*>(plane[index]);
  }
  // The element that a group has in a plane of Layout::Groups.
  template <class T>
  __host__ __device__ const T* of_group(int index, int64_t group) const {
    return reinterpret_cast<const T*>(plane[index] + group * step[index]);
  }
};

struct GroupNumbers {
  float scale;
  float zero;  // or min; 0 for formats without
};

// Where in a block the code in byte `byte` of word `word` is along k.
__host__ __device__ constexpr int k_in_block(KOrder order, int word, int byte) {
  if (order == KOrder::Natural) return 4 * word + byte;
  return word < 4 ? 8 * word + 2 * byte : 8 * (word - 4) + 2 * byte + 1;
}

namespace detail {

__host__ __device__ inline float to_float(float value) { return value; }
__host__ __device__ inline float to_float(__half value) { return __half2float(value); }
__host__ __device__ inline float to_float(__nv_bfloat16 value) { return __bfloat162float(value); }

// Every byte, 0..127, less `amount`, as int8; no byte borrows from the next.
__host__ __device__ inline uint32_t subtract_from_bytes(uint32_t bytes, uint32_t amount) {
  return ((bytes | 0x80808080u) - amount * 0x01010101u) ^ 0x80808080u;
}

// Two codes a byte, even k in the low nibble: first the even k, then the odd ones.
__host__ __device__ inline void split_nibbles(const uint8_t* bytes, uint32_t (&words)[8]) {
  const uint4 packed = *reinterpret_cast<const uint4*>(bytes);
  const uint32_t in[4] = {packed.x, packed.y, packed.z, packed.w};
  for (int i = 0; i < 4; ++i) {
    words[i] = in[i] & 0x0F0F0F0Fu;
    words[4 + i] = in[i] >> 4 & 0x0F0F0F0Fu;
  }
}

}  // namespace detail

template <class Traits>
struct DeviceFormat;

template <Metadata kMetadata>
struct DeviceFormat<CoalescedInt4Traits<kMetadata>> {
  static constexpr KOrder kOrder = KOrder::EvenOdd;

  __host__ __device__ static void codes(const FormatRow& row, int64_t block, uint32_t (&words)[8]) {
    detail::split_nibbles(row.plane[0] + block * 16, words);
  }

  __host__ __device__ static GroupNumbers numbers(const FormatRow& row, int64_t group,
                                                  int64_t group_size) {
    using detail::to_float;
    if constexpr (kMetadata == Metadata::A) {
      return {to_float(row.as<__nv_bfloat16>(1)[group]), to_float(row.as<__nv_bfloat16>(2)[group])};
    } else if constexpr (kMetadata == Metadata::H) {
      return {to_float(row.as<__half>(1)[group]), to_float(row.as<__half>(2)[group])};
    } else if constexpr (kMetadata == Metadata::B) {
      const __nv_bfloat16* steps = row.as<__nv_bfloat16>(3);
      return {row.plane[1][group] * to_float(steps[0]), row.plane[2][group] * to_float(steps[1])};
    } else {
      const int64_t super = group * group_size / kSuperBlock;
      return {row.plane[1][group] * to_float(row.as<__half>(2)[super]),
              row.plane[3][group] * to_float(row.as<__half>(4)[super])};
    }
  }
};

template <>
struct DeviceFormat<ExactInt4Traits> {
  static constexpr KOrder kOrder = KOrder::EvenOdd;

  __host__ __device__ static void codes(const FormatRow& row, int64_t block, uint32_t (&words)[8]) {
    detail::split_nibbles(row.plane[0] + block * 16, words);
  }

  __host__ __device__ static GroupNumbers numbers(const FormatRow& row, int64_t group,
                                                  int64_t group_size) {
    const int64_t super = group * group_size / kSuperBlock;
    return {row.plane[1][group] * detail::to_float(row.as<__half>(3)[super]),
            row.plane[2][group] * detail::to_float(row.as<__half>(4)[super])};
  }
};

template <>
struct DeviceFormat<ExactInt5Traits> {
  static constexpr KOrder kOrder = KOrder::EvenOdd;

  __host__ __device__ static void codes(const FormatRow& row, int64_t block, uint32_t (&words)[8]) {
    detail::split_nibbles(row.plane[0] + block * 16, words);
    const uint32_t fifth = row.as<uint32_t>(1)[block];
    for (int i = 0; i < 8; ++i) words[i] |= (fifth >> i & 0x01010101u) << 4;
  }

  __host__ __device__ static GroupNumbers numbers(const FormatRow& row, int64_t group,
                                                  int64_t group_size) {
    const int64_t super = group * group_size / kSuperBlock;
    return {row.plane[2][group] * detail::to_float(row.as<__half>(4)[super]),
            row.plane[3][group] * detail::to_float(row.as<__half>(5)[super])};
  }
};

template <Metadata kMetadata>
struct DeviceFormat<PlanarInt6Traits<kMetadata>> {
  static constexpr KOrder kOrder = KOrder::EvenOdd;

  __host__ __device__ static void codes(const FormatRow& row, int64_t block, uint32_t (&words)[8]) {
    detail::split_nibbles(row.plane[0] + block * 16, words);
    const uint2 high = row.as<uint2>(1)[block];
    for (int i = 0; i < 8; ++i) {
      const uint32_t pairs = (i < 4 ? high.x : high.y) >> (8 * (i % 4)) & 0xFF;  // four of two bits
      const uint32_t spread = (pairs | pairs << 12) & 0x000F000Fu;  // two of them a half word
      words[i] |= ((spread | spread << 6) & 0x03030303u) << 4;
      words[i] = detail::subtract_from_bytes(words[i], 32);
    }
  }

  __host__ __device__ static GroupNumbers numbers(const FormatRow& row, int64_t group,
                                                  int64_t group_size) {
    using detail::to_float;
    if constexpr (kMetadata == Metadata::A) {
      return {to_float(row.as<__nv_bfloat16>(2)[group]), 0};
    } else if constexpr (kMetadata == Metadata::B) {
      return {row.as<int8_t>(2)[group] * to_float(row.as<__nv_bfloat16>(3)[0]), 0};
    } else {
      const int64_t super = group * group_size / kSuperBlock;
      return {row.as<int8_t>(2)[group] * to_float(row.as<__half>(3)[super]), 0};
    }
  }
};

template <Metadata kMetadata>
struct DeviceFormat<Int8Traits<kMetadata>> {
  static constexpr KOrder kOrder = KOrder::Natural;
  using Stored = std::conditional_t<kMetadata == Metadata::H, __half, __nv_bfloat16>;

  __host__ __device__ static void codes(const FormatRow& row, int64_t block, uint32_t (&words)[8]) {
    const uint4* packed = row.as<uint4>(0) + 2 * block;
    const uint4 low = packed[0], high = packed[1];
    words[0] = low.x, words[1] = low.y, words[2] = low.z, words[3] = low.w;
    words[4] = high.x, words[5] = high.y, words[6] = high.z, words[7] = high.w;
  }

  __host__ __device__ static GroupNumbers numbers(const FormatRow& row, int64_t group,
                                                  int64_t /*group_size*/) {
    return {detail::to_float(row.as<Stored>(1)[group]),
            static_cast<float>(row.as<int8_t>(2)[group])};
  }
};

template <class T>
struct DeviceFormat<Int4PlainTraits<T>> {
  static constexpr KOrder kOrder = KOrder::EvenOdd;
  using Stored =
      std::conditional_t<std::is_same_v<T, float>, float,
                         std::conditional_t<std::is_same_v<T, Float16>, __half, __nv_bfloat16>>;

  __host__ __device__ static void codes(const FormatRow& row, int64_t block, uint32_t (&words)[8]) {
    detail::split_nibbles(row.plane[0] + block * 16, words);
    for (int i = 0; i < 8; ++i) {
      words[i] = detail::subtract_from_bytes(words[i] ^ 0x08080808u, 8);
    }
  }

  __host__ __device__ static GroupNumbers numbers(const FormatRow& row, int64_t group,
                                                  int64_t /*group_size*/) {
    return {detail::to_float(*row.of_group<Stored>(1, group)),
            -detail::to_float(*row.of_group<Stored>(2, group))};
  }
};

template <int kInnerKTiles>
struct DeviceFormat<Int4TilePackedTraits<kInnerKTiles>> {
  static constexpr KOrder kOrder = KOrder::EvenOdd;
  static constexpr int kWords = kInnerKTiles / 2;  // a lane has of a tile, each with 32 along k

  __host__ __device__ static void codes(const FormatRow& row, int64_t block, uint32_t (&words)[8]) {
    const uint32_t* lanes =
        reinterpret_cast<const uint32_t*>(row.plane[0] + block / kWords * row.step[0]) +
        block % kWords;
    for (int i = 0; i < 8; ++i) words[i] = 0;
    for (int lane = 0; lane < 4; ++lane) {
      const uint32_t packed = lanes[lane * kWords];
      for (int i = 0; i < 8; ++i) words[i] |= (packed >> (4 * i) & 15) << (8 * lane);
    }
    for (int i = 0; i < 8; ++i) words[i] = detail::subtract_from_bytes(words[i], 8);
  }

  __host__ __device__ static GroupNumbers numbers(const FormatRow& row, int64_t group,
                                                  int64_t /*group_size*/) {
    const __nv_bfloat16* pair = row.of_group<__nv_bfloat16>(1, group);
    return {detail::to_float(pair[0]), -detail::to_float(pair[1])};
  }
};

// Row n of weight b of a stack.
template <class Traits>
__host__ __device__ FormatRow format_row(const DeviceWeight& weight, int64_t n, int64_t b = 0) {
  constexpr int kPlanes = static_cast<int>(Traits::kInfo.planes.size());
  constexpr bool kTiles = Traits::kInfo.planes[0].layout == Layout::Tiles;
  constexpr int kCount = Traits::kInfo.planes[0].count;
  FormatRow row;
  for (int i = 0; i < kPlanes; ++i) {
    row.plane[i] = weight.plane[i] + b * weight.stack[i];
    if (kTiles && i == 0) {
      // A row has four lanes of a tile.
      row.plane[i] += n / 8 * weight.row[i] + n % 8 * 16 * kCount;
    } else {
      row.plane[i] += n * weight.row[i];
    }
    row.step[i] = weight.step[i];
  }
  return row;
}

}  // namespace aotiny::cuda
