// Products of few rows with native activations on a device: against fp64 sums on the CPU, and a row
// against itself among other rows.
#include "aotiny/kernels/cuda_native_decode.h"

#include "aotiny/quant/views.h"
#include "aotiny/shims/weight_ops.h"
#include "cuda_weights.h"

namespace aotiny::cuda {
namespace {

using namespace aotiny::testing;
using testing::tensor_of;
using NativeDecode = GpuTest;

constexpr FormatId kTiles = kFormatId<Int4TilePackedTraits<8>>;
constexpr DType kHalfFloats[] = {DType::Float16, DType::BFloat16};
// The H200 and the A100.
constexpr NativeDecodeDevice kH200{132, 232448, true};
constexpr NativeDecodeDevice kA100{108, 166912, false};

std::string plan_text(const NativeDecodeProblem& problem, const NativeDecodeDevice& device) {
  std::ostringstream out;
  out << plan_native_decode(problem, device);
  return out.str();
}

TEST(NativeDecodePlan, SplitsKWhereXDoesNotFitAndCountsTiles) {
  EXPECT_EQ(plan_text({kTiles, 1, 1, 43008, 5376}, kH200),
            "rows=8 teams=4 warps=4 split=1 round=2 kept=0 pieces=42 slice=42 tiles=2688 "
            "columns=528 batch=1");
  EXPECT_EQ(plan_text({kTiles, 1, 16, 5376, 21504}, kH200),
            "rows=16 teams=4 warps=4 split=8 round=1 kept=6 pieces=168 slice=21 tiles=336 "
            "columns=60 batch=1");
  EXPECT_EQ(plan_text({kTiles, 3, 9, 1, 32}, kH200),
            "rows=16 teams=4 warps=1 split=1 round=1 kept=0 pieces=1 slice=1 tiles=1 columns=4 "
            "batch=3");
  EXPECT_EQ(plan_text({kTiles, 1, 8, 4096, 4096}, kA100),
            "rows=8 teams=4 warps=4 split=1 round=1 kept=0 pieces=32 slice=32 tiles=256 "
            "columns=432 batch=1");
  EXPECT_EQ(plan_text({kTiles, 1, 17, 4096, 4096}, kH200), "none");
  EXPECT_EQ(plan_text({kTiles, 1, 16, 4096, 21504}, kA100), "none");
  EXPECT_EQ(plan_text({kTiles, 1, 1, 4096, int64_t{1} << 40}, kH200), "none");
}

// What must hold of every plan for the kernel to be right.
TEST(NativeDecodePlan, EveryWarpHasAPieceOfEveryTileAndAllFits) {
  for (const NativeDecodeDevice& device : {kH200, kA100}) {
    for (const int64_t k : {32, 128, 160, 1024, 1056, 4096, 5376, 8192, 21504, 32768, 60000}) {
      for (const int64_t n : {1, 16, 17, 300, 4096, 43008, 262144}) {
        for (const int64_t m : {1, 8, 9, 16}) {
          const NativeDecodePlan plan = plan_native_decode({kTiles, 1, m, n, k}, device);
          if (plan.rows == 0) continue;
          SCOPED_TRACE(plan_text({kTiles, 1, m, n, k}, device));
          EXPECT_GE(plan.rows, m);
          EXPECT_GE(plan.pieces * int64_t{128}, k);
          EXPECT_GE(plan.pieces / plan.split, plan.warps);
          EXPECT_GE(plan.slice * plan.split, plan.pieces);
          EXPECT_GE(plan.tiles * 16, n);
          EXPECT_LE(plan.columns / plan.teams, plan.tiles);
          EXPECT_EQ(plan.columns % plan.teams, 0);
          EXPECT_LE(plan.shared_bytes(m), device.shared);
          EXPECT_EQ(plan.kept > 0, plan.split > 1);
          EXPECT_GE(plan.kept, plan.split > 1 ? plan.round : 0);
          EXPECT_GE(plan.round, 1);
          NativeDecodePlan other = plan_native_decode({kTiles, 1, m <= 8 ? 5 : 12, n, k}, device);
          EXPECT_EQ(plan, other);
        }
      }
    }
  }
}

// The largest error of rounding to a dtype, in terms of the value.
double rounding(DType dtype) { return dtype == DType::Float16 ? 0x1p-11 : 0x1p-8; }

// Memory on the device that no kernel leaves as it is: NaN in every dtype.
Tensor poisoned(const Ints& sizes, DType dtype) {
  const Tensor tensor = Tensor::empty(sizes, dtype, gpu());
  AOTINY_CUDA_CHECK(
      cudaMemset(tensor.raw_data(), 0xFF, static_cast<size_t>(tensor.numel()) * tensor.itemsize()));
  return tensor;
}

Tensor random_x(const Ints& sizes, DType dtype, uint32_t seed) {
  int64_t count = 1;
  for (const int64_t size : sizes) count *= size;
  return tensor_of(gaussian(count, seed), sizes, dtype);
}

// x W^T + bias as the kernel computes it, over poison, by a plan that `change` may alter.
template <class Change>
Tensor decode(const Tensor& x, const Weight& weight, const Tensor& bias, Change&& change) {
  const bool is_stack = x.ndim() == 3;
  const int64_t batch = is_stack ? x.size(0) : 1, m = x.size(is_stack);
  const Tensor y = poisoned(is_stack ? Ints{batch, m, weight.n()} : Ints{m, weight.n()}, x.dtype());
  NativeDecodePlan plan = plan_native_decode({weight.format(), batch, m, weight.n(), weight.k()},
                                             native_decode_device());
  EXPECT_NE(plan.rows, 0);
  change(plan);
  native_decode({.weight = DeviceWeight(weight),
                 .m = m,
                 .dtype = x.dtype(),
                 .x = x.raw_data(),
                 .x_batch = is_stack ? x.stride(0) : 0,
                 .x_row = x.stride(is_stack),
                 .bias = bias.defined() ? bias.data<float>() : nullptr,
                 .y = y.raw_data()},
                plan, current_stream(0));
  return y;
}

Tensor decode(const Tensor& x, const Weight& weight, const Tensor& bias = Tensor()) {
  return decode(x, weight, bias, [](NativeDecodePlan&) {});
}

// y [m, N] of one weight against sums of x·w in fp64, w rounded to x's dtype; all on the CPU.
void expect_product(const Tensor& y, const Tensor& x, const Weight& weight, const std::string& what,
                    const std::vector<float>& bias = {}) {
  const int64_t m = x.size(0), n = weight.n(), k = weight.k();
  ASSERT_EQ(ints(y.sizes()), (Ints{m, n})) << what;
  ASSERT_EQ(y.dtype(), x.dtype()) << what;
  const std::vector<float> w = floats_of(weight.dequantize().to(x.dtype()));
  const std::vector<float> in = floats_of(x), out = floats_of(y);
  int64_t wrong = 0;
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      double sum = bias.empty() ? 0 : bias[j], size = std::abs(sum);
      for (int64_t l = 0; l < k; ++l) {
        const double term = double{in[i * k + l]} * w[j * k + l];
        sum += term;
        size += std::abs(term);
      }
      const double error = std::abs(out[i * n + j] - sum);
      if (error <= rounding(x.dtype()) * std::abs(sum) + 4e-6 * size) continue;
      if (wrong++ == 0) {
        ADD_FAILURE() << what << " [" << i << ", " << j << "]: " << out[i * n + j] << ", not "
                      << sum << ", with terms of " << size << " in all";
      }
    }
  }
  EXPECT_EQ(wrong, 0) << what << ": of " << m * n;
}

std::string name_of(FormatId format, int64_t group_size, DType dtype) {
  std::ostringstream name;
  name << format_name(format) << " in groups of " << group_size << ", " << dtype;
  return name.str();
}

TEST_F(NativeDecode, EveryFormatGroupSizeAndDtype) {
  uint32_t seed = 1;
  for_formats_and_groups([&](FormatId format, int64_t group_size, int64_t least_k) {
    // Not a multiple of the pieces along K, where the format allows that.
    const int64_t k = least_k >= 320 ? least_k : least_k * 3;
    const Weight host = random_weight(format, n_for(format, 85), k, group_size, seed++);
    const Weight device = host.to(gpu());
    for (const DType dtype : kHalfFloats) {
      for (const int64_t m : {3, 13}) {
        const Tensor x = random_x({m, k}, dtype, seed++);
        expect_product(decode(x.to(gpu()), device).to(kCPU), x, host,
                       name_of(format, group_size, dtype));
      }
    }
  });
}

TEST_F(NativeDecode, ARowHasTheSameBitsAmongOthers) {
  for (const FormatId format : all_formats()) {
    const int64_t k = k_for(format, 1376);
    const Weight device =
        random_weight(format, n_for(format, 139), k, group_for(format, 32), 11).to(gpu());
    for (const DType dtype : kHalfFloats) {
      const Tensor x = random_x({16, k}, dtype, 12).to(gpu());
      const Tensor eight = decode(x.slice(0, 0, 8), device), sixteen = decode(x, device);
      for (int64_t m = 1; m <= 16; ++m) {
        ASSERT_EQ(bytes_of(decode(x.slice(0, 0, m), device)),
                  bytes_of((m <= 8 ? eight : sixteen).slice(0, 0, m)))
            << name_of(format, 32, dtype) << " of " << m << " rows";
      }
      for (int64_t row = 0; row < 8; ++row) {  // in another place
        ASSERT_EQ(bytes_of(decode(x.slice(0, row, row + 1), device)),
                  bytes_of(eight.slice(0, row, row + 1)))
            << name_of(format, 32, dtype) << " row " << row;
      }
    }
  }
}

TEST_F(NativeDecode, LongRowsAreSplitOverClusters) {
  for (const FormatId format :
       {kFormatId<Int4TilePackedTraits<8>>, kFormatId<Int4TilePackedTraits<2>>,
        kFormatId<PlanarInt6Traits<Metadata::C>>, kFormatId<Int8Traits<Metadata::A>>}) {
    for (const int64_t k : {9984, 21504}) {
      const Weight host = random_weight(format, 40, k, 32, 21), device = host.to(gpu());
      for (const int64_t m : {2, 8, 16}) {
        if (plan_native_decode({format, 1, m, 40, k}, native_decode_device()).rows == 0) continue;
        const Tensor x = random_x({m, k}, DType::BFloat16, 22);
        expect_product(decode(x.to(gpu()), device).to(kCPU), x, host, format_name(format));
      }
    }
  }
}

TEST_F(NativeDecode, EverySplitAndNumberOfWarpsAndBlocks) {
  const Weight host = random_weight(kFormatId<Int4TilePackedTraits<4>>, 1000, 4160, 32, 25);
  const Weight device = host.to(gpu());
  const bool has_clusters = native_decode_device().has_clusters;
  for (const int64_t m : {7, 16}) {
    const Tensor x = random_x({m, 4160}, DType::BFloat16, 26), x_device = x.to(gpu());
    const std::vector<float> expected = floats_of(decode(x_device, device).to(kCPU));
    for (int split = 1; split <= (has_clusters ? 8 : 1); split *= 2) {
      for (const int warps : {1, 3, 4}) {
        for (const int columns : {1, 5, 62, 63}) {
          for (const int round : {1, 3}) {
            const Tensor y = decode(x_device, device, Tensor(), [&](NativeDecodePlan& plan) {
              plan.teams = columns % 2 == 0 ? 2 : 1;
              plan.split = split, plan.warps = warps, plan.columns = columns, plan.round = round;
              plan.slice = (plan.pieces - 1) / split + 1;
              plan.kept = split > 1 ? 2 * round + 1 : 0;
            });
            std::ostringstream what;
            what << m << " rows, split " << split << ", " << warps << " warps, " << columns
                 << " columns, round " << round;
            expect_product(y.slice(1, 976, 1000).contiguous().to(kCPU), x,
                           slice(host, 0, 976, 1000), what.str());
            EXPECT_LT(relative_error(floats_of(y.to(kCPU)), expected), 4e-3) << what.str();
          }
        }
      }
    }
  }
}

TEST_F(NativeDecode, StridedAndShiftedActivations) {
  for (const FormatId format : all_formats()) {
    const int64_t k = k_for(format, 96);
    const Weight device =
        random_weight(format, n_for(format, 70), k, group_for(format, 32), 31).to(gpu());
    for (const DType dtype : kHalfFloats) {
      const Tensor wide = random_x({11, k + 13}, dtype, 32).to(gpu());
      for (const int64_t shift : {0, 1, 2, 8}) {  // rows at odd and even elements
        const Tensor x = wide.slice(1, shift, shift + k);
        EXPECT_EQ(bytes_of(decode(x, device)), bytes_of(decode(x.contiguous(), device)))
            << format_name(format) << ' ' << dtype << " shifted by " << shift;
      }
      const Tensor row = random_x({1, k}, dtype, 33).to(gpu());
      EXPECT_EQ(bytes_of(decode(row.expand(Ints{6, k}), device)),
                bytes_of(decode(row, device).expand(Ints{6, device.n()})));
    }
  }
}

TEST_F(NativeDecode, BiasAndStacks) {
  for (const FormatId format : all_formats()) {
    const int64_t k = k_for(format, 416);
    const Weight host = random_stack(format, 3, n_for(format, 37), k, 32, 41);
    const Weight device = host.to(gpu());
    const Tensor bias = random_x({host.n()}, DType::Float32, 42), bias_device = bias.to(gpu());
    for (const int64_t m : {4, 15}) {
      const Tensor x = random_x({m, 3, k}, DType::BFloat16, 43).transpose(0, 1);
      const Tensor y = decode(x.to(gpu()), device, bias_device).to(kCPU);
      for (int64_t b = 0; b < 3; ++b) {
        expect_product(y.select(0, b), x.select(0, b), select(host, 0, b), format_name(format),
                       floats_of(bias));
      }
    }
  }
}

TEST_F(NativeDecode, PartsOfWeights) {
  for (const FormatId format : all_formats()) {
    const int64_t k = k_for(format, 1024), group_size = group_for(format, 64);
    const Weight host = random_weight(format, 48, k, group_size, 51);
    const Weight device = host.to(gpu());
    const auto check = [&](const auto& part) {
      const Tensor x = random_x({6, part(host).k()}, DType::BFloat16, 52);
      expect_product(decode(x.to(gpu()), part(device)).to(kCPU), x, part(host),
                     format_name(format));
    };
    check([](const Weight& w) { return slice(w, 0, 8, 40); });
    check([&](const Weight& w) { return slice(w, 1, k / 2, k); });
    check([&](const Weight& w) { return slice(slice(w, 1, 0, k / 2), 0, 16, 32); });
  }
}

// Metadata may begin at any of its elements; pairs of scale and zero are wanted at multiples of 4
// bytes here, and are left to the other kernel elsewhere.
TEST_F(NativeDecode, TilePackedPairsAtOddPlaces) {
  const FormatId format = kFormatId<Int4TilePackedTraits<8>>;
  const Weight host = random_weight(format, 24, 256, 64, 55), device = host.to(gpu());
  const Tensor room = Tensor::empty(Ints{4 * 24 * 2 + 1}, DType::BFloat16, gpu());
  const Tensor pairs = Tensor::from_blob(room.data<BFloat16>() + 1, device.planes()[1].sizes(),
                                         device.planes()[1].strides(), 0, DType::BFloat16, gpu());
  pairs.copy_(device.planes()[1]);
  const Weight shifted(format, {device.planes()[0], pairs}, 64);
  const Tensor x = random_x({5, 256}, DType::BFloat16, 56);
  expect_product(matmul(x.to(gpu()), shifted, Activation::Native).to(kCPU), x, host, "shifted");
}

TEST_F(NativeDecode, NanAndInfinityStayInTheirRows) {
  for (const FormatId format : {kFormatId<Int4TilePackedTraits<8>>, kFormatId<ExactInt5Traits>}) {
    const Weight device = random_weight(format, 72, 512, 32, 61).to(gpu());
    for (const DType dtype : kHalfFloats) {
      for (const int64_t m : {5, 12}) {
        const Tensor clean = random_x({m, 512}, DType::Float32, 62), x = clean.clone();
        x.data<float>()[1 * 512 + 9] = std::numeric_limits<float>::quiet_NaN();
        x.data<float>()[3 * 512 + 511] = std::numeric_limits<float>::infinity();
        const Tensor expected = decode(clean.to(dtype).to(gpu()), device);
        const Tensor y = decode(x.to(dtype).to(gpu()), device);
        for (const float value : floats_of(y.select(0, 1).to(kCPU))) {
          EXPECT_TRUE(std::isnan(value)) << dtype;
        }
        for (const float value : floats_of(y.select(0, 3).to(kCPU))) {
          EXPECT_FALSE(std::isfinite(value)) << dtype;
        }
        for (const int64_t row : {int64_t{0}, int64_t{2}, m - 1}) {
          EXPECT_EQ(bytes_of(y.select(0, row)), bytes_of(expected.select(0, row))) << dtype;
        }
      }
    }
  }
}

TEST_F(NativeDecode, RunsInTheCurrentStreamAndInGraphs) {
  const Weight device =
      random_weight(kFormatId<Int4TilePackedTraits<8>>, 136, 512, 64, 81).to(gpu());
  const Tensor first = random_x({9, 512}, DType::BFloat16, 82).to(gpu());
  const Tensor second = random_x({9, 512}, DType::BFloat16, 83).to(gpu());
  const Tensor x = first.clone(), y = poisoned({9, 136}, DType::BFloat16);
  Captured graph([&] { matmul(x, device, Activation::Native, nullptr, &y); });
  for (const Tensor& values : {first, second}) {
    x.copy_(values);
    cuda_interface().synchronize(gpu());
    graph.run();
    EXPECT_EQ(bytes_of(y), bytes_of(decode(values, device)));
  }
  const Stream stream(0);
  const StreamGuard guard(0, stream.get());
  keep_busy(stream.get(), x.raw_data(), static_cast<size_t>(x.numel() * 2), 0x40);
  x.copy_(second);
  EXPECT_EQ(bytes_of(decode(x, device)), bytes_of(y));
}

// Codes of more than 2^31 bytes: the same rows again and again.
TEST_F(NativeDecode, WeightsOfMoreThan2To31) {
  if (cuda_interface().properties(gpu()).free_bytes < uint64_t{8} << 30) {
    GTEST_SKIP() << "less than 8 GiB of device memory are free";
  }
  const int64_t n = 1000, times = 70, k = 32768;
  const Weight block = random_weight(kFormatId<Int8Traits<Metadata::A>>, n, k, 256, 91).to(gpu());
  std::vector<Tensor> planes;
  for (const Tensor& plane : block.planes()) {
    const int64_t columns = plane.size(1);
    const Tensor out = Tensor::empty(Ints{times, n, columns}, plane.dtype(), gpu());
    out.copy_(plane.view(Ints{1, n, columns}).expand(Ints{times, n, columns}));
    planes.push_back(out.view(Ints{times * n, columns}));
  }
  const Weight weight(block.format(), planes, 256);
  const Tensor x = random_x({3, k}, DType::BFloat16, 92).to(gpu());
  const Tensor y = decode(x, weight),
               last = decode(x, slice(weight, 0, (times - 1) * n, times * n));
  const std::vector<float> expected = floats_of(last.to(kCPU));
  const std::vector<float> got =
      floats_of(y.slice(1, (times - 1) * n, times * n).contiguous().to(kCPU));
  EXPECT_LT(relative_error(got, expected), 1e-3);
  planes.clear();
  cuda_interface().allocator().empty_cache(gpu());
}

}  // namespace
}  // namespace aotiny::cuda
