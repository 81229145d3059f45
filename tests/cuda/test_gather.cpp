// Rows dequantized on a device against the CPU's Weight::dequantize, bit for bit.
#include "aotiny/kernels/gather.h"

#include "aotiny/quant/views.h"
#include "aotiny/quant/weight_kernels.h"
#include "cuda_weights.h"

namespace aotiny::cuda {
namespace {

using namespace aotiny::testing;
using Gather = GpuTest;

constexpr DType kFloats[] = {DType::Float32, DType::Float16, DType::BFloat16};

// Memory that no kernel leaves as it is.
Tensor poisoned(const Ints& sizes, DType dtype, Device device) {
  const Tensor tensor = Tensor::empty(sizes, dtype, device);
  const DeviceGuard guard(device.index);
  AOTINY_CUDA_CHECK(
      cudaMemset(tensor.raw_data(), 0xA5, static_cast<size_t>(tensor.numel()) * tensor.itemsize()));
  return tensor;
}

// out[i] = W[indices[i]] of weight `b` of a stack.
Tensor gathered(const Weight& weight, const Tensor& indices, DType dtype, int64_t b = 0) {
  const Tensor out = poisoned({indices.numel(), weight.k()}, dtype, weight.device());
  cuda_interface().weight_kernels().gather({.weight = DeviceWeight(weight),
                                            .stacked = b,
                                            .indices = indices.data<int64_t>(),
                                            .count = indices.numel(),
                                            .dtype = dtype,
                                            .out = out.raw_data()},
                                           weight.device());
  return out;
}

void expect_same(const Weight& device, const Weight& host, const std::string& what) {
  EXPECT_EQ(bytes_of(device.dequantize()), bytes_of(host.dequantize())) << what;
}

std::string name_of(FormatId format, int64_t group_size) {
  return format_name(format) + " in groups of " + std::to_string(group_size);
}

TEST_F(Gather, EveryFormatAndGroupSize) {
  uint32_t seed = 1;
  for_formats_and_groups([&](FormatId format, int64_t group_size, int64_t k) {
    for (const int64_t multiple : {1, 3}) {
      const Weight host =
          random_weight(format, n_for(format, 13), multiple * k, group_size, seed++);
      expect_same(host.to(gpu()), host, name_of(format, group_size));
    }
  });
}

TEST_F(Gather, EveryDtypeOfSomeRows) {
  for (const FormatId format : all_formats()) {
    const Weight host = random_weight(format, 24, 512, group_for(format, 64), 5);
    const Weight device = host.to(gpu());
    const std::vector<int64_t> rows = {23, 0, 7, 7, 16, 1, 8};
    const Tensor indices = aotiny::tensor_of<int64_t>({7}, rows).to(gpu());
    for (const DType dtype : kFloats) {
      const Tensor all = host.dequantize().to(dtype);
      const Tensor out = gathered(device, indices, dtype);
      for (int64_t i = 0; i < 7; ++i) {
        EXPECT_EQ(bytes_of(out.select(0, i)), bytes_of(all.select(0, rows[i])))
            << format_name(format) << ' ' << dtype << " row " << i;
      }
    }
  }
}

TEST_F(Gather, BadIndicesGiveNan) {
  const Weight host = random_weight(FormatId{0}, 5, 64, 32, 5);
  const Tensor all = host.dequantize();
  const std::vector<int64_t> rows = {-1, 4, 5, INT64_MAX, INT64_MIN, int64_t{1} << 32, 0};
  const Tensor indices = aotiny::tensor_of<int64_t>({7}, rows).to(gpu());
  for (const DType dtype : kFloats) {
    const Tensor out = gathered(host.to(gpu()), indices, dtype).to(kCPU).to(DType::Float32);
    for (int64_t i = 0; i < 7; ++i) {
      const std::vector<float> row = floats_of(out.select(0, i));
      if (rows[i] == 4 || rows[i] == 0) {
        EXPECT_EQ(row, floats_of(all.select(0, rows[i]).to(dtype))) << dtype << " row " << i;
      } else {
        EXPECT_TRUE(std::ranges::all_of(row, [](float v) { return std::isnan(v); })) << i;
      }
    }
  }
}

TEST_F(Gather, StacksAndViews) {
  for (const FormatId format : all_formats()) {
    const std::string name = format_name(format);
    const int64_t group_size = group_for(format, 32), k = k_for(format, 512);
    const Weight host = random_stack(format, 3, 16, k, group_size, 9);
    const Weight device = host.to(gpu());
    expect_same(device, host, name);
    expect_same(device.transposed(), host.transposed(), name + " transposed");
    expect_same(select(device, 0, 1), select(host, 0, 1), name + " [1]");
    expect_same(slice(device, 0, 1, 3), slice(host, 0, 1, 3), name + " [1:3]");
    expect_same(slice(device, 1, 8, 16), slice(host, 1, 8, 16), name + " [:, 8:16]");
    const int64_t half = k / 2;
    expect_same(slice(device, 2, half, k), slice(host, 2, half, k), name + " [..., half:]");
    expect_same(slice(slice(device, 1, 8, 16), 2, 0, half),
                slice(slice(host, 1, 8, 16), 2, 0, half), name + " [:, 8:16, :half]");
  }
}

TEST_F(Gather, FollowsExtremeMetadata) {
  // Scales at both ends of what fp16 rounds to: infinities, subnormals and zeros.
  for (const float scale : {1e30f, 3e5f, 1e-6f, 1e-30f}) {
    for (const FormatId format :
         {FormatId{0}, find_format("PlanarInt6", "A"), find_format("Int4Plain", "float32")}) {
      const Weight host =
          quantize(testing::tensor_of(gaussian(8 * 64, 3, scale), {8, 64}), format, 32);
      const Tensor all = aotiny::tensor_of<int64_t>({8}, {0, 1, 2, 3, 4, 5, 6, 7}).to(gpu());
      for (const DType dtype : kFloats) {
        EXPECT_EQ(bytes_of(gathered(host.to(gpu()), all, dtype)),
                  bytes_of(host.dequantize().to(dtype)))
            << format_name(format) << ' ' << dtype << ' ' << scale;
      }
    }
  }
}

TEST_F(Gather, MoreRowsThanTheGridHasThreads) {
  const Weight host = random_weight(FormatId{0}, 3, 32, 32, 5);
  const int64_t count = 3 * (int64_t{1} << 24);  // blocks of 32
  const Tensor indices = Tensor::empty(Ints{count}, DType::Int64);
  for (int64_t i = 0; i < count; ++i) indices.data<int64_t>()[i] = i % 3;
  const Tensor out = gathered(host.to(gpu()), indices.to(gpu()), DType::BFloat16);
  const Tensor expected = host.dequantize().to(DType::BFloat16);
  const int64_t sizes[] = {count / 3, 3 * 32};
  const Tensor found = out.view(sizes);
  for (const int64_t i : {int64_t{0}, int64_t{5000000}, (int64_t{1} << 24) - 1}) {
    EXPECT_EQ(bytes_of(found.select(0, i)), bytes_of(expected)) << i;
  }
}

TEST_F(Gather, BeyondTwoToTheThirtyOneElements) {
  // 2^32 codes in 2 GB; only some rows are written, and read.
  constexpr int64_t kN = int64_t{1} << 20, kK = 4096;
  const Weight few = random_weight(FormatId{0}, 4, kK, 128, 5);
  const Weight device = Weight::empty(FormatId{0}, kN, kK, 128, std::nullopt, gpu());
  const std::vector<int64_t> rows = {0, kN / 2, kN / 2 + 1, kN - 1};
  for (int64_t i = 0; i < 4; ++i) {
    copy_into(slice(device, 0, rows[i], rows[i] + 1), slice(few, 0, i, i + 1));
  }
  const Tensor out =
      gathered(device, aotiny::tensor_of<int64_t>({4}, rows).to(gpu()), DType::Float32);
  EXPECT_EQ(bytes_of(out), bytes_of(few.dequantize()));
}

TEST_F(Gather, InTheCurrentStreamAndInAGraph) {
  const Weight host = random_weight(FormatId{2}, 9, 64, 32, 5);
  const Weight device = host.to(gpu());
  const Tensor indices = Tensor::empty(Ints{2}, DType::Int64, gpu());
  indices.copy_(aotiny::tensor_of<int64_t>({2}, {1, 2}));
  const Tensor out = poisoned({2, 64}, DType::Float32, gpu());
  Captured graph([&] {
    cuda_interface().weight_kernels().gather({.weight = DeviceWeight(device),
                                              .indices = indices.data<int64_t>(),
                                              .count = 2,
                                              .dtype = DType::Float32,
                                              .out = out.raw_data()},
                                             gpu());
  });
  const Tensor all = host.dequantize();
  for (const int64_t first : {3, 7}) {
    indices.copy_(aotiny::tensor_of<int64_t>({2}, {first, first + 1}));
    graph.run();
    EXPECT_EQ(bytes_of(out), bytes_of(all.slice(0, first, first + 2))) << first;
  }
}

TEST_F(Gather, OnAnotherDevice) {
  if (device_count() < 2) GTEST_SKIP() << "there is one GPU";
  for (const FormatId format : all_formats()) {
    const Weight host = random_weight(format, 8, 256, 32, 5);
    expect_same(host.to(gpu(1)), host, format_name(format));
    expect_same(host.to(gpu(0)).to(gpu(1)), host, format_name(format));
  }
}

}  // namespace
}  // namespace aotiny::cuda
