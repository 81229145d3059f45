// The kernels of torch's packed 4-bit product, against the formula in double precision, for every
// layout and implementation that this processor can run.
#include "aotiny/kernels/int4pack.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <sstream>
#include <vector>

namespace aotiny {
namespace {

struct Sizes {
  int64_t m, n, k, group_size;
};

template <class Scale>
struct Case {
  Case(Sizes sizes, Int4PackLayout layout) : sizes(sizes), layout(layout) {
    const auto [m, n, k, g] = sizes;
    std::mt19937 random(42);
    std::uniform_real_distribution<float> uniform(-1, 1);
    for (int64_t i = 0; i < m * k; ++i) x.push_back(uniform(random));
    for (int64_t i = 0; i < n * k; ++i) codes.push_back(static_cast<uint8_t>(random() % 16));
    for (int64_t i = 0; i < k / g * n * 2; ++i) pairs.push_back(convert<Scale>(uniform(random)));
    pack();
  }

  // From the bit diagram in int4pack.h.
  void pack() {
    const auto [m, n, k, g] = sizes;
    packed.assign(static_cast<size_t>(n * k / 2), 0);
    const int64_t block = layout == Int4PackLayout::Halves64 ? 64 : 32;
    for (int64_t row = 0; row < n; ++row) {
      const int64_t first = row / block * block;
      const int64_t rows = std::min(block, n - first);
      const int64_t i = row - first;
      const bool halves = layout != Int4PackLayout::Pairs && rows == block;
      const int64_t byte = halves ? i % (rows / 2) : i / 2;
      const bool high = halves ? i >= rows / 2 : i % 2 == 1;
      for (int64_t j = 0; j < k; ++j) {
        packed[first * k / 2 + j * rows / 2 + byte] |=
            static_cast<uint8_t>(codes[row * k + j] << (high ? 4 : 0));
      }
    }
  }

  std::vector<float> product(const CpuFeatures& features) const {
    const auto [m, n, k, g] = sizes;
    std::vector<float> y(static_cast<size_t>(m * n), NAN);
    int4pack_mm({m, n, k, g, layout, x.data(), nullptr, packed.data(), pairs.data(),
                 dtype_of<Scale>(), y.data()},
                features);
    return y;
  }

  double reference(int64_t row, int64_t column) const {
    const auto [m, n, k, g] = sizes;
    double sum = 0;
    for (int64_t j = 0; j < k; ++j) {
      const Scale* pair = &pairs[(j / g * n + column) * 2];
      const double w = (codes[column * k + j] - 8) * double{convert<float>(pair[0])} +
                       double{convert<float>(pair[1])};
      sum += x[row * k + j] * w;
    }
    return sum;
  }

  // Normwise and relative.
  double error(const std::vector<float>& y) const {
    double difference = 0, norm = 0;
    for (int64_t row = 0; row < sizes.m; ++row) {
      for (int64_t column = 0; column < sizes.n; ++column) {
        const double expected = reference(row, column);
        const double delta = y[row * sizes.n + column] - expected;
        difference += delta * delta;
        norm += expected * expected;
      }
    }
    return std::sqrt(difference / norm);
  }

  Sizes sizes;
  Int4PackLayout layout;
  std::vector<float> x;
  std::vector<uint8_t> codes, packed;
  std::vector<Scale> pairs;
};

constexpr Int4PackLayout kLayouts[] = {Int4PackLayout::Halves64, Int4PackLayout::Halves32,
                                       Int4PackLayout::Pairs};

TEST(Int4Pack, EachLayoutHasItsKernel) {
  CpuFeatures none, avx2, avx512;
  avx2.avx2 = true;
  avx512.avx2 = avx512.avx512 = true;
  using enum Int4PackKernel;
  for (const Int4PackLayout layout : kLayouts) {
    EXPECT_EQ(choose_int4pack_kernel(layout, none), Portable) << layout;
  }
  EXPECT_EQ(choose_int4pack_kernel(Int4PackLayout::Halves64, avx2), Portable);
  EXPECT_EQ(choose_int4pack_kernel(Int4PackLayout::Halves64, avx512), Avx512);
  EXPECT_EQ(choose_int4pack_kernel(Int4PackLayout::Halves32, avx2), Avx2);
  EXPECT_EQ(choose_int4pack_kernel(Int4PackLayout::Halves32, avx512), Avx2);
  EXPECT_EQ(choose_int4pack_kernel(Int4PackLayout::Pairs, avx512), Portable);
  std::ostringstream text;
  text << Int4PackLayout::Halves32 << ' ' << Avx512;
  EXPECT_EQ(text.str(), "halves32 avx512");
}

template <class Scale>
void expect_matches_the_formula() {
  const Sizes all_sizes[] = {{1, 16, 32, 32},    {1, 64, 64, 64},    {2, 96, 96, 32},
                             {3, 112, 256, 128}, {4, 128, 512, 256}, {7, 208, 160, 32},
                             {65, 48, 64, 64}};
  for (const Sizes& sizes : all_sizes) {
    for (const Int4PackLayout layout : kLayouts) {
      const Case<Scale> test(sizes, layout);
      for (const CpuFeatures& features : {CpuFeatures{}, cpu_features()}) {
        EXPECT_LT(test.error(test.product(features)), 1e-6)
            << sizes.m << 'x' << sizes.n << 'x' << sizes.k << " groups of " << sizes.group_size
            << ", " << layout << ", " << choose_int4pack_kernel(layout, features);
      }
    }
  }
}

TEST(Int4Pack, Float32ScalesMatchTheFormula) { expect_matches_the_formula<float>(); }
TEST(Int4Pack, Float16ScalesMatchTheFormula) { expect_matches_the_formula<Float16>(); }
TEST(Int4Pack, BFloat16ScalesMatchTheFormula) { expect_matches_the_formula<BFloat16>(); }

TEST(Int4Pack, NothingToMultiply) {
  for (const Int4PackLayout layout : kLayouts) {
    const Case<float> no_rows({0, 64, 64, 32}, layout), no_columns({3, 0, 64, 32}, layout);
    EXPECT_TRUE(no_rows.product(cpu_features()).empty());
    EXPECT_TRUE(no_columns.product(cpu_features()).empty());
    const Case<float> no_inner({3, 64, 0, 32}, layout);
    EXPECT_EQ(no_inner.product(cpu_features()), std::vector<float>(3 * 64, 0.0f));
  }
}

}  // namespace
}  // namespace aotiny
