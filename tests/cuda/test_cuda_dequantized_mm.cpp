// Products with native activations on a device: against fp64 sums on the CPU, and a row against
// itself among other rows.
#include "aotiny/kernels/cuda_dequantized_mm.h"

#include <atomic>
#include <thread>

#include "aotiny/quant/views.h"
#include "aotiny/shims/weight_ops.h"
#include "cuda_weights.h"

namespace aotiny::cuda {
namespace {

using namespace aotiny::testing;
using testing::tensor_of;
using DequantizedMm = GpuTest;

constexpr DType kFloats[] = {DType::Float32, DType::Float16, DType::BFloat16};

// Every kind of value and layout.
constexpr FormatId kSome[] = {
    kFormatId<CoalescedInt4Traits<Metadata::C>>, kFormatId<ExactInt5Traits>,
    kFormatId<PlanarInt6Traits<Metadata::A>>,    kFormatId<Int8Traits<Metadata::H>>,
    kFormatId<Int4PlainTraits<Float16>>,         kFormatId<Int4TilePackedTraits<8>>};

// The largest error of rounding to a dtype, in terms of the value.
double rounding(DType dtype) {
  return dtype == DType::Float32 ? 0x1p-24 : dtype == DType::Float16 ? 0x1p-11 : 0x1p-8;
}

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

// x W^T + bias on the device, over poison; x and bias are given on the CPU.
Tensor multiply(const Tensor& x, const Weight& weight, const Tensor* bias = nullptr) {
  const Tensor out = poisoned({x.size(0), weight.n()}, x.dtype());
  const Tensor device_bias = bias != nullptr ? bias->to(gpu()) : Tensor();
  matmul(x.to(gpu()), weight, Activation::Native, bias != nullptr ? &device_bias : nullptr, &out);
  return out.to(kCPU);
}

std::string name_of(FormatId format, int64_t group_size, DType dtype) {
  std::ostringstream name;
  name << format_name(format) << " in groups of " << group_size << ", " << dtype;
  return name.str();
}

TEST(DequantizedMmPlan, HasATileForFewRowsAndOneForMany) {
  const auto text = [](int64_t batch, int64_t m, int64_t n, DType dtype) {
    std::ostringstream out;
    out << plan_dequantized_mm(batch, m, n, dtype);
    return out.str();
  };
  EXPECT_EQ(text(1, 1, 1, DType::BFloat16),
            "1 x 1 x 1 tiles of 16 x 64, 64 along K at a time, 1 blocks of 128 threads");
  EXPECT_EQ(text(1, 16, 4097, DType::Float16),
            "1 x 1 x 65 tiles of 16 x 64, 64 along K at a time, 65 blocks of 128 threads");
  EXPECT_EQ(text(3, 17, 4097, DType::Float16),
            "3 x 1 x 33 tiles of 64 x 128, 64 along K at a time, 99 blocks of 256 threads");
  EXPECT_EQ(text(2, 16, 65, DType::Float32),
            "2 x 1 x 2 tiles of 16 x 64, 64 along K at a time, 4 blocks of 128 threads");
  EXPECT_EQ(text(1, 65, 65, DType::Float32),
            "1 x 2 x 2 tiles of 64 x 64, 64 along K at a time, 4 blocks of 128 threads");
}

TEST(DequantizedMmPlan, CountsBeyond32Bits) {
  const int64_t many = int64_t{1} << 30;
  const DequantizedMmPlan plan = plan_dequantized_mm(3, many, many, DType::BFloat16);
  EXPECT_EQ(plan.tiles_m, many / 64);
  EXPECT_EQ(plan.tiles_n, many / 128);
  EXPECT_EQ(plan.blocks, 2147483647u);  // what a grid can have; they step through the rest
}

TEST_F(DequantizedMm, EveryFormatGroupSizeAndDtype) {
  uint32_t seed = 1;
  for_formats_and_groups([&](FormatId format, int64_t group_size, int64_t least_k) {
    // Not a multiple of what passes through shared memory at a time, where the format allows that.
    const int64_t k = least_k >= 320 ? least_k : least_k * 3;
    const Weight host = random_weight(format, n_for(format, 131), k, group_size, seed++);
    const Weight device = host.to(gpu());
    for (const DType dtype : kFloats) {
      for (const int64_t m : {3, 19}) {
        const Tensor x = random_x({m, k}, dtype, seed++);
        expect_product(multiply(x, device), x, host, name_of(format, group_size, dtype));
      }
    }
  });
}

TEST_F(DequantizedMm, EveryNumberOfRowsGivesARowTheSameBits) {
  constexpr int64_t kMost = 300;
  for (const FormatId format : kSome) {
    const int64_t k = k_for(format, 352);  // 11 blocks of 32
    const Weight host = random_weight(format, n_for(format, 139), k, 32, 11);
    const Weight device = host.to(gpu());
    for (const DType dtype : kFloats) {
      const std::string name = name_of(format, 32, dtype);
      const Tensor x = random_x({kMost, k}, dtype, 12);
      const Tensor all = multiply(x, device);
      expect_product(all, x, host, name);
      const Tensor x_device = x.to(gpu());
      const auto rows = [&](int64_t begin, int64_t end) {
        return matmul(x_device.slice(0, begin, end), device, Activation::Native);
      };
      // Up to 8 rows and up to 16 are added up in orders of their own, for fp16 and bf16.
      const auto order_of = [&](int64_t m) {
        return dtype == DType::Float32 ? kMost : m <= 8 ? 8 : m <= 16 ? 16 : kMost;
      };
      const Tensor of_8 = rows(0, 8), of_16 = rows(0, 16);
      for (int64_t m = 1; m < kMost; ++m) {
        const Tensor& same = order_of(m) == 8 ? of_8 : order_of(m) == 16 ? of_16 : all;
        ASSERT_EQ(bytes_of(rows(0, m)), bytes_of(same.slice(0, 0, m)))
            << name << " of " << m << " rows";
      }
      for (const int64_t row : {1, 17, 100, 299}) {  // in another place of its tile
        const int64_t first = std::min(row, kMost - 8);
        const Tensor same = dtype == DType::Float32 ? all : rows(first, first + 8);
        const int64_t at = dtype == DType::Float32 ? row : row - first;
        ASSERT_EQ(bytes_of(rows(row, row + 1)), bytes_of(same.slice(0, at, at + 1)))
            << name << " row " << row;
      }
    }
  }
}

TEST_F(DequantizedMm, StridedAndShiftedActivations) {
  for (const FormatId format : kSome) {
    const int64_t k = k_for(format, 96);
    const Weight device =
        random_weight(format, n_for(format, 70), k, group_for(format, 32), 21).to(gpu());
    for (const DType dtype : kFloats) {
      for (const int64_t m : {5, 40}) {
        const Tensor wide = random_x({m, k + 13}, dtype, 22).to(gpu());
        for (const int64_t shift : {0, 1, 8}) {
          const Tensor x = wide.slice(1, shift, shift + k);  // rows at no multiple of 16 bytes
          const Tensor y = matmul(x, device, Activation::Native);
          const Tensor expected = matmul(x.contiguous(), device, Activation::Native);
          EXPECT_EQ(bytes_of(y), bytes_of(expected)) << format_name(format) << ' ' << dtype;
        }
        const Tensor columns = random_x({k, m}, dtype, 23).to(gpu()).transpose(0, 1);
        EXPECT_EQ(bytes_of(matmul(columns, device, Activation::Native)),
                  bytes_of(matmul(columns.contiguous(), device, Activation::Native)));
        const Tensor row = random_x({1, k}, dtype, 24).to(gpu());
        EXPECT_EQ(
            bytes_of(matmul(row.expand(Ints{m, k}), device, Activation::Native)),
            bytes_of(matmul(row.expand(Ints{m, k}).contiguous(), device, Activation::Native)));
      }
    }
  }
}

TEST_F(DequantizedMm, Bias) {
  const Weight host = random_weight(kSome[0], 71, 256, 32, 31);
  for (const DType dtype : kFloats) {
    for (const DType bias_dtype : kFloats) {
      const Tensor bias = random_x({71, 2}, bias_dtype, 32).select(1, 1);
      const Tensor x = random_x({7, 256}, dtype, 33);
      expect_product(multiply(x, host.to(gpu()), &bias), x, host, "bias", floats_of(bias));
    }
  }
}

TEST_F(DequantizedMm, Stacks) {
  for (const FormatId format : all_formats()) {
    const int64_t k = k_for(format, 160);
    const Weight host = random_stack(format, 3, n_for(format, 37), k, 32, 41);
    const Weight device = host.to(gpu());
    for (const int64_t m : {4, 33}) {
      const Tensor x = random_x({m, 3, k}, DType::BFloat16, 42).transpose(0, 1);
      const Tensor out = poisoned({3, m, host.n()}, DType::BFloat16);
      bmm(x.to(gpu()), device, Activation::Native, &out);
      const Tensor y = out.to(kCPU);
      for (int64_t b = 0; b < 3; ++b) {
        expect_product(y.select(0, b), x.select(0, b), select(host, 0, b), format_name(format));
      }
    }
    const Tensor x = random_x({1, 5, k}, DType::Float16, 43);
    const Tensor y = bmm(x.to(gpu()).expand(Ints{3, 5, k}), device, Activation::Native).to(kCPU);
    for (int64_t b = 0; b < 3; ++b) {
      expect_product(y.select(0, b), x.select(0, 0), select(host, 0, b), format_name(format));
    }
  }
}

TEST_F(DequantizedMm, FewBlocksStepThroughAllTiles) {
  const Weight experts = random_stack(kSome[0], 2, 300, 256, 64, 45).to(gpu());
  for (const int64_t m : {9, 130}) {
    const Tensor x = random_x({2, m, 256}, DType::BFloat16, 46).to(gpu());
    DequantizedMmPlan plan = plan_dequantized_mm(2, m, 300, DType::BFloat16);
    Tensor expected;
    for (const unsigned blocks : {plan.blocks, 1u, 4u, plan.blocks - 1}) {
      const Tensor y = poisoned({2, m, 300}, DType::BFloat16);
      plan.blocks = blocks;
      dequantized_mm({.weight = DeviceWeight(experts),
                      .m = m,
                      .dtype = DType::BFloat16,
                      .x = x.raw_data(),
                      .x_batch = m * 256,
                      .x_row = 256,
                      .bias = nullptr,
                      .y = y.raw_data()},
                     plan, current_stream(0));
      if (!expected.defined()) expected = y;
      EXPECT_EQ(bytes_of(y), bytes_of(expected)) << blocks << " blocks for " << m << " rows";
    }
  }
}

TEST_F(DequantizedMm, PartsOfWeights) {
  for (const FormatId format : all_formats()) {
    const int64_t k = k_for(format, 1024), group_size = group_for(format, 64);
    const Weight host = random_weight(format, 48, k, group_size, 51);
    const Weight device = host.to(gpu());
    const auto check = [&](const auto& part) {
      const Tensor x = random_x({6, part(host).k()}, DType::BFloat16, 52);
      expect_product(multiply(x, part(device)), x, part(host), format_name(format));
    };
    check([](const Weight& w) { return slice(w, 0, 8, 40); });
    check([&](const Weight& w) { return slice(w, 1, k / 2, k); });
    check([&](const Weight& w) { return slice(slice(w, 1, 0, k / 2), 0, 16, 32); });
  }
}

TEST_F(DequantizedMm, NanAndInfinityStayInTheirRows) {
  const Weight device = random_weight(kSome[3], 70, 256, 64, 61).to(gpu());
  for (const DType dtype : kFloats) {
    for (const int64_t m : {5, 70}) {
      const Tensor clean = random_x({m, 256}, DType::Float32, 62), x = clean.clone();
      x.data<float>()[1 * 256 + 9] = std::numeric_limits<float>::quiet_NaN();
      x.data<float>()[3 * 256 + 255] = std::numeric_limits<float>::infinity();
      const Tensor expected = multiply(clean.to(dtype), device), y = multiply(x.to(dtype), device);
      for (const float value : floats_of(y.select(0, 1))) EXPECT_TRUE(std::isnan(value)) << dtype;
      for (const float value : floats_of(y.select(0, 3))) {
        EXPECT_FALSE(std::isfinite(value)) << dtype;
      }
      for (const int64_t row : {int64_t{0}, int64_t{2}, m - 1}) {
        EXPECT_EQ(bytes_of(y.select(0, row)), bytes_of(expected.select(0, row))) << dtype;
      }
    }
  }
}

TEST_F(DequantizedMm, NoRows) {
  const Weight device = random_weight(kSome[0], 70, 256, 32, 71).to(gpu());
  const Tensor x = Tensor::empty(Ints{0, 256}, DType::BFloat16, gpu());
  EXPECT_EQ(ints(matmul(x, device, Activation::Native).sizes()), (Ints{0, 70}));
}

TEST_F(DequantizedMm, RunsInTheCurrentStreamAndInGraphs) {
  const Weight device = random_weight(kSome[5], 136, 512, 64, 81).to(gpu());
  const Tensor first = random_x({20, 512}, DType::BFloat16, 82).to(gpu());
  const Tensor second = random_x({20, 512}, DType::BFloat16, 83).to(gpu());
  const Tensor x = first.clone(), y = poisoned({20, 136}, DType::BFloat16);
  Captured graph([&] { matmul(x, device, Activation::Native, nullptr, &y); });
  for (const Tensor& values : {first, second}) {
    x.copy_(values);
    cuda_interface().synchronize(gpu());
    graph.run();
    EXPECT_EQ(bytes_of(y), bytes_of(matmul(values, device, Activation::Native)));
  }
  const Stream stream(0);
  const StreamGuard guard(0, stream.get());
  const int64_t nbytes = x.numel() * 2;
  keep_busy(stream.get(), x.raw_data(), static_cast<size_t>(nbytes), 0x40);
  x.copy_(second);
  EXPECT_EQ(bytes_of(matmul(x, device, Activation::Native)), bytes_of(y));
}

TEST_F(DequantizedMm, ThreadsWithStreamsOfTheirOwn) {
  std::vector<Weight> weights;
  std::vector<Tensor> activations;
  std::vector<std::vector<uint8_t>> expected;
  for (const FormatId format : kSome) {
    weights.push_back(random_weight(format, 264, 1024, 32, 85).to(gpu()));
    activations.push_back(random_x({33, 1024}, DType::BFloat16, 86).to(gpu()));
    const Tensor y = matmul(activations.back(), weights.back(), Activation::Native);
    expected.push_back(bytes_of(y));
  }
  cuda_interface().synchronize(gpu());
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (size_t t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      const Stream stream(0);
      {
        const StreamGuard guard(0, stream.get());
        for (size_t i = t; i < t + 60; ++i) {
          const size_t which = i % weights.size();
          const Tensor y = matmul(activations[which], weights[which], Activation::Native);
          if (bytes_of(y) != expected[which]) ++wrong;
        }
      }
      cuda_interface().synchronize(gpu());
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0) << "of 480";
}

// On each, with more than 2^31 elements.
class LargeProduct : public GpuTest {
 protected:
  void SetUp() override {
    GpuTest::SetUp();
    if (IsSkipped()) return;
    if (cuda_interface().properties(gpu()).free_bytes < uint64_t{24} << 30) {
      GTEST_SKIP() << "less than 24 GiB of device memory are free";
    }
  }
  void TearDown() override {
    GpuTest::TearDown();
    if (!IsSkipped()) cuda_interface().allocator().empty_cache(gpu());
  }
};

// The planes of a weight, over and over along N.
Weight repeated(const Weight& weight, int64_t times) {
  std::vector<Tensor> planes;
  for (const Tensor& plane : weight.planes()) {
    const int64_t rows = plane.size(0), columns = plane.size(1);
    const Tensor out = Tensor::empty(Ints{times, rows, columns}, plane.dtype(), gpu());
    out.copy_(plane.view(Ints{1, rows, columns}).expand(Ints{times, rows, columns}));
    planes.push_back(out.view(Ints{times * rows, columns}));
  }
  return Weight(weight.format(), planes, weight.group_size());
}

TEST_F(LargeProduct, WeightsOfMoreThan2To31) {
  const int64_t n = 1000, times = 70, k = 32768;
  const Weight block = random_weight(kFormatId<Int8Traits<Metadata::A>>, n, k, 256, 101).to(gpu());
  const Weight weight = repeated(block, times);
  const Tensor x = random_x({19, k}, DType::BFloat16, 102).to(gpu());
  const Tensor expected = matmul(x, block, Activation::Native);
  const Tensor y = matmul(x, weight, Activation::Native);
  for (const int64_t part : {int64_t{0}, int64_t{65}, int64_t{66}, times - 1}) {
    EXPECT_EQ(bytes_of(y.slice(1, part * n, (part + 1) * n)), bytes_of(expected)) << part;
  }
}

TEST_F(LargeProduct, ActivationsAndResultsOfMoreThan2To31) {
  const int64_t m = 70001, k = 32768;
  const Weight few = random_weight(kSome[3], 8, k, 256, 103).to(gpu());
  const Tensor row = random_x({1, k}, DType::BFloat16, 104).to(gpu());
  // One of so many that they are added up in the same order.
  const Tensor alone = matmul(row.expand(Ints{17, k}), few, Activation::Native).slice(0, 3, 4);
  {
    const Tensor x = Tensor::empty(Ints{m, k}, DType::BFloat16, gpu());
    x.zero_();
    for (const int64_t i : {int64_t{1}, int64_t{65537}, m - 1}) x.slice(0, i, i + 1).copy_(row);
    const Tensor y = matmul(x, few, Activation::Native);
    for (const int64_t i : {int64_t{1}, int64_t{65537}, m - 1}) {
      EXPECT_EQ(bytes_of(y.slice(0, i, i + 1)), bytes_of(alone));
      EXPECT_EQ(bytes_of(y.slice(0, i - 1, i)), std::vector<uint8_t>(16, 0)) << i;
    }
  }
  const Weight many = random_weight(kSome[3], k, 64, 32, 105).to(gpu());
  const Tensor x = random_x({m, 64}, DType::BFloat16, 106).to(gpu());
  const Tensor y = matmul(x, many, Activation::Native);
  for (const int64_t i : {int64_t{0}, int64_t{65535}, int64_t{65536}, m - 1}) {
    const Tensor among_17 =
        matmul(x.slice(0, i, i + 1).expand(Ints{17, 64}), many, Activation::Native);
    EXPECT_EQ(bytes_of(y.slice(0, i, i + 1)), bytes_of(among_17.slice(0, 5, 6))) << i;
  }
}

}  // namespace
}  // namespace aotiny::cuda
