// Also where the table is chosen.
#include "aotiny/kernels/dequantize.h"

#include "aotiny/core/scratch.h"
#include "aotiny/kernels/dequantize_loops.h"

namespace aotiny {
namespace {

struct Isa {};
constexpr DequantizeKernels kKernels = DequantizeLoops<Isa>::table("portable");

// The codes of a row, a byte each: in place, or in `room`. Formats without an overload are
// unpacked by their own scalar code.
template <class Traits>
const int8_t* unpack(Traits, const DequantizeKernels&, WeightRow row, int64_t k, int8_t* room) {
  const Scratch<int> wide(k);
  Traits::unpack_codes(row, k, wide.data());
  for (int64_t j = 0; j < k; ++j) room[j] = static_cast<int8_t>(wide[j]);
  return room;
}

template <Metadata kMetadata>
const int8_t* unpack(CoalescedInt4Traits<kMetadata>, const DequantizeKernels& kernels,
                     WeightRow row, int64_t k, int8_t* room) {
  kernels.unpack_nibbles(row.plane[0], k, room);
  return room;
}

const int8_t* unpack(ExactInt4Traits, const DequantizeKernels& kernels, WeightRow row, int64_t k,
                     int8_t* room) {
  kernels.unpack_nibbles(row.plane[0], k, room);
  return room;
}

const int8_t* unpack(ExactInt5Traits, const DequantizeKernels& kernels, WeightRow row, int64_t k,
                     int8_t* room) {
  kernels.unpack_int5(row.plane[0], row.plane[1], k, room);
  return room;
}

template <Metadata kMetadata>
const int8_t* unpack(PlanarInt6Traits<kMetadata>, const DequantizeKernels& kernels, WeightRow row,
                     int64_t k, int8_t* room) {
  kernels.unpack_int6(row.plane[0], row.plane[1], k, room);
  return room;
}

template <Metadata kMetadata>
const int8_t* unpack(Int8Traits<kMetadata>, const DequantizeKernels&, WeightRow row, int64_t,
                     int8_t*) {
  return row.as<int8_t>(0);
}

template <class T>
const int8_t* unpack(Int4PlainTraits<T>, const DequantizeKernels& kernels, WeightRow row, int64_t k,
                     int8_t* room) {
  kernels.unpack_signed_nibbles(row.plane[0], k, room);
  return room;
}

template <int kInnerKTiles>
const int8_t* unpack(Int4TilePackedTraits<kInnerKTiles>, const DequantizeKernels& kernels,
                     WeightRow row, int64_t k, int8_t* room) {
  kernels.unpack_tiles(row.as<uint32_t>(0), row.step[0], kInnerKTiles / 2, k, room);
  return room;
}

}  // namespace

const DequantizeKernels& dequantize_kernels_portable() noexcept { return kKernels; }

const DequantizeKernels& dequantize_kernels(const CpuFeatures& features) noexcept {
#if defined(__x86_64__)
  if (features.avx2) return dequantize_kernels_avx2();
#endif
  (void)features;
  return dequantize_kernels_portable();
}

void dequantize_rows(const Weight& weight, int64_t b, int64_t begin, int64_t end, float* out,
                     const CpuFeatures& features) {
  const DequantizeKernels& kernels = dequantize_kernels(features);
  const int64_t k = weight.k(), groups = k / weight.group_size();
  const Scratch<int8_t> room(k);
  const Scratch<float> scale(groups), zero(groups);
  visit_format(weight.format(), [&](auto traits) {
    for (int64_t n = begin; n < end; ++n, out += k) {
      const WeightRow row = weight.row(n, b);
      const int8_t* codes = unpack(traits, kernels, row, k, room.data());
      traits.decode_params(row, groups, weight.group_size(), scale.data(), zero.data());
      kernels.values(traits.kInfo.value, codes, k, weight.group_size(), scale.data(), zero.data(),
                     out);
    }
  });
}

}  // namespace aotiny
