// Products with native activations: against fp64 sums, and a row against itself in another batch.
#include "aotiny/kernels/dequantized_mm.h"

#include <omp.h>

#include <sstream>

#include "aotiny/kernels/activation.h"
#include "quant_testing.h"

namespace aotiny {
namespace {

using namespace aotiny::testing;

std::vector<CpuFeatures> available() {
  std::vector<CpuFeatures> found = {{}};
  if (processor_features().avx2) found.push_back({.avx2 = true});
  if (processor_features().avx512) found.push_back({.avx2 = true, .avx512 = true});
  return found;
}

// x is [B, m, K], contiguous.
std::vector<float> multiply(const Weight& weight, const std::vector<float>& x,
                            const CpuFeatures& features, const float* bias = nullptr) {
  const int64_t m = static_cast<int64_t>(x.size()) / weight.batch() / weight.k();
  std::vector<float> y(static_cast<size_t>(weight.batch() * m * weight.n()), std::nanf(""));
  dequantized_mm(weight,
                 {.m = m,
                  .x = x.data(),
                  .x_batch = m * weight.k(),
                  .x_row = weight.k(),
                  .bias = bias,
                  .y = y.data()},
                 features);
  return y;
}

std::vector<double> reference(const Weight& weight, const std::vector<float>& x,
                              const float* bias = nullptr) {
  const std::vector<float> w = floats_of(weight.dequantize());
  const int64_t n = weight.n(), k = weight.k(), batch = weight.batch();
  const int64_t m = static_cast<int64_t>(x.size()) / batch / k;
  std::vector<double> y;
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        double sum = bias == nullptr ? 0 : bias[j];
        for (int64_t l = 0; l < k; ++l) {
          sum += double{x[(b * m + i) * k + l]} * w[(b * n + j) * k + l];
        }
        y.push_back(sum);
      }
    }
  }
  return y;
}

class DequantizedMm : public ::testing::TestWithParam<FormatId> {};
INSTANTIATE_TEST_SUITE_P(Formats, DequantizedMm, ::testing::ValuesIn(all_formats()),
                         [](const auto& info) { return format_name(info.param); });

TEST_P(DequantizedMm, MatchesSumsInDoublePrecision) {
  const FormatId format = GetParam();
  const int64_t n = n_for(format, 75), k = k_for(format, 800);
  const Weight weight = random_weight(format, n, k, group_for(format, 32), 40);
  const std::vector<float> bias = gaussian(n, 41);
  for (const CpuFeatures& features : available()) {
    for (const int64_t m : {1, 2, 7, 33}) {
      const std::vector<float> x = gaussian(m * k, 42);
      EXPECT_LT(relative_error(multiply(weight, x, features), reference(weight, x)), 1e-6);
      EXPECT_LT(relative_error(multiply(weight, x, features, bias.data()),
                               reference(weight, x, bias.data())),
                1e-6);
    }
  }
}

TEST_P(DequantizedMm, MultipliesStacks) {
  const FormatId format = GetParam();
  const int64_t n = n_for(format, 9), k = k_for(format, 256);
  const Weight stack = quantize(tensor_of(gaussian(3 * n * k, 43, 0.05f), {3, n, k}), format, 32);
  for (const int64_t m : {1, 5}) {
    const std::vector<float> x = gaussian(3 * m * k, 44);
    EXPECT_LT(relative_error(multiply(stack, x, cpu_features()), reference(stack, x)), 1e-6);
  }
}

// Bit for bit: whatever else is in the batch, and however many threads there are.
TEST_P(DequantizedMm, RowsDoNotDependOnTheBatchOrTheThreads) {
  const FormatId format = GetParam();
  const int64_t n = n_for(format, 200), k = k_for(format, 1100 / 32 * 32), m = 40;
  const Weight weight = random_weight(format, n, k, group_for(format, 32), 45);
  const std::vector<float> x = gaussian(m * k, 46);
  const int threads = omp_get_max_threads();
  for (const CpuFeatures& features : available()) {
    const std::vector<float> whole = multiply(weight, x, features);
    for (const auto& [begin, end] : {std::pair{0, 1}, {3, 10}, {11, 40}}) {
      for (const int count : {1, 3}) {
        omp_set_num_threads(count);
        const std::vector<float> part =
            multiply(weight, {x.begin() + begin * k, x.begin() + end * k}, features);
        EXPECT_TRUE(std::equal(part.begin(), part.end(), whole.begin() + begin * n))
            << begin << " to " << end << ", " << count << " threads";
      }
    }
  }
  omp_set_num_threads(threads);
}

TEST(DequantizedMmPlan, SplitsPanelsAmongThreadsAndKeepsThemInCache) {
  EXPECT_EQ(plan_dequantized_mm({1, 1, 4096, 1024, 1}).panel_rows, 64);
  EXPECT_EQ(plan_dequantized_mm({1, 1, 4096, 4096, 1}).panel_rows, 16);
  EXPECT_EQ(plan_dequantized_mm({1, 1, 4096, 1 << 20, 1}).panel_rows, 8);
  EXPECT_EQ(plan_dequantized_mm({1, 1, 64, 1024, 4}).panel_rows, 16);
  EXPECT_EQ(plan_dequantized_mm({8, 1, 64, 1024, 4}).panel_rows, 64);
  EXPECT_EQ(plan_dequantized_mm({1, 1, 3, 32, 4}).panel_rows, 8);
  EXPECT_GT(plan_dequantized_mm({1, 1, 64, 64, 4}).grain, 10);
  EXPECT_EQ(plan_dequantized_mm({1, 64, 4096, 4096, 4}).grain, 1);
  std::ostringstream text;
  const DequantizedMmProblem problem{2, 3, 64, 1024, 4};
  text << problem << ": " << plan_dequantized_mm(problem);
  EXPECT_EQ(text.str(), "dequantized_mm batch=2 m=3 n=64 k=1024 threads=4: panel_rows=32 grain=2");
}

TEST(Activation, IsInt8WhereTheFormatHasItUnlessAskedOtherwise) {
  for (const FormatId format : all_formats()) {
    const bool plain = format_info(format).plain;
    EXPECT_EQ(choose_activation({format, Activation::Auto}),
              plain ? Activation::Int8 : Activation::Native);
    EXPECT_EQ(choose_activation({format, Activation::Native}), Activation::Native);
    if (plain) {
      EXPECT_EQ(choose_activation({format, Activation::Int8}), Activation::Int8);
      continue;
    }
    const Error error = error_of([&] { choose_activation({format, Activation::Int8}); });
    EXPECT_EQ(error.status(), Status::InvalidArgument);
    EXPECT_EQ(std::string(error.what()),
              std::string(format_info(format).name) +
                  " with int8 activations: the format has no product with int8 activations");
  }
}

TEST(Activation, IsFoundByName) {
  EXPECT_EQ(find_activation("int8"), Activation::Int8);
  EXPECT_EQ(find_activation("native"), Activation::Native);
  EXPECT_EQ(std::string(error_of([] { find_activation("int4"); }).what()),
            "activation \"int4\" is neither \"int8\" nor \"native\"");
}

}  // namespace
}  // namespace aotiny
