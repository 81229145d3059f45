// Every implementation of the dense product against three loops in double precision.
#include "aotiny/kernels/gemm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <sstream>
#include <vector>

#include "aotiny/kernels/blas.h"
#include "aotiny/kernels/gemm_kernels.h"

namespace aotiny {
namespace {

// The instruction sets of this processor, from none to all.
std::vector<CpuFeatures> feature_levels() {
  const CpuFeatures all = cpu_features();
  std::vector<CpuFeatures> levels = {CpuFeatures{}};
  if (all.avx2) levels.push_back({.avx2 = true});
  if (all.avx512) levels.push_back({.avx2 = true, .avx512 = true});
  if (all.avx512_bf16) levels.push_back({.avx2 = true, .avx512 = true, .avx512_bf16 = true});
  return levels;
}

// A matrix in memory that is otherwise poisoned with NaN.
struct TestMatrix {
  std::vector<double> values;  // row-major, as the dtype rounds them
  std::vector<char> memory;
  Strides2 strides;
  DType dtype;

  char* at(int64_t i, int64_t j) {
    return memory.data() +
           (i * strides.row + j * strides.column) * static_cast<int64_t>(itemsize(dtype));
  }
};

double get(DType dtype, const char* p) {
  double value = 0;
  visit_dtype(dtype, "test", [&](auto tag) {
    using T = typename decltype(tag)::type;
    value = convert<double>(*reinterpret_cast<const T*>(p));
  });
  return value;
}

void put(DType dtype, char* p, double value) {
  visit_dtype(dtype, "test", [&](auto tag) {
    using T = typename decltype(tag)::type;
    *reinterpret_cast<T*>(p) = convert<T>(value);
  });
}

TestMatrix make(std::mt19937& random, DType dtype, int64_t rows, int64_t columns,
                Strides2 strides) {
  TestMatrix matrix{{}, {}, strides, dtype};
  const int64_t span = 1 + (std::max<int64_t>(rows, 1) - 1) * strides.row +
                       (std::max<int64_t>(columns, 1) - 1) * strides.column;
  matrix.memory.resize(static_cast<size_t>(span) * itemsize(dtype));
  for (int64_t i = 0; i < span; ++i) {
    put(dtype, matrix.memory.data() + i * static_cast<int64_t>(itemsize(dtype)), NAN);
  }
  std::normal_distribution<double> normal;
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) {
      put(dtype, matrix.at(i, j), normal(random));
      matrix.values.push_back(get(dtype, matrix.at(i, j)));
    }
  }
  return matrix;
}

double epsilon(DType dtype) {
  if (dtype == DType::Float64) return 0x1p-53;
  if (dtype == DType::Float32) return 0x1p-24;
  return dtype == DType::Float16 ? 0x1p-11 : 0x1p-8;
}

struct Case {
  DType dtype;
  int64_t m, n, k;
  Strides2 a, b, c;
};

// Runs one choice and compares every element of C with the sum in double precision; the memory
// between C's elements must stay as it was.
void check(const Case& test, const CpuFeatures& features, const GemmChoice& choice, double beta,
           bool in_place) {
  std::mt19937 random(17);
  TestMatrix a = make(random, test.dtype, test.m, test.k, test.a);
  TestMatrix b = make(random, test.dtype, test.k, test.n, test.b);
  TestMatrix c = make(random, test.dtype, test.m, test.n, test.c);
  TestMatrix bias = make(random, test.dtype, test.m, test.n, {0, 1});
  const std::vector<double> before = c.values;
  const std::vector<char> untouched = c.memory;
  const double alpha = 0.75;
  GemmProblem problem{test.dtype, test.m, test.n, test.k, test.a, test.b, test.c, 2};
  GemmOperands operands{.a = a.memory.data(),
                        .b = b.memory.data(),
                        .c = c.memory.data(),
                        .d = in_place ? c.memory.data() : bias.memory.data(),
                        .d_strides = in_place ? test.c : Strides2{0, 1},
                        .alpha = alpha,
                        .beta = beta};
  gemm(problem, operands, choice, features);
  std::ostringstream what;
  what << problem << ": " << choice << ", beta " << beta << (in_place ? ", in place" : "");
  SCOPED_TRACE(what.str());
  const double unit = epsilon(test.dtype);
  const double sum_unit = test.dtype == DType::Float64 ? unit : 0x1p-24;
  for (int64_t i = 0; i < test.m; ++i) {
    for (int64_t j = 0; j < test.n; ++j) {
      double sum = 0, magnitude = 0;
      for (int64_t k = 0; k < test.k; ++k) {
        const double product = a.values[i * test.k + k] * b.values[k * test.n + j];
        sum += product;
        magnitude += std::abs(product);
      }
      const double addend = in_place ? before[i * test.n + j] : get(test.dtype, bias.at(0, j));
      const double expected = alpha * sum + (beta == 0 ? 0 : beta * addend);
      const double tolerance = unit * std::abs(expected) * 1.01 +
                               sum_unit * (magnitude * (2 + std::sqrt(test.k)) + 2) + 1e-300;
      ASSERT_NEAR(get(test.dtype, c.at(i, j)), expected, tolerance) << "at " << i << ", " << j;
      std::copy_n(untouched.data() + (c.at(i, j) - c.memory.data()), itemsize(test.dtype),
                  c.at(i, j));
    }
  }
  EXPECT_EQ(c.memory, untouched);
}

const std::vector<DType> kDtypes = {DType::Float32, DType::Float64, DType::Float16,
                                    DType::BFloat16};

Strides2 row_major(int64_t, int64_t columns) { return {columns, 1}; }
Strides2 column_major(int64_t rows, int64_t) { return {1, rows}; }

std::vector<Case> cases(DType dtype) {
  std::vector<Case> list;
  const int64_t sizes[][3] = {{1, 1, 1},   {1, 37, 64},  {3, 50, 33},  {8, 4, 17},  {16, 48, 32},
                              {17, 49, 5}, {48, 16, 96}, {40, 50, 31}, {70, 7, 40}, {33, 67, 1}};
  for (const auto& [m, n, k] : sizes) {
    for (int layout = 0; layout < 8; ++layout) {
      const auto order = [&](int bit, int64_t rows, int64_t columns) {
        return (layout >> bit & 1) ? column_major(rows, columns) : row_major(rows, columns);
      };
      list.push_back({dtype, m, n, k, order(0, m, k), order(1, k, n), order(2, m, n)});
    }
    // No dimension contiguous, and padded rows.
    list.push_back({dtype, m, n, k, {2 * k + 1, 2}, {3, 3 * k + 2}, {2, 2 * m + 1}});
    list.push_back({dtype, m, n, k, {k + 3, 1}, {1, k + 5}, {3 * n, 3}});
  }
  // More of k than one panel holds.
  list.push_back({dtype, 20, 19, 4099, {4099, 1}, {1, 4099}, {19, 1}});
  list.push_back({dtype, 20, 19, 4098, {4098, 1}, {19, 1}, {19, 1}});
  return list;
}

TEST(Gemm, EveryPathOnEveryInstructionSet) {
  for (const DType dtype : kDtypes) {
    for (const CpuFeatures& features : feature_levels()) {
      for (const Case& test : cases(dtype)) {
        const GemmProblem problem{dtype, test.m, test.n, test.k, test.a, test.b, test.c, 1};
        const GemmChoice chosen = choose_gemm(problem, features, blas() != nullptr);
        std::vector<GemmChoice> choices = {chosen};
        if (dtype != DType::Float64) {
          const bool native = dtype == DType::BFloat16 && features.avx512_bf16;
          for (const GemmPath path : {GemmPath::Tile, GemmPath::Dot}) {
            for (const bool transposed : {false, true}) {
              choices.push_back({path, transposed, transposed == (test.m > test.n), native, 1});
            }
          }
        }
        if (dtype == DType::Float64) choices.push_back({.path = GemmPath::Plain});
        for (const GemmChoice& choice : choices) {
          check(test, features, choice, 0.0, false);
          check(test, features, choice, 0.5, false);
          check(test, features, choice, 1.0, true);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST(Gemm, Blas) {
  if (blas() == nullptr) GTEST_SKIP() << blas_failure();
  for (const DType dtype : {DType::Float32, DType::Float64}) {
    for (const Case& test : cases(dtype)) {
      for (const bool transposed : {false, true}) {
        const GemmChoice choice{.path = GemmPath::Blas, .transposed = transposed};
        check(test, {}, choice, 0.0, false);
        check(test, {}, choice, 0.5, false);
        check(test, {}, choice, 1.0, true);
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST(Gemm, SplitsOverThreads) {
  const Case linear{DType::Float32, 50, 97, 40, {40, 1}, {1, 40}, {97, 1}};
  const Case doubles{DType::Float64, 50, 97, 40, {40, 1}, {1, 40}, {97, 1}};
  for (const int pieces : {2, 3, 7}) {
    for (const bool split_columns : {false, true}) {
      check(linear, cpu_features(), {GemmPath::Tile, true, split_columns, false, pieces}, 1, true);
      check(linear, cpu_features(), {GemmPath::Tile, false, split_columns, false, pieces}, 1, true);
      check(linear, cpu_features(), {GemmPath::Dot, split_columns, false, false, pieces}, 1, true);
      check(doubles, {}, {GemmPath::Plain, false, false, false, pieces}, 1, true);
      if (blas() == nullptr) continue;
      check(doubles, {}, {GemmPath::Blas, split_columns, false, false, pieces}, 1, true);
    }
  }
}

TEST(Gemm, NoDepthLeavesBetaTimesD) {
  for (const DType dtype : kDtypes) {
    check({dtype, 5, 7, 0, {1, 1}, {7, 1}, {7, 1}}, cpu_features(), {}, 0.0, false);
    check({dtype, 5, 7, 0, {1, 1}, {7, 1}, {1, 5}}, cpu_features(), {}, 2.0, true);
  }
}

TEST(Gemm, ARowDoesNotDependOnTheOthers) {
  // Within one path; the choice itself may change with m.
  std::mt19937 random(3);
  TestMatrix a = make(random, DType::Float32, 21, 100, {100, 1});
  TestMatrix b = make(random, DType::Float32, 100, 33, {1, 100});
  for (const CpuFeatures& features : feature_levels()) {
    for (const GemmPath path : {GemmPath::Tile, GemmPath::Dot}) {
      std::vector<float> all(21 * 33), one(33);
      const GemmChoice choice{.path = path, .transposed = path == GemmPath::Tile};
      GemmOperands operands;
      operands.a = a.memory.data();
      operands.b = b.memory.data();
      operands.c = all.data();
      gemm({DType::Float32, 21, 33, 100, a.strides, b.strides, {33, 1}, 2}, operands, choice,
           features);
      operands.a = a.at(13, 0);
      operands.c = one.data();
      gemm({DType::Float32, 1, 33, 100, a.strides, b.strides, {33, 1}, 2}, operands, choice,
           features);
      for (int j = 0; j < 33; ++j) EXPECT_EQ(all[13 * 33 + j], one[j]);
    }
  }
}

TEST(GemmChoice, FollowsShapesStridesAndFeatures) {
  const CpuFeatures avx512{.avx2 = true, .avx512 = true};
  const CpuFeatures avx512_bf16{.avx2 = true, .avx512 = true, .avx512_bf16 = true};
  const auto linear = [](DType dtype, int64_t m, int64_t n, int64_t k) {
    return GemmProblem{dtype, m, n, k, {k, 1}, {1, k}, {n, 1}, 2};
  };
  const auto choose = [](const GemmProblem& problem, const CpuFeatures& features, bool has_blas) {
    std::ostringstream text;
    text << choose_gemm(problem, features, has_blas);
    return text.str();
  };
  EXPECT_EQ(choose(linear(DType::Float32, 8, 384, 384), avx512, true), "dot, 2 pieces");
  EXPECT_EQ(choose(linear(DType::Float32, 1, 64, 64), avx512, true), "dot, 1 pieces");
  EXPECT_EQ(choose(linear(DType::Float32, 32, 1536, 384), avx512, true),
            "tile, transposed, 2 pieces");
  EXPECT_EQ(choose(linear(DType::Float32, 1024, 64, 384), avx512, true), "tile, 2 pieces");
  EXPECT_EQ(choose(linear(DType::Float32, 512, 512, 384), CpuFeatures{}, true), "blas, 2 pieces");
  EXPECT_EQ(choose(linear(DType::Float64, 2, 2, 2), avx512, true), "blas, 1 pieces");
  EXPECT_EQ(choose(linear(DType::Float64, 2, 2, 2), avx512, false), "plain, 1 pieces");
  EXPECT_EQ(choose(linear(DType::BFloat16, 1, 4096, 4096), avx512_bf16, true),
            "dot, bf16 instructions, 2 pieces");
  EXPECT_EQ(choose(linear(DType::BFloat16, 1, 4096, 4096), avx512, true), "dot, 2 pieces");
  // A row-major B already lies as vectors across C.
  GemmProblem problem = linear(DType::Float32, 64, 384, 384);
  problem.b = {384, 1};
  EXPECT_EQ(choose(problem, avx512, true), "tile, split by columns, 2 pieces");
  std::ostringstream text;
  text << problem;
  EXPECT_EQ(text.str(), "float32 m 64 n 384 k 384, a [384, 1], b [384, 1], c [384, 1], 2 threads");
}

TEST(GemmKernels, HalvesConvertLikeTheScalarTypes) {
  std::vector<uint16_t> bits(65536);
  for (size_t i = 0; i < bits.size(); ++i) bits[i] = static_cast<uint16_t>(i);
  for (const CpuFeatures& features : feature_levels()) {
    const GemmKernels& kernels = gemm_kernels(features);
    SCOPED_TRACE(kernels.name);
    const int64_t count = 65535;  // a tail on every width
    std::vector<float> values(count), rounded(count);
    std::vector<uint16_t> back(count);
    const auto round_trip = [&](auto tag, auto to_float, auto from_float) {
      using T = typename decltype(tag)::type;
      to_float(count, bits.data(), values.data());
      for (int64_t i = 0; i < count; ++i) {
        T half;
        half.bits = bits[i];
        const float expected = static_cast<float>(half);
        if (expected != expected) {
          ASSERT_NE(values[i], values[i]);
          rounded[i] = values[i];
        } else {
          ASSERT_EQ(values[i], expected);
          rounded[i] = values[i] * 1.001f;  // falls between two halves
        }
      }
      from_float(count, rounded.data(), back.data());
      for (int64_t i = 0; i < count; ++i) {
        T expected(rounded[i]), got;
        got.bits = back[i];
        if (rounded[i] != rounded[i]) {
          ASSERT_NE(static_cast<float>(got), static_cast<float>(got));
        } else {
          ASSERT_EQ(got.bits, expected.bits) << rounded[i];
        }
      }
    };
    round_trip(TypeTag<BFloat16>{}, kernels.bf16_to_float, kernels.float_to_bf16);
    round_trip(TypeTag<Float16>{}, kernels.fp16_to_float, kernels.float_to_fp16);
  }
}

}  // namespace
}  // namespace aotiny
