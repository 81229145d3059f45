#include "aotiny/shims/pack_tiles.h"

#include "aotiny/quant/int4_tile_packed.h"
#include "aotiny/quant/weight_kernels.h"

namespace aotiny {
namespace {

// The place of the first code outside 0..15, and its value. `codes` are contiguous, on the CPU.
void check_codes(const Tensor& codes) {
  const int32_t* values = codes.data<int32_t>();
  for (int64_t i = 0; i < codes.numel(); ++i) {
    require(values[i] >= 0 && values[i] <= 15, Status::InvalidArgument, "pack_tiles: the code at [",
            i / codes.size(1), ", ", i % codes.size(1), "] is ", values[i], ", outside 0..15");
  }
}

void check_codes_on_device(const Tensor& codes, WeightKernels& kernels) {
  const auto [least, greatest] =
      kernels.index_range(codes.raw_data(), DType::Int32, codes.numel(), codes.device());
  if (least < 0 || greatest > 15) check_codes(codes.to(kCPU));
}

template <class Traits>
void pack_on_cpu(const TilePacking& packing) {
  constexpr int64_t kWordsOfLane = Traits::kTileK / 32;
  std::vector<int> row(static_cast<size_t>(packing.k));
  for (int64_t n = 0; n < packing.n; ++n) {
    for (int64_t k = 0; k < packing.k; ++k) {
      if (packing.dtype == DType::UInt8) {
        const int byte = static_cast<const uint8_t*>(packing.codes)[(n * packing.k + k) / 2];
        row[k] = (k % 2 == 0 ? byte >> 4 : byte & 15) + Traits::kMinCode;
      } else {
        row[k] = static_cast<const int32_t*>(packing.codes)[n * packing.k + k] + Traits::kMinCode;
      }
    }
    int32_t* words = packing.qdata + n / 8 * packing.k + n % 8 * 4 * kWordsOfLane;
    Traits::pack_codes(row.data(), packing.k,
                       {{reinterpret_cast<uint8_t*>(words)}, {32 * kWordsOfLane}});
  }
}

}  // namespace

Tensor pack_tiles(const Tensor& codes, int64_t inner_k_tiles) {
  require(codes.defined(), Status::InvalidArgument, "pack_tiles: the codes are undefined");
  const bool pairs = codes.dtype() == DType::UInt8;
  require(pairs || codes.dtype() == DType::Int32, Status::InvalidType,
          "pack_tiles: the codes have dtype ", codes.dtype(), ", not uint8 or int32");
  require(codes.ndim() == 2, Status::InvalidArgument, "pack_tiles: the codes are ", codes, ", not ",
          pairs ? "[N, K/2]" : "[N, K]");
  require(inner_k_tiles == 2 || inner_k_tiles == 4 || inner_k_tiles == 8, Status::InvalidArgument,
          "pack_tiles: ", inner_k_tiles, " inner k-tiles were asked for, not 2, 4 or 8");
  const int64_t n = codes.size(0), k = codes.size(1) * (pairs ? 2 : 1);
  require(n >= 1 && k >= 1 && k % (16 * inner_k_tiles) == 0, Status::InvalidArgument,
          "pack_tiles: the codes have N = ", n, " and K = ", k,
          "; both are at least 1, and K is a ", "multiple of ", 16 * inner_k_tiles, " with ",
          inner_k_tiles, " inner k-tiles");

  const Tensor dense = codes.contiguous();
  const int64_t sizes[] = {(n + 7) / 8, k / (16 * inner_k_tiles), 32, inner_k_tiles / 2};
  const Tensor qdata = Tensor::empty(sizes, DType::Int32, codes.device());
  const TilePacking packing{.codes = dense.raw_data(),
                            .dtype = codes.dtype(),
                            .n = n,
                            .k = k,
                            .inner_k_tiles = static_cast<int>(inner_k_tiles),
                            .qdata = qdata.data<int32_t>()};
  if (codes.device() != kCPU) {
    WeightKernels& kernels = device_interface(codes.device().type).weight_kernels();
    if (!pairs) check_codes_on_device(dense, kernels);
    kernels.pack_tiles(packing, codes.device());
    return qdata;
  }
  if (!pairs) check_codes(dense);
  if (n % 8 != 0) qdata.zero_();
  switch (inner_k_tiles) {
    case 2:
      pack_on_cpu<Int4TilePackedTraits<2>>(packing);
      break;
    case 4:
      pack_on_cpu<Int4TilePackedTraits<4>>(packing);
      break;
    default:
      pack_on_cpu<Int4TilePackedTraits<8>>(packing);
  }
  return qdata;
}

}  // namespace aotiny
