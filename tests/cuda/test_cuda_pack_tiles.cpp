// Codes packed into tiles on a device, against the CPU's packer, which is held against torch's in
// the Python tests.
#include "aotiny/kernels/pack_tiles.h"

#include <random>

#include "aotiny/shims/pack_tiles.h"
#include "cuda_weights.h"

namespace aotiny::cuda {
namespace {

using PackTiles = GpuTest;

// Codes of [n, k] on the CPU: int32, or two a uint8.
Tensor random_codes(int64_t n, int64_t k, DType dtype, unsigned seed) {
  std::mt19937 random(seed);
  const bool pairs = dtype == DType::UInt8;
  const Tensor codes = Tensor::empty(Ints{n, pairs ? k / 2 : k}, dtype);
  for (int64_t i = 0; i < codes.numel(); ++i) {
    if (pairs) {
      codes.data<uint8_t>()[i] = static_cast<uint8_t>(random());
    } else {
      codes.data<int32_t>()[i] = static_cast<int32_t>(random() % 16);
    }
  }
  return codes;
}

void expect_refused(Status status, const std::string& text, const Tensor& codes,
                    int64_t inner_k_tiles) {
  const std::string found = failure(status, [&] { pack_tiles(codes, inner_k_tiles); });
  EXPECT_TRUE(contains(found, text)) << found;
}

void expect_refusals(Device device) {
  const auto codes = [&](const Ints& sizes, DType dtype) {
    const Tensor tensor = Tensor::empty(sizes, dtype, device);
    tensor.zero_();
    return tensor;
  };
  expect_refused(Status::InvalidArgument, "codes are undefined", Tensor(), 8);
  expect_refused(Status::InvalidType, "dtype int64, not uint8 or int32",
                 codes({8, 128}, DType::Int64), 8);
  expect_refused(Status::InvalidArgument, "not [N, K/2]", codes({8, 128, 1}, DType::UInt8), 8);
  expect_refused(Status::InvalidArgument, "not [N, K]", codes({128}, DType::Int32), 8);
  for (const int64_t t : {-8, 0, 1, 3, 16}) {
    expect_refused(Status::InvalidArgument, std::to_string(t) + " inner k-tiles",
                   codes({8, 128}, DType::UInt8), t);
  }
  expect_refused(Status::InvalidArgument,
                 "N = 8 and K = 96; both are at least 1, and K is a "
                 "multiple of 64 with 4 inner k-tiles",
                 codes({8, 48}, DType::UInt8), 4);
  expect_refused(Status::InvalidArgument, "N = 0 and K = 128", codes({0, 128}, DType::Int32), 8);
  expect_refused(Status::InvalidArgument, "N = 8 and K = 0", codes({8, 0}, DType::Int32), 8);
  for (const int32_t code : {-1, 16, INT32_MIN}) {
    const Tensor wrong = codes({9, 128}, DType::Int32).to(kCPU);
    wrong.data<int32_t>()[5 * 128 + 77] = code;
    expect_refused(Status::InvalidArgument,
                   "the code at [5, 77] is " + std::to_string(code) + ", outside 0..15",
                   wrong.to(device), 2);
  }
}

TEST(PackTilesOnTheCpu, RefusesWhatDoesNotFit) { expect_refusals(kCPU); }

TEST_F(PackTiles, RefusesWhatDoesNotFit) { expect_refusals(gpu()); }

TEST_F(PackTiles, AgreesWithTheCpu) {
  unsigned seed = 1;
  for (const int64_t t : {2, 4, 8}) {
    for (const int64_t n : {1, 8, 13, 40}) {
      for (const int64_t k : {16 * t, 5 * 16 * t}) {
        for (const DType dtype : {DType::UInt8, DType::Int32}) {
          const Tensor codes = random_codes(n, k, dtype, seed++);
          const Tensor expected = pack_tiles(codes, t), packed = pack_tiles(codes.to(gpu()), t);
          EXPECT_EQ(packed.device(), gpu());
          EXPECT_EQ(ints(packed.sizes()), (Ints{(n + 7) / 8, k / (16 * t), 32, t / 2}));
          EXPECT_EQ(bytes_of(packed), bytes_of(expected)) << t << ' ' << n << ' ' << k;
        }
      }
    }
  }
}

TEST_F(PackTiles, TakesStrides) {
  for (const DType dtype : {DType::UInt8, DType::Int32}) {
    const Tensor columns = random_codes(256, 48, dtype, 2).transpose(0, 1);
    EXPECT_EQ(bytes_of(pack_tiles(columns.to(gpu()), 4)), bytes_of(pack_tiles(columns, 4)));
    const Tensor wide = random_codes(16, 512, dtype, 3);
    const auto part = [](const Tensor& codes) { return codes.slice(1, 1, 129); };
    EXPECT_EQ(bytes_of(pack_tiles(part(wide.to(gpu())), 2)), bytes_of(pack_tiles(part(wide), 2)));
  }
}

TEST_F(PackTiles, UnderCapture) {
  const Tensor host = random_codes(24, 128, DType::UInt8, 4), codes = host.to(gpu());
  const Tensor unchecked = random_codes(24, 128, DType::Int32, 5).to(gpu());
  const Tensor out = Tensor::empty(Ints{3, 1, 32, 4}, DType::Int32, gpu());
  Captured graph([&] {
    out.copy_(pack_tiles(codes, 8));
    failure(Status::InvalidState, [&] { pack_tiles(unchecked, 8); });
  });
  graph.run();
  EXPECT_EQ(bytes_of(out), bytes_of(pack_tiles(host, 8)));
}

TEST_F(PackTiles, MoreThan2To31Codes) {
  if (cuda_interface().properties(gpu()).free_bytes < uint64_t{8} << 30) {
    GTEST_SKIP() << "less than 8 GiB of device memory are free";
  }
  const int64_t block = 1000, times = 70, k = 32768;
  const Tensor codes = random_codes(block, k, DType::UInt8, 6).to(gpu());
  const Tensor expected = pack_tiles(codes, 8);
  {
    const Tensor all = Tensor::empty(Ints{times, block, k / 2}, DType::UInt8, gpu());
    all.copy_(codes);
    const Tensor packed = pack_tiles(all.view(Ints{times * block, k / 2}), 8);
    const int64_t tiles = block / 8;
    for (const int64_t part : {int64_t{0}, int64_t{65}, int64_t{66}, times - 1}) {
      EXPECT_EQ(bytes_of(packed.slice(0, part * tiles, (part + 1) * tiles)), bytes_of(expected));
    }
  }
  cuda_interface().allocator().empty_cache(gpu());
}

}  // namespace
}  // namespace aotiny::cuda
