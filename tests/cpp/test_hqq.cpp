// Half-quadratic quantization against the paper's formulas in double, and over all formats.
#include "aotiny/quant/hqq.h"

#include <omp.h>

#include "quant_testing.h"

namespace aotiny {
namespace {

using namespace aotiny::testing;

double norm(const std::vector<float>& actual, const std::vector<float>& expected, int64_t begin,
            int64_t end) {
  double sum = 0;
  for (int64_t i = begin; i < end; ++i) {
    sum += std::pow(std::fabs(static_cast<double>(actual[i]) - expected[i]), 0.7);
  }
  return sum;
}

// The least Σ |error|^0.7, in steps, that the paper's iteration meets from min–max on: 4 bits, a
// fixed scale, zero = mean(q − (w − e)/scale).
double paper_norm(const float* values, int64_t count) {
  const auto [lo, hi] = std::minmax_element(values, values + count);
  const double scale = (double{*hi} - *lo) / 15;
  double zero = -*lo / scale, beta = 10, least = INFINITY;
  for (int round = 0; round < 20; ++round, beta *= 1.01) {
    double error = 0, sum = 0;
    for (int64_t i = 0; i < count; ++i) {
      const double v = values[i] / scale;
      const double q = std::clamp(std::nearbyint(v + zero), 0.0, 15.0);
      const double rest = v - (q - zero), size = std::fabs(rest);
      const double outlier = size == 0 ? 0 : std::max(size - std::pow(size, -0.3) / beta, 0.0);
      error += std::pow(size, 0.7);
      sum += q - (v - std::copysign(outlier, rest));
    }
    least = std::min(least, error);
    zero = sum / static_cast<double>(count);
  }
  return least * std::pow(scale, 0.7);
}

class Hqq : public ::testing::TestWithParam<FormatId> {
 protected:
  static Weight made(const std::vector<float>& values, int64_t n, int64_t k, int64_t g,
                     Method method = Method::Hqq) {
    return quantize(tensor_of(values, {n, k}), GetParam(), g, method);
  }
};
INSTANTIATE_TEST_SUITE_P(Formats, Hqq, ::testing::ValuesIn(all_formats()),
                         [](const auto& info) { return format_name(info.param); });

// Gaussian with a tenth of the values four times as large.
std::vector<float> heavy_tailed(int64_t count, uint32_t seed) {
  std::vector<float> values = gaussian(count, seed, 0.02f);
  for (size_t i = 0; i < values.size(); i += 10) values[i] *= 4;
  return values;
}

// The finer the codes, the less there is to gain.
TEST_P(Hqq, IsBetterThanMinMaxByTheNorm) {
  const int64_t n = n_for(GetParam(), 24), k = k_for(GetParam(), 512),
                g = group_for(GetParam(), 64);
  const std::vector<float> values = heavy_tailed(n * k, 1);
  const std::vector<float> hqq = floats_of(made(values, n, k, g).dequantize());
  const std::vector<float> minmax = floats_of(made(values, n, k, g, Method::MinMax).dequantize());
  const double gain = norm(hqq, values, 0, n * k) / norm(minmax, values, 0, n * k);
  EXPECT_LT(gain, format_info(GetParam()).bits < 6 ? 0.97 : 0.995);
}

// Where groups do not share steps, not a single one is worse.
TEST_P(Hqq, NoGroupIsWorseThanWithMinMax) {
  for (const PlaneSpec& plane : format_info(GetParam()).planes) {
    if (plane.per == Per::Row || plane.per == Per::SuperBlock) return;
  }
  const int64_t n = n_for(GetParam(), 17), k = k_for(GetParam(), 320),
                g = group_for(GetParam(), 32);
  std::vector<float> values = heavy_tailed(n * k, 2);
  for (int64_t i = 0; i < k; ++i) values[i] += 0.3f;  // one row away from zero
  const std::vector<float> hqq = floats_of(made(values, n, k, g).dequantize());
  const std::vector<float> minmax = floats_of(made(values, n, k, g, Method::MinMax).dequantize());
  for (int64_t i = 0; i < n * k; i += g) {
    ASSERT_LE(norm(hqq, values, i, i + g), 1.0001 * norm(minmax, values, i, i + g)) << i;
  }
}

TEST_P(Hqq, ZerosConstantsAndExtremesStayWhatTheyAre) {
  const int64_t n = n_for(GetParam(), 6), k = k_for(GetParam(), 256), g = group_for(GetParam(), 32);
  std::vector<float> values = gaussian(n * k, 3);
  std::fill(values.begin(), values.begin() + 2 * k, 0.0f);
  std::fill(values.begin() + 2 * k, values.begin() + 3 * k, -0.7f);
  const float large = std::min(format_info(GetParam()).largest, 1e37f);
  for (int64_t i = 3 * k; i < 4 * k; ++i) values[i] = (i % 2 ? large : -large) / (1 + i % 7);
  const std::vector<float> back = floats_of(made(values, n, k, g).dequantize());
  for (int64_t i = 0; i < 2 * k; ++i) ASSERT_EQ(back[i], 0);
  for (int64_t i = 2 * k; i < 3 * k; ++i) ASSERT_NEAR(back[i], -0.7f, 0.005f);
  for (int64_t i = 3 * k; i < 4 * k; ++i) ASSERT_NEAR(back[i] / large, values[i] / large, 0.15);
}

// One value far beyond the others does not take their resolution away altogether.
TEST_P(Hqq, SurvivesOutliers) {
  const int64_t n = n_for(GetParam(), 1), k = k_for(GetParam(), 256), g = group_for(GetParam(), 32);
  std::vector<float> values = gaussian(n * k, 4, 0.01f);
  for (int64_t i = 0; i < n * k; i += g) values[i + 5] = 1;
  const std::vector<float> hqq = floats_of(made(values, n, k, g).dequantize());
  const std::vector<float> minmax = floats_of(made(values, n, k, g, Method::MinMax).dequantize());
  EXPECT_LE(norm(hqq, values, 0, n * k), norm(minmax, values, 0, n * k) * 1.001);
  for (const float value : hqq) ASSERT_LE(std::fabs(value), 1.1f);
}

TEST_P(Hqq, DependsNeitherOnThreadsNorOnTheOtherRows) {
  const int64_t n = n_for(GetParam(), 24), k = k_for(GetParam(), 256),
                g = group_for(GetParam(), 32);
  const Tensor values = tensor_of(gaussian(3 * n * k, 5), {3, n, k});
  const int threads = omp_get_max_threads();
  omp_set_num_threads(1);
  const Weight stack = quantize(values, GetParam(), g, Method::Hqq);
  omp_set_num_threads(3);
  EXPECT_TRUE(quantize(values, GetParam(), g, Method::Hqq) == stack);
  omp_set_num_threads(threads);
  const std::vector<float> all = floats_of(stack.dequantize());
  const Weight last = quantize(values.select(0, 2), GetParam(), g, Method::Hqq);
  const std::vector<float> one = floats_of(last.dequantize());
  EXPECT_TRUE(std::equal(one.begin(), one.end(), all.begin() + 2 * n * k));
}

TEST_P(Hqq, ReadsNarrowFloats) {
  const int64_t n = n_for(GetParam(), 8), k = k_for(GetParam(), 256), g = group_for(GetParam(), 32);
  for (const DType dtype : {DType::Float16, DType::BFloat16}) {
    const Tensor narrow = tensor_of(gaussian(n * k, 6), {n, k}, dtype);
    EXPECT_TRUE(quantize(narrow, GetParam(), g, Method::Hqq) ==
                quantize(narrow.to(DType::Float32), GetParam(), g, Method::Hqq));
  }
}

// Both steps fitted and both starts tried, it is at least as good as the paper's iteration.
TEST(HqqParams, IsNotWorseThanThePaper) {
  const FormatInfo& format = CoalescedInt4Traits<Metadata::A>::kInfo;
  for (const int64_t g : {32, 64, 128}) {
    double ours = 0, paper = 0;
    for (uint32_t seed = 0; seed < 200; ++seed) {
      const std::vector<float> w = heavy_tailed(g, 100 + seed);
      const auto [lo, hi] = std::minmax_element(w.begin(), w.end());
      const double scale = (double{*hi} - *lo) / 15;
      const GroupParams found = hqq_params(w.data(), g, format, 0, 15, {scale, -*lo / scale});
      for (const float value : w) {
        const double q = std::clamp(std::nearbyint(value / found.scale + found.zero), 0.0, 15.0);
        ours += std::pow(std::fabs(value - (q - found.zero) * found.scale), 0.7);
      }
      paper += paper_norm(w.data(), g);
    }
    EXPECT_LT(ours, 0.99 * paper) << g;
  }
}

// It works in steps: the size of the weights changes nothing.
TEST(HqqParams, FollowsTheSizeOfTheWeights) {
  const std::vector<float> w = heavy_tailed(64, 7);
  const FormatInfo& format = CoalescedInt4Traits<Metadata::A>::kInfo;
  const GroupParams found = hqq_params(w.data(), 64, format, 0, 15, {0.01, 7.25});
  EXPECT_NE(found.scale, 0.01);
  for (const float factor : {0x1p-90f, 0x1p90f}) {
    std::vector<float> other = w;
    for (float& value : other) value *= factor;
    const GroupParams same = hqq_params(other.data(), 64, format, 0, 15, {0.01 * factor, 7.25});
    EXPECT_EQ(same.scale, found.scale * factor);
    EXPECT_EQ(same.zero, found.zero);
  }
}

// Values on the grid of the given parameters: nothing is better.
TEST(HqqParams, LeavesWhatIsExact) {
  std::vector<float> w(32);
  for (int i = 0; i < 32; ++i) w[i] = static_cast<float>((i % 16 - 7) * 0.125);
  const GroupParams found =
      hqq_params(w.data(), 32, CoalescedInt4Traits<Metadata::A>::kInfo, 0, 15, {0.125, 7});
  EXPECT_EQ(found.scale, 0.125);
  EXPECT_EQ(found.zero, 7);
}

TEST(HqqParams, ZerosAreWhatTheFormatHolds) {
  std::vector<float> above = gaussian(64, 8, 0.1f);
  for (float& value : above) value += 1;
  const GroupParams b =
      hqq_params(above.data(), 64, CoalescedInt4Traits<Metadata::B>::kInfo, 0, 15, {0.09, 0});
  EXPECT_GE(b.zero, 0);
  const GroupParams int8 =
      hqq_params(above.data(), 64, Int8Traits<Metadata::A>::kInfo, -128, 127, {0.005, -128});
  EXPECT_EQ(int8.zero, std::nearbyint(int8.zero));
  EXPECT_GE(int8.zero, -128);
  const GroupParams int6 =
      hqq_params(above.data(), 64, PlanarInt6Traits<Metadata::A>::kInfo, -32, 31, {0.04, 0});
  EXPECT_EQ(int6.zero, 0);
}

TEST(SparseNorm, IsThatOfPow) {
  std::vector<float> errors = gaussian(64, 9);
  for (size_t i = 0; i < 32; ++i) errors[i] *= std::ldexp(1.0f, static_cast<int>(i) * 6 - 90);
  for (size_t i = 0; i < errors.size(); i += 8) {
    for (size_t j = 0; j < 8; ++j) {
      const std::vector<float> one(8, errors[i + j]);
      const double expected = 8 * std::pow(std::fabs(static_cast<double>(one[0])), 0.7);
      EXPECT_NEAR(sparse_norm(one.data(), 8) / expected, 1, 1e-5) << one[0];
    }
  }
  const std::vector<float> zeros(16, 0.0f);
  EXPECT_LT(sparse_norm(zeros.data(), 16), 1e-25);
  for (const float bad : {INFINITY, -INFINITY, NAN}) {
    const std::vector<float> one(8, bad);
    EXPECT_GT(sparse_norm(one.data(), 8), 8 * std::pow(3.4e38, 0.7) * 0.99);
  }
}

TEST(Progress, IsToldAndMayEndTheWork) {
  const Tensor values = tensor_of(gaussian(70 * 65536, 10), {70, 65536});
  const FormatId format = find_format("CoalescedInt4", "B");
  std::vector<int64_t> told;
  const Weight with = quantize(values, format, 64, Method::MinMax, [&](int64_t done, int64_t all) {
    EXPECT_EQ(all, 70);
    told.push_back(done);
  });
  EXPECT_EQ(told, (std::vector<int64_t>{65, 70}));
  EXPECT_TRUE(with == quantize(values, format, 64));
  const Error error = error_of([&] {
    quantize(values, format, 64, Method::Hqq,
             [](int64_t done, int64_t) { fail(Status::InvalidState, "enough after ", done); });
  });
  EXPECT_EQ(std::string(error.what()), "enough after 65");
}

}  // namespace
}  // namespace aotiny
