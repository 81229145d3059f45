// Products with quantized activations against the scalar reference and the CPU's kernels.
#include <array>
#include <sstream>

#include "aotiny/kernels/cuda_plain_mm_plan.h"
#include "cuda_products.h"

namespace aotiny::cuda {
namespace {

// --- the plan: no GPU needed --------------------------------------------------------------------

std::string text_of(const PlainMmProblem& problem) {
  std::ostringstream text;
  text << problem << ": " << plan_plain_mm(problem);
  return text.str();
}

TEST(CudaPlainMmPlan, CanBePrinted) {
  EXPECT_EQ(text_of({FormatId{0}, 1, 9, 100, 384, 32}),
            "plain_mm CoalescedInt4A batch=1 m=9 n=100 k=384 g=32: rows_x=8 rows_w=4 chunks=2 "
            "tiles=7 items=14 grid=14");
  EXPECT_EQ(text_of({kFormatId<PlanarInt6Traits<Metadata::A>>, 3, 1, 5, 96, 48}),
            "plain_mm PlanarInt6A batch=3 m=1 n=5 k=96 g=48: rows_x=1 rows_w=1 halves chunks=1 "
            "tiles=2 items=6 grid=6");
}

TEST(CudaPlainMmPlan, CoversEveryRowOnce) {
  for (const int64_t m : {1, 2, 3, 4, 5, 7, 8, 9, 300, 100000}) {
    for (const int64_t n : {1, 3, 4, 15, 16, 17, 384, 152064}) {
      for (const int64_t batch : {1, 5}) {
        const PlainMmProblem problem{FormatId{0}, batch, m, n, 4096, 32};
        SCOPED_TRACE(text_of(problem));
        const PlainMmPlan plan = plan_plain_mm(problem);
        EXPECT_TRUE(plan.rows_x == 1 || plan.rows_x == 2 || plan.rows_x == 4 || plan.rows_x == 8);
        EXPECT_GE(plan.chunks * plan.rows_x, m);
        EXPECT_LT((plan.chunks - 1) * plan.rows_x, m);
        const int64_t tile = kPlainMmWarps * plan.rows_w;
        EXPECT_GE(plan.tiles * tile, n);
        EXPECT_LT((plan.tiles - 1) * tile, n);
        EXPECT_EQ(plan.items, plan.chunks * plan.tiles * batch);
        EXPECT_EQ(plan.grid, std::min<int64_t>(plan.items, 2147483647));
        EXPECT_FALSE(plan.halves);
      }
    }
  }
}

TEST(CudaPlainMmPlan, RefusesWhatItCannotCount) {
  const int64_t huge = int64_t{1} << 40;
  EXPECT_EQ(plan_plain_mm({FormatId{0}, 1, huge, 1, 32, 32}).grid, 2147483647);
  EXPECT_TRUE(contains(failure(Status::InvalidArgument,
                               [&] {
                                 plan_plain_mm({FormatId{0}, huge, huge, huge, 32, 32});
                               }),
                       "m=1099511627776 n=1099511627776"));
  EXPECT_TRUE(contains(failure(Status::InvalidArgument,
                               [&] {
                                 plan_plain_mm({FormatId{0}, 1, 1, 1, huge, 32});
                               }),
                       "k=1099511627776 g=32: K is above 2147483648"));
  // A group of 2^32 would be one of 0 in 32 bits.
  const int64_t group = int64_t{1} << 32;
  EXPECT_TRUE(contains(failure(Status::InvalidArgument,
                               [&] {
                                 plan_plain_mm({FormatId{0}, 1, 1, 1, 2 * group, group});
                               }),
                       "k=8589934592 g=4294967296: K is above 2147483648"));
  EXPECT_EQ(plan_plain_mm({FormatId{0}, 1, 1, 1, group / 2, group / 2}).grid, 1);
}

// --- products -----------------------------------------------------------------------------------

class CudaPlainMm : public GpuTest, public ::testing::WithParamInterface<FormatId> {
 protected:
  int64_t k_for(int64_t k) const { return testing::k_for(GetParam(), k); }
  int64_t group_for(int64_t size) const { return testing::group_for(GetParam(), size); }
};
INSTANTIATE_TEST_SUITE_P(Formats, CudaPlainMm, ::testing::ValuesIn(plain_formats()),
                         [](const auto& info) { return format_name(info.param); });

Tensor product(const Tensor& x, const Weight& weight, const Tensor* bias = nullptr) {
  return matmul(x, weight, Activation::Int8, bias);
}

// With and without bias, on the device, against the reference and the CPU.
void compare(const Weight& weight, const Tensor& x, uint32_t seed) {
  const Weight on_device = weight.to(gpu());
  const Tensor there = x.to(gpu());
  const std::vector<float> values = floats_of(x);
  const int64_t m = x.numel() / weight.k();
  const Tensor bias = random_tensor({weight.n()}, seed);
  const Tensor bias_there = bias.to(gpu());
  const std::vector<double> expected = reference_plain_mm(values.data(), m, weight);
  const std::vector<double> with_bias =
      reference_plain_mm(values.data(), m, weight, bias.data<float>());
  const Tensor y = product(there, on_device), z = product(there, on_device, &bias_there);
  EXPECT_EQ(y.device(), gpu());
  EXPECT_EQ(y.dtype(), x.dtype());
  EXPECT_LT(error_against(y, expected), tolerance(x.dtype()));
  EXPECT_LT(error_against(z, with_bias), tolerance(x.dtype()));
  EXPECT_LT(relative_error(floats_of(y.to(kCPU)), floats_of(product(x, weight))),
            tolerance(x.dtype()));
}

TEST_P(CudaPlainMm, MatchesTheReferenceForEveryM) {
  const int64_t n = 37, k = k_for(608);
  const Weight weight = random_weight(GetParam(), n, k, group_for(32), 1);
  for (const int64_t m : {1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 33, 64, 128, 300}) {
    for (const DType dtype : float_dtypes()) {
      SCOPED_TRACE(::testing::Message() << "m=" << m << ' ' << dtype);
      compare(weight, random_tensor({m, k}, 2, dtype), 3);
    }
  }
}

TEST_P(CudaPlainMm, MatchesTheReferenceForEveryGroupSize) {
  for (const int64_t group_size : kGroupSizes) {
    const int64_t least = least_k(GetParam(), group_size);
    if (least == 0) continue;
    for (const auto& [n, about] : {std::array<int64_t, 2>{1, 32}, {19, 1056}, {130, 96}}) {
      const int64_t k = (about + least - 1) / least * least;
      const Weight weight = random_weight(GetParam(), n, k, group_size, 4);
      for (const int64_t m : {1, 2, 3, 6}) {
        SCOPED_TRACE(::testing::Message()
                     << "m=" << m << " n=" << n << " k=" << k << " g=" << group_size);
        compare(weight, random_tensor({m, k}, 5), 6);
      }
    }
  }
}

TEST_P(CudaPlainMm, MatchesTheReferenceForLargerWeights) {
  const Weight weight = random_weight(GetParam(), 263, 4096, group_for(128), 7);
  for (const int64_t m : {1, 4, 10}) {
    SCOPED_TRACE(::testing::Message() << "m=" << m);
    compare(weight, random_tensor({m, 4096}, 8, DType::BFloat16), 9);
    compare(weight, random_tensor({m, 4096}, 8), 9);
  }
}

TEST_P(CudaPlainMm, NoRowsGiveAnEmptyResult) {
  const Weight weight = random_weight(GetParam(), 5, k_for(64), group_for(32), 1).to(gpu());
  const Tensor x = Tensor::empty(std::vector<int64_t>{2, 0, weight.k()}, DType::Float32, gpu());
  const Tensor y = product(x, weight);
  EXPECT_EQ(y.numel(), 0);
  EXPECT_EQ(ints(y.sizes()), (Ints{2, 0, 5}));
}

// Bit for bit: neither the number of rows, nor which of them a row is, matters.
TEST_P(CudaPlainMm, RowsDoNotDependOnTheBatch) {
  const int64_t most = 300, n = 37, k = 1536;
  for (const int64_t group_size : {32, 16}) {
    if (group_for(group_size) != group_size) continue;
    const Weight weight = random_weight(GetParam(), n, k, group_size, 10).to(gpu());
    const Tensor x = random_tensor({most, k}, 11).to(gpu());
    const Tensor all = product(x, weight).to(kCPU);
    for (int64_t m = 1; m <= most; ++m) {
      const Tensor some = product(x.slice(0, most - m, most), weight);
      ASSERT_EQ(bytes_of(some), bytes_of(all.slice(0, most - m, most))) << "m=" << m;
    }
  }
}

// Nor the number of columns.
TEST_P(CudaPlainMm, ColumnsDoNotDependOnTheWeight) {
  const int64_t k = k_for(512);
  const Weight weight = random_weight(GetParam(), 70, k, group_for(64), 12);
  const Tensor x = random_tensor({9, k}, 13).to(gpu());
  const Tensor all = product(x, weight.to(gpu())).to(kCPU);
  for (const int64_t n : {1, 2, 3, 4, 5, 16, 17, 33, 69}) {
    std::vector<Tensor> planes;
    for (const Tensor& plane : weight.planes()) planes.push_back(plane.slice(0, 0, n).to(gpu()));
    const Tensor some = product(x, Weight(GetParam(), planes, weight.group_size()));
    EXPECT_EQ(bytes_of(some), bytes_of(all.slice(1, 0, n))) << "n=" << n;
  }
}

TEST_P(CudaPlainMm, TakesAnyStridesAndRanks) {
  const int64_t k = k_for(192);
  const Weight weight = random_weight(GetParam(), 21, k, group_for(64), 14);
  const Weight there = weight.to(gpu());
  for (const DType dtype : float_dtypes()) {
    const Tensor base = random_tensor({6, 5, k + 8}, 15, dtype).to(gpu());
    const Tensor x = base.slice(2, 3, 3 + k);
    for (const Tensor& view :
         {x, x.select(0, 1), x.select(0, 1).select(0, 4), x.slice(0, 1, 6, 2), x.transpose(0, 1),
          x.select(1, 2).slice(0, 0, 1).expand(std::vector<int64_t>{9, k}),
          x.select(1, 2).contiguous().transpose(0, 1).contiguous().transpose(0, 1)}) {
      SCOPED_TRACE(::testing::Message() << view);
      const Tensor y = product(view, there);
      Ints sizes = ints(view.sizes());
      sizes.back() = 21;
      EXPECT_EQ(ints(y.sizes()), sizes);
      EXPECT_EQ(bytes_of(y), bytes_of(product(view.contiguous(), there)));
      EXPECT_LT(relative_error(floats_of(y.to(kCPU)), floats_of(product(view.to(kCPU), weight))),
                tolerance(dtype));
    }
  }
}

// A weight between others: every plane a view of a larger one.
TEST_P(CudaPlainMm, TakesStridedWeights) {
  const int64_t k = k_for(320), n = 23;
  const Weight weight = random_weight(GetParam(), n, k, group_for(32), 16);
  std::vector<Tensor> planes;
  for (size_t i = 0; i < weight.planes().size(); ++i) {
    const Tensor& plane = weight.planes()[i];
    const int64_t columns = plane.size(1);
    const int64_t margin = weight.info().planes[i].per == Per::Row ? 0 : 32;
    const Tensor room =
        Tensor::empty(std::vector<int64_t>{n + 4, columns + 2 * margin}, plane.dtype());
    room.zero_();
    const Tensor view = room.slice(0, 2, n + 2).slice(1, margin, margin + columns);
    view.copy_(plane);
    const Tensor whole = room.to(gpu());
    planes.push_back(whole.slice(0, 2, n + 2).slice(1, margin, margin + columns));
  }
  const Weight strided(GetParam(), planes, weight.group_size());
  const Tensor x = random_tensor({11, k}, 17).to(gpu());
  EXPECT_EQ(bytes_of(product(x, strided)), bytes_of(product(x, weight.to(gpu()))));
}

TEST_P(CudaPlainMm, MultipliesStacks) {
  const int64_t k = k_for(192), n = 13;
  const Weight stack = random_stack(GetParam(), 3, n, k, group_for(64), 18);
  const Weight there = stack.to(gpu());
  for (const int64_t m : {1, 2, 5, 9}) {
    for (const DType dtype : float_dtypes()) {
      SCOPED_TRACE(::testing::Message() << "m=" << m << ' ' << dtype);
      const Tensor x = random_tensor({m, 3, k}, 19, dtype).to(gpu()).transpose(0, 1);
      const Tensor y = bmm(x, there, Activation::Int8);
      for (int64_t b = 0; b < 3; ++b) {
        std::vector<Tensor> planes;
        for (const Tensor& plane : there.planes()) planes.push_back(plane.select(0, b));
        const Weight one(GetParam(), planes, stack.group_size());
        EXPECT_EQ(bytes_of(y.select(0, b)), bytes_of(product(x.select(0, b), one))) << b;
      }
      EXPECT_LT(relative_error(floats_of(y.to(kCPU)),
                               floats_of(bmm(x.to(kCPU), stack, Activation::Int8))),
                tolerance(dtype));
    }
  }
}

// Poison before and after y, and in it, and around x and the bias.
TEST_P(CudaPlainMm, TouchesNothingElse) {
  const int64_t k = k_for(96);
  for (const int64_t n : {1, 15, 33}) {
    const Weight weight = random_weight(GetParam(), n, k, group_for(32), 20);
    const Weight there = weight.to(gpu());
    for (const int64_t m : {1, 3, 10}) {
      for (const DType dtype : float_dtypes()) {
        SCOPED_TRACE(::testing::Message() << "m=" << m << " n=" << n << ' ' << dtype);
        const Tensor room =
            tensor_of(std::vector<float>((m + 2) * n, -12345.0f), {m + 2, n}, dtype).to(gpu());
        const Tensor x = random_tensor({m, k}, 21, dtype), bias = random_tensor({n}, 22);
        const Tensor bias_there = bias.to(gpu()), out = room.slice(0, 1, m + 1);
        matmul(x.to(gpu()), there, Activation::Int8, &bias_there, &out);
        const Tensor whole = room.to(kCPU);
        const std::vector<uint8_t> poison =
            bytes_of(tensor_of(std::vector<float>(n, -12345.0f), {n}, dtype));
        EXPECT_EQ(bytes_of(whole.select(0, 0)), poison);
        EXPECT_EQ(bytes_of(whole.select(0, m + 1)), poison);
        EXPECT_LT(
            error_against(whole.slice(0, 1, m + 1),
                          reference_plain_mm(floats_of(x).data(), m, weight, bias.data<float>())),
            tolerance(dtype));
        EXPECT_EQ(bytes_of(bias_there), bytes_of(bias));
      }
    }
  }
}

// y where x or the bias was.
TEST_P(CudaPlainMm, WritesOverItsOperands) {
  const Weight there = random_weight(GetParam(), 256, 256, group_for(32), 23).to(gpu());
  for (const DType dtype : float_dtypes()) {
    const Tensor memory = random_tensor({256, 256}, 24, dtype).to(gpu());
    const Tensor bias = memory.select(0, 0);
    const Tensor copy = bias.clone();
    const Tensor expected = product(memory, there, &copy);
    matmul(memory, there, Activation::Int8, &bias, &memory);
    EXPECT_EQ(bytes_of(memory), bytes_of(expected));
  }
}

TEST_P(CudaPlainMm, SumsDoNotOverflow) {
  const int64_t n = 18, k = k_for(64);
  std::vector<float> values(static_cast<size_t>(n * k));
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<int64_t>(i) / k % 2 == 0 ? 1.0f : -1.0f;
  }
  for (size_t i = 0; i < values.size(); i += 32) values[i] = -values[i];  // spans the range
  const Weight weight = quantize(testing::tensor_of(values, {n, k}), GetParam(), group_for(32));
  for (const float sign : {1.0f, -1.0f}) {
    const std::vector<float> x(static_cast<size_t>(3 * k), sign);
    compare(weight, testing::tensor_of(x, {3, k}), 25);
  }
}

TEST_P(CudaPlainMm, NaNAndInfinityMakeTheirRowNaN) {
  const int64_t n = 20, k = k_for(96);
  const Weight there = random_weight(GetParam(), n, k, group_for(32), 26).to(gpu());
  for (const float bad : {NAN, INFINITY, -INFINITY}) {
    std::vector<float> x = gaussian(3 * k, 27);
    x[static_cast<size_t>(k + 40)] = bad;
    const std::vector<float> y =
        floats_of(product(testing::tensor_of(x, {3, k}).to(gpu()), there).to(kCPU));
    for (int64_t i = 0; i < 3 * n; ++i) EXPECT_EQ(std::isnan(y[i]), i / n == 1) << bad << ' ' << i;
  }
}

TEST_P(CudaPlainMm, ZeroActivationsGiveExactZeros) {
  const int64_t k = k_for(128);
  const Weight there = random_weight(GetParam(), 21, k, group_for(32), 28).to(gpu());
  const Tensor x = Tensor::empty(std::vector<int64_t>{4, k}, DType::Float32, gpu());
  x.zero_();
  for (const float y : floats_of(product(x, there).to(kCPU))) EXPECT_EQ(y, 0.0f);
}

TEST_P(CudaPlainMm, CanBeCaptured) {
  const int64_t k = k_for(320), m = 5;
  const Weight there = random_weight(GetParam(), 45, k, group_for(64), 29).to(gpu());
  const Tensor x = random_tensor({m, k}, 30, DType::BFloat16).to(gpu());
  const Tensor y = Tensor::empty(std::vector<int64_t>{m, 45}, DType::BFloat16, gpu());
  cuda_interface().synchronize(gpu());
  Captured graph([&] { matmul(x, there, Activation::Int8, nullptr, &y); });
  for (uint32_t seed = 31; seed < 34; ++seed) {
    x.copy_(random_tensor({m, k}, seed, DType::BFloat16));
    cuda_interface().synchronize(gpu());
    graph.run();
    EXPECT_EQ(bytes_of(y), bytes_of(product(x, there)));
  }
}

// --- one format for all -------------------------------------------------------------------------

using CudaPlainMmOnce = GpuTest;

// Codes, activations and results that more than 2^31 elements lie between: offsets have 64 bits.
TEST_F(CudaPlainMmOnce, SizesBeyondTwoToThe31) {
  const FormatId format = kFormatId<Int8Traits<Metadata::A>>;
  const int64_t k = 4096, rows = 70;
  if (cuda_interface().properties(gpu()).free_bytes < uint64_t{20} << 30) {
    GTEST_SKIP() << "less than 20 GiB of device memory are free";
  }
  const Weight small = random_weight(format, rows, k, 32, 40);
  const Tensor x = random_tensor({3, k}, 41);
  const Tensor expected = product(x.to(gpu()), small.to(gpu())).to(kCPU);
  {
    const int64_t n = (int64_t{1} << 31) / k + 1000;
    std::vector<Tensor> planes;
    for (const Tensor& plane : small.planes()) {
      const Tensor large =
          Tensor::empty(std::vector<int64_t>{n, plane.size(1)}, plane.dtype(), gpu());
      large.zero_();
      large.slice(0, n - rows, n).copy_(plane);
      planes.push_back(large);
    }
    const Tensor y = product(x.to(gpu()), Weight(format, planes, 32)).to(kCPU);
    EXPECT_EQ(bytes_of(y.slice(1, n - rows, n)), bytes_of(expected));
    EXPECT_EQ(bytes_of(y.slice(1, 0, 1)), std::vector<uint8_t>(12, 0));
  }
  const int64_t m = (int64_t{1} << 31) / k + 1001;
  const Tensor many = x.to(gpu()).slice(0, 2, 3).expand(std::vector<int64_t>{m, k});
  const Tensor y = product(many, small.to(gpu())).to(kCPU);
  for (const int64_t i : {int64_t{0}, m / 2, m - 2, m - 1}) {
    EXPECT_EQ(bytes_of(y.select(0, i)), bytes_of(expected.select(0, 2))) << i;
  }
}

TEST_F(CudaPlainMmOnce, ManyRowsOfX) {
  const Weight weight = random_weight(FormatId{0}, 3, 32, 32, 42);
  const int64_t m = 600001;
  const Tensor x = random_tensor({m, 32}, 43);
  const Tensor y = product(x.to(gpu()), weight.to(gpu())).to(kCPU);
  EXPECT_LT(relative_error(floats_of(y), floats_of(product(x, weight))), tolerance(x.dtype()));
}

TEST_F(CudaPlainMmOnce, GoesToTheTensorsOwnDeviceAndItsStream) {
  const int last = device_count() - 1;
  const Weight weight = random_weight(FormatId{0}, 33, 128, 32, 44);
  const Tensor x = random_tensor({5, 128}, 45);
  const Stream stream(last);
  std::vector<float> y;
  {
    const StreamGuard guard(last, stream.get());
    const DeviceGuard other(0);
    const Weight there = weight.to(gpu(last));
    y = floats_of(product(x.to(gpu(last)), there).to(kCPU));
    AOTINY_CUDA_CHECK(cudaStreamSynchronize(stream.get()));
  }
  EXPECT_LT(relative_error(y, floats_of(product(x, weight))), 1e-6);
  if (last == 0) return;
  const Weight there = weight.to(gpu(last));
  EXPECT_TRUE(contains(failure(Status::InvalidArgument, [&] { product(x.to(gpu(0)), there); }),
                       "x is on cuda:0, the weight on cuda:" + std::to_string(last)));
}

TEST_F(CudaPlainMmOnce, RefusesMixedDevicesAndMisalignedCodes) {
  const Weight weight = random_weight(FormatId{0}, 4, 64, 32, 46), there = weight.to(gpu());
  const Tensor x = random_tensor({2, 64}, 47);
  EXPECT_TRUE(contains(failure(Status::InvalidArgument, [&] { product(x, there); }),
                       "x is on cpu, the weight on cuda:0"));
  EXPECT_TRUE(contains(failure(Status::InvalidArgument, [&] { product(x.to(gpu()), weight); }),
                       "x is on cuda:0, the weight on cpu"));
  const Tensor bias = random_tensor({4}, 48);
  EXPECT_TRUE(
      contains(failure(Status::InvalidArgument, [&] { product(x.to(gpu()), there, &bias); }),
               "bias is on cpu, the weight on cuda:0"));
  const Tensor room = Tensor::empty(std::vector<int64_t>{4, 40}, DType::UInt8, gpu());
  std::vector<Tensor> planes = there.planes();
  planes[0] = room.slice(1, 8, 40);
  const Weight shifted(weight.format(), planes, 32);
  EXPECT_TRUE(contains(failure(Status::InvalidArgument, [&] { product(x.to(gpu()), shifted); }),
                       "load 16 bytes at a time"));
}

}  // namespace
}  // namespace aotiny::cuda
