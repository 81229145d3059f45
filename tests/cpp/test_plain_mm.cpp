#include "aotiny/kernels/plain_mm_launch.h"

#include <omp.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <sstream>

#include "aotiny/quant/reference.h"
#include "quant_testing.h"

namespace aotiny {
namespace {

using namespace aotiny::testing;

struct Path {
  const char* kernels;
  CpuFeatures features;
};

// The paths that this processor has, each with the features that lead to it.
std::vector<Path> paths() {
  std::vector<Path> all{{"portable", {}}};
  if (cpu_features().avx2) all.push_back({"avx2", {.avx2 = true}});
  if (cpu_features().avx512_vnni) {
    all.push_back({"avx512_vnni", {.avx2 = true, .avx512 = true, .avx512_vnni = true}});
  }
  return all;
}

PlainMmArgs args_for(const Weight& weight, const void* x, int64_t m, DType dtype, void* y) {
  PlainMmArgs args{};
  args.format = weight.format();
  args.m = m;
  args.n = weight.n();
  args.k = weight.k();
  args.group_size = weight.group_size();
  args.dtype = dtype;
  args.x = x;
  args.x_stride = weight.k();
  for (size_t i = 0; i < weight.planes().size(); ++i) {
    args.plane[i] = static_cast<const uint8_t*>(weight.planes()[i].raw_data());
    args.stride[i] = weight.row_stride(static_cast<int>(i));
  }
  args.y = y;
  return args;
}

std::vector<float> product(const Weight& weight, const std::vector<float>& x, const Path& path,
                           const float* bias = nullptr) {
  const int64_t m = static_cast<int64_t>(x.size()) / weight.k();
  std::vector<float> y(static_cast<size_t>(m * weight.n()) + 1, -1e30f);  // poison, and a guard
  PlainMmArgs args = args_for(weight, x.data(), m, DType::Float32, y.data());
  args.bias = bias;
  EXPECT_STREQ(plain_mm(args, path.features), path.kernels);
  EXPECT_EQ(y.back(), -1e30f) << "written past the end";
  y.pop_back();
  return y;
}

class PlainMm : public ::testing::TestWithParam<FormatId> {};
INSTANTIATE_TEST_SUITE_P(Formats, PlainMm, ::testing::ValuesIn(plain_formats()),
                         [](const auto& info) { return format_name(info.param); });

TEST_P(PlainMm, MatchesTheReferenceOnEveryPath) {
  struct Case {
    int64_t m, n, k, group_size;
  };
  const Case cases[] = {
      {6, 1, 32, 32},    {1, 17, 96, 32},      {2, 16, 64, 64},   {3, 33, 160, 32},
      {4, 7, 288, 96},   {5, 64, 256, 128},    {7, 100, 96, 96},  {8, 15, 608, 32},
      {9, 48, 544, 32},  {13, 31, 1056, 32},   {16, 5, 512, 256}, {17, 129, 224, 32},
      {40, 24, 384, 32}, {300, 19, 1120, 160}, {6, 1, 32, 16},    {3, 37, 96, 16},
      {8, 18, 480, 48},  {21, 40, 672, 112},   {1, 33, 1536, 16}, {50, 16, 768, 16}};
  for (const Case& c : cases) {
    const int64_t k = k_for(GetParam(), c.k), group_size = group_for(GetParam(), c.group_size);
    const Weight weight = random_weight(GetParam(), c.n, k, group_size, 1);
    const std::vector<float> x = gaussian(c.m * k, 2);
    const std::vector<float> bias = gaussian(c.n, 3);
    const std::vector<double> expected = reference_plain_mm(x.data(), c.m, weight);
    const std::vector<double> with_bias = reference_plain_mm(x.data(), c.m, weight, bias.data());
    for (const Path& path : paths()) {
      SCOPED_TRACE(std::string(path.kernels) + " m=" + std::to_string(c.m) +
                   " n=" + std::to_string(c.n) + " k=" + std::to_string(k));
      EXPECT_LT(relative_error(product(weight, x, path), expected), 5e-7);
      EXPECT_LT(relative_error(product(weight, x, path, bias.data()), with_bias), 5e-7);
    }
  }
}

TEST_P(PlainMm, NoRowsGiveAnEmptyResult) {
  const Weight weight =
      random_weight(GetParam(), 5, k_for(GetParam(), 64), group_for(GetParam(), 32), 1);
  for (const Path& path : paths()) EXPECT_TRUE(product(weight, {}, path).empty());
}

// The largest codes, scales of one sign and activations at their limits: integer sums must not
// saturate.
TEST_P(PlainMm, SumsDoNotOverflow) {
  const int64_t n = 18, k = k_for(GetParam(), 64);
  std::vector<float> values(static_cast<size_t>(n * k));
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<int64_t>(i) / k % 2 == 0 ? 1.0f : -1.0f;
  for (size_t i = 0; i < values.size(); i += 32) values[i] = -values[i];  // spans the range
  const Weight weight = quantize(tensor_of(values, {n, k}), GetParam(), group_for(GetParam(), 32));
  for (const float sign : {1.0f, -1.0f}) {
    const std::vector<float> x(static_cast<size_t>(3 * k), sign);
    const std::vector<double> expected = reference_plain_mm(x.data(), 3, weight);
    for (const Path& path : paths()) {
      EXPECT_LT(relative_error(product(weight, x, path), expected), 5e-7) << path.kernels;
    }
  }
}

TEST_P(PlainMm, SixteenBitActivationsAndStridedRows) {
  const int64_t m = 11, n = 37, k = k_for(GetParam(), 192), stride = k + 8;
  const Weight weight = random_weight(GetParam(), n, k, group_for(GetParam(), 64), 4);
  for (const DType dtype : {DType::Float32, DType::Float16, DType::BFloat16}) {
    const Tensor wide = tensor_of(gaussian(m * stride, 5), {m, stride}, dtype);
    const std::vector<float> x = floats_of(wide.slice(1, 3, 3 + k));
    const std::vector<double> expected = reference_plain_mm(x.data(), m, weight);
    for (const Path& path : paths()) {
      const int64_t sizes[] = {m, n};
      const Tensor y = Tensor::empty(sizes, dtype);
      PlainMmArgs args =
          args_for(weight, wide.slice(1, 3, std::nullopt).raw_data(), m, dtype, y.raw_data());
      args.x_stride = stride;
      plain_mm(args, path.features);
      const double tolerance = dtype == DType::Float32   ? 5e-7
                               : dtype == DType::Float16 ? 3e-4
                                                         : 2.5e-3;
      EXPECT_LT(relative_error(floats_of(y), expected), tolerance) << path.kernels << dtype;
    }
  }
}

// Bit for bit: neither the other rows, nor the tile they fall in, nor the threads matter.
TEST_P(PlainMm, RowsDoNotDependOnTheBatchOrTheThreads) {
  const int64_t m = 67, n = 150, k = 1536;
  const Weight weight = random_weight(GetParam(), n, k, group_for(GetParam(), 32), 6);
  const std::vector<float> x = gaussian(m * k, 7);
  for (const Path& path : paths()) {
    const int threads = omp_get_max_threads();
    omp_set_num_threads(3);
    const std::vector<float> batch = product(weight, x, path);
    omp_set_num_threads(1);
    EXPECT_EQ(product(weight, x, path), batch) << path.kernels;
    omp_set_num_threads(threads);
    for (const int64_t rows : {1, 2, 3, 5, 8, 9, 20}) {
      const auto begin = x.begin() + (m - rows) * k;
      const std::vector<float> some = product(weight, {begin, x.end()}, path);
      EXPECT_EQ(some, std::vector<float>(batch.end() - rows * n, batch.end()))
          << path.kernels << " rows=" << rows;
    }
  }
}

TEST_P(PlainMm, NaNAndInfinityMakeTheirRowNaN) {
  const int64_t n = 20, k = k_for(GetParam(), 96);
  const Weight weight = random_weight(GetParam(), n, k, group_for(GetParam(), 32), 8);
  for (const float bad : {NAN, INFINITY, -INFINITY}) {
    std::vector<float> x = gaussian(3 * k, 9);
    x[static_cast<size_t>(k + 40)] = bad;
    for (const Path& path : paths()) {
      const std::vector<float> y = product(weight, x, path);
      for (int64_t i = 0; i < 3 * n; ++i) {
        EXPECT_EQ(std::isnan(y[static_cast<size_t>(i)]), i / n == 1) << path.kernels << " " << i;
      }
    }
  }
}

TEST_P(PlainMm, ZeroActivationsGiveExactZeros) {
  const int64_t k = k_for(GetParam(), 128);
  const Weight weight = random_weight(GetParam(), 21, k, group_for(GetParam(), 32), 10);
  const std::vector<float> x(static_cast<size_t>(4 * k), 0.0f);
  for (const Path& path : paths()) {
    for (const float y : product(weight, x, path)) EXPECT_EQ(y, 0.0f);
  }
}

// A copy of some bytes that ends where the next page cannot be read.
class Guarded {
 public:
  Guarded(const void* bytes, size_t count) : count_(count) {
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    size_ = (count + page - 1) / page * page + page;
    base_ = static_cast<uint8_t*>(
        mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    mprotect(base_ + size_ - page, page, PROT_NONE);
    end_ = base_ + size_ - page;
    std::memcpy(data(), bytes, count);
  }
  ~Guarded() { munmap(base_, size_); }
  Guarded(const Guarded&) = delete;
  uint8_t* data() const { return end_ - count_; }

 private:
  size_t count_, size_;
  uint8_t* base_;
  uint8_t* end_;
};

TEST_P(PlainMm, TouchesNothingPastItsArguments) {
  for (const int64_t n : {1, 4, 8, 15, 16, 17, 32, 48}) {
    for (const int64_t wanted : {32, 96, 384, 1536}) {
      const int64_t k = k_for(GetParam(), wanted);
      const Weight weight = random_weight(GetParam(), n, k, group_for(GetParam(), 32), 11);
      std::vector<std::unique_ptr<Guarded>> planes;
      for (const Tensor& plane : weight.planes()) {
        planes.push_back(std::make_unique<Guarded>(
            plane.raw_data(), static_cast<size_t>(plane.numel()) * plane.itemsize()));
      }
      for (const int64_t m : {1, 3, 10}) {
        const std::vector<float> values = gaussian(m * k, 12), bias_values = gaussian(n, 13);
        const Guarded x(values.data(), values.size() * sizeof(float));
        const Guarded bias(bias_values.data(), bias_values.size() * sizeof(float));
        const std::vector<float> poison(static_cast<size_t>(m * n), -1e30f);
        const Guarded y(poison.data(), poison.size() * sizeof(float));
        PlainMmArgs args = args_for(weight, x.data(), m, DType::Float32, y.data());
        for (size_t i = 0; i < planes.size(); ++i) args.plane[i] = planes[i]->data();
        args.bias = reinterpret_cast<const float*>(bias.data());
        for (const Path& path : paths()) {
          plain_mm(args, path.features);
          const float* result = reinterpret_cast<const float*>(y.data());
          EXPECT_LT(
              relative_error(std::vector<float>(result, result + m * n),
                             reference_plain_mm(values.data(), m, weight, bias_values.data())),
              2e-6);
        }
      }
    }
  }
}

TEST(PlainMmPlan, FollowsTheFeatures) {
  const PlainMmProblem problem{FormatId{0}, 1, 384, 384, 32, 2};
  EXPECT_EQ(plan_plain_mm(problem, {}).isa, PlainMmIsa::Portable);
#if defined(__x86_64__)
  EXPECT_EQ(plan_plain_mm(problem, {.avx2 = true}).isa, PlainMmIsa::Avx2);
  EXPECT_EQ(plan_plain_mm(problem, {.avx2 = true, .avx512 = true}).isa, PlainMmIsa::Avx2);
  EXPECT_EQ(plan_plain_mm(problem, {.avx2 = true, .avx512 = true, .avx512_vnni = true}).isa,
            PlainMmIsa::Avx512Vnni);
#endif
}

TEST(PlainMmPlan, CutsTheWorkSensibly) {
  for (const int64_t m : {0, 1, 2, 8, 9, 17, 64, 300, 1024, 100000}) {
    for (const int64_t n : {1, 16, 384, 28672}) {
      for (const int64_t k : {32, 384, 1536, 14336}) {
        for (const int threads : {1, 2, 64}) {
          const PlainMmProblem problem{FormatId{0}, m, n, k, 32, threads};
          std::ostringstream text;
          text << problem << ": " << plan_plain_mm(problem, cpu_features());
          SCOPED_TRACE(text.str());
          const PlainMmPlan plan = plan_plain_mm(problem, cpu_features());
          EXPECT_GE(plan.tile_rows, 1);
          const PlainMmKernels& kernels = plain_mm_kernels(plan.isa);
          EXPECT_LE(plan.tile_rows, plan.direct ? kernels.direct_rows : kernels.tile_rows);
          EXPECT_GE(plan.chunk_rows, 1);
          EXPECT_LE(plan.chunk_rows, std::max<int64_t>(m, 1));
          EXPECT_GE(plan.grain, 1);
          EXPECT_EQ(plan.direct, m <= kernels.direct_rows);
        }
      }
    }
  }
}

}  // namespace
}  // namespace aotiny
