// Tile-packed weights times bf16 activations: against fp64 sums of weights rounded to bf16.
#include "aotiny/kernels/tile_packed_mm.h"

#include <omp.h>

#include "quant_testing.h"

namespace aotiny {
namespace {

using namespace aotiny::testing;

constexpr CpuFeatures kBf16{.avx2 = true, .avx512 = true, .avx512_bf16 = true};

std::vector<FormatId> tile_packed_formats() {
  std::vector<FormatId> formats;
  for (const FormatId format : all_formats()) {
    if (has_tile_packed_mm(format, DType::BFloat16, kBf16)) formats.push_back(format);
  }
  return formats;
}

TEST(HasTilePackedMm, OfTheFormatTheActivationsAndTheProcessor) {
#if defined(__x86_64__)
  EXPECT_EQ(tile_packed_formats().size(), 3u);
#else
  EXPECT_EQ(tile_packed_formats().size(), 0u);
#endif
  for (const FormatId format : all_formats()) {
    const bool is_tile_packed = std::string(format_info(format).name) == "Int4TilePacked";
    EXPECT_FALSE(has_tile_packed_mm(format, DType::Float32, kBf16));
    EXPECT_FALSE(has_tile_packed_mm(format, DType::Float16, kBf16));
    EXPECT_FALSE(has_tile_packed_mm(format, DType::BFloat16, {.avx2 = true, .avx512 = true}));
    if (is_tile_packed) continue;
    EXPECT_FALSE(has_tile_packed_mm(format, DType::BFloat16, kBf16));
  }
}

#if defined(__x86_64__)
class TilePackedMm : public ::testing::TestWithParam<FormatId> {
 protected:
  void SetUp() override {
    if (!processor_features().avx512_bf16) GTEST_SKIP() << "this processor has no AVX512-BF16";
  }

  // Rows of x in bf16, x_row elements apart, in order of k; y has a guard behind it.
  static std::vector<float> multiply(const Weight& weight, const Tensor& x, int64_t b = 0,
                                     const float* bias = nullptr) {
    const int64_t count = x.size(0) * weight.n();
    std::vector<BFloat16> y(static_cast<size_t>(count) + 1, BFloat16(-77.0f));
    tile_packed_mm(weight, b,
                   {.m = x.size(0),
                    .x = x.data<BFloat16>(),
                    .x_row = x.stride(0),
                    .bias = bias,
                    .y = y.data()});
    EXPECT_EQ(static_cast<float>(y.back()), -77.0f) << "written past the end";
    std::vector<float> floats;
    for (int64_t i = 0; i < count; ++i) floats.push_back(static_cast<float>(y[i]));
    return floats;
  }

  // What the product is before y is rounded: weights rounded to bf16, fp64 sums.
  static std::vector<double> reference(const Weight& weight, const Tensor& x, int64_t b = 0,
                                       const float* bias = nullptr) {
    const std::vector<float> w = floats_of(weight.dequantize()), rows = floats_of(x);
    const int64_t n = weight.n(), k = weight.k();
    std::vector<double> y;
    for (int64_t i = 0; i < x.size(0); ++i) {
      for (int64_t j = 0; j < n; ++j) {
        double sum = bias == nullptr ? 0 : bias[j];
        for (int64_t l = 0; l < k; ++l) {
          sum += double{rows[i * k + l]} * static_cast<float>(BFloat16(w[(b * n + j) * k + l]));
        }
        y.push_back(sum);
      }
    }
    return y;
  }
};
INSTANTIATE_TEST_SUITE_P(Formats, TilePackedMm, ::testing::ValuesIn(tile_packed_formats()),
                         [](const auto& info) { return format_name(info.param); });

TEST_P(TilePackedMm, MatchesSumsInDoublePrecision) {
  for (const auto& [n, length] : {std::pair{8, 768}, {16, 256}, {24, 1280}, {200, 2048}}) {
    for (const int64_t group_size : {32, 64, 128, 256}) {
      const int64_t k = k_for(GetParam(), length);
      const Weight weight = random_weight(GetParam(), n, k, group_size, 50);
      const std::vector<float> bias = gaussian(n, 51);
      for (const int64_t m : {1, 2, 5, 6, 7, 20}) {
        const Tensor wide = tensor_of(gaussian(m * (k + 8), 52), {m, k + 8}, DType::BFloat16);
        const Tensor x = wide.slice(1, 3, 3 + k);
        // Rounding y to bf16 is all that differs: half of 2^-8 at most, a third on average.
        EXPECT_LT(relative_error(multiply(weight, x), reference(weight, x)), 2.5e-3);
        EXPECT_LT(relative_error(multiply(weight, x, 0, bias.data()),
                                 reference(weight, x, 0, bias.data())),
                  2.5e-3);
      }
    }
  }
}

// Small integers, whose products with powers of two are exact: every code, group and k counts once.
TEST_P(TilePackedMm, ExactWhereNothingIsRounded) {
  const int64_t n = 24, k = k_for(GetParam(), 256), m = 9;
  std::vector<float> values, ones;
  for (int64_t i = 0; i < n * k; ++i)
    values.push_back(static_cast<float>((i * 7 + i / k) % 16 - 8));
  for (int64_t i = 0; i < m * k; ++i) ones.push_back((i + i / k) % 61 == 0 ? 1.0f : 0.0f);
  const Weight weight = quantize(tensor_of(values, {n, k}), GetParam(), 32);
  const Tensor x = tensor_of(ones, {m, k}, DType::BFloat16);
  const std::vector<double> expected = reference(weight, x);
  const std::vector<float> y = multiply(weight, x);
  for (size_t i = 0; i < y.size(); ++i) {
    EXPECT_EQ(y[i], static_cast<float>(BFloat16(static_cast<float>(expected[i])))) << i;
  }
}

TEST_P(TilePackedMm, MultipliesStacks) {
  const int64_t n = 16, k = k_for(GetParam(), 256), m = 3;
  const Weight stack =
      quantize(tensor_of(gaussian(3 * n * k, 53, 0.05f), {3, n, k}), GetParam(), 32);
  const Tensor x = tensor_of(gaussian(m * k, 54), {m, k}, DType::BFloat16);
  for (const int64_t b : {0, 1, 2}) {
    EXPECT_LT(relative_error(multiply(stack, x, b), reference(stack, x, b)), 2.5e-3);
  }
}

// Bit for bit: whatever else is in the batch, and however many threads there are.
TEST_P(TilePackedMm, RowsDoNotDependOnTheBatchOrTheThreads) {
  const int64_t n = 400, k = k_for(GetParam(), 1536), m = 23;
  const Weight weight = random_weight(GetParam(), n, k, 64, 55);
  const Tensor x = tensor_of(gaussian(m * k, 56), {m, k}, DType::BFloat16);
  const int threads = omp_get_max_threads();
  const std::vector<float> whole = multiply(weight, x);
  for (const auto& [begin, end] : {std::pair{0, 1}, {3, 10}, {11, 23}}) {
    for (const int count : {1, 3}) {
      omp_set_num_threads(count);
      const std::vector<float> part = multiply(weight, x.slice(0, begin, end));
      EXPECT_TRUE(std::equal(part.begin(), part.end(), whole.begin() + begin * n))
          << begin << " to " << end << ", " << count << " threads";
    }
  }
  omp_set_num_threads(threads);
}

TEST_P(TilePackedMm, NoRowsAndNaN) {
  const int64_t n = 8, k = k_for(GetParam(), 256);
  const Weight weight = random_weight(GetParam(), n, k, 32, 57);
  EXPECT_TRUE(multiply(weight, tensor_of({}, {0, k}, DType::BFloat16)).empty());
  std::vector<float> values = gaussian(2 * k, 58);
  values[static_cast<size_t>(k + 5)] = NAN;
  const std::vector<float> y = multiply(weight, tensor_of(values, {2, k}, DType::BFloat16));
  for (int64_t i = 0; i < 2 * n; ++i) EXPECT_EQ(std::isnan(y[static_cast<size_t>(i)]), i >= n);
}
#endif

}  // namespace
}  // namespace aotiny
