// How matrices with strides become a call of cuBLAS. The call is carried out here, on the host and
// to the letter of the BLAS definition, and compared with the product over the strides: no GPU.
#include "aotiny/kernels/dense_product.h"

#include <numeric>

#include "gpu_test.h"

namespace aotiny::cuda {
namespace {

// Small whole numbers, so that every order of summation gives the same.
std::vector<double> numbers(int64_t count, int64_t step) {
  std::vector<double> values(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    values[static_cast<size_t>(i)] = static_cast<double>((i * step) % 11 - 5);
  }
  return values;
}

// Element [row, column] of op(X): op is the identity, or turns what lies there around.
double& element(const CublasMatrices& x, int64_t batch, int64_t row, int64_t column) {
  if (x.is_transposed) std::swap(row, column);
  return static_cast<double*>(x.data)[batch * x.batch_stride + column * x.leading + row];
}

void require_blas_rules(const CublasProduct& p) {
  ASSERT_GE(p.a.leading, p.a.is_transposed ? p.k : p.m);
  ASSERT_GE(p.b.leading, p.b.is_transposed ? p.n : p.k);
  ASSERT_GE(p.c.leading, p.m);
  ASSERT_FALSE(p.c.is_transposed);
}

void carry_out(const CublasProduct& p) {
  for (int64_t batch = 0; batch < p.batch; ++batch) {
    for (int64_t i = 0; i < p.m; ++i) {
      for (int64_t j = 0; j < p.n; ++j) {
        double sum = 0;
        for (int64_t l = 0; l < p.k; ++l) {
          sum += element(p.a, batch, i, l) * element(p.b, batch, l, j);
        }
        double& c = element(p.c, batch, i, j);
        c = p.alpha * sum + (p.beta == 0 ? 0 : p.beta * c);
      }
    }
  }
}

double at(const Matrices& x, int64_t batch, int64_t row, int64_t column) {
  return static_cast<const double*>(
      x.data)[batch * x.batch_stride + row * x.row_stride + column * x.column_stride];
}

// Layouts of [rows, columns] that cuBLAS can use where they lie, batches beside each other and
// batches inside each other.
std::vector<Matrices> layouts(int64_t rows, int64_t columns, int64_t batch) {
  std::vector<Matrices> found;
  for (const int64_t gap : {0, 3}) {
    const int64_t row = columns + gap, column = rows + gap;
    found.push_back({nullptr, rows * row, row, 1});
    found.push_back({nullptr, column * columns, 1, column});
    found.push_back({nullptr, columns + gap, batch * (columns + gap), 1});
    found.push_back({nullptr, rows + gap, 1, batch * (rows + gap)});
  }
  if (rows == 1) found.push_back({nullptr, 7 * columns, 99, 7});
  if (columns == 1) found.push_back({nullptr, 7 * rows, 7, 99});
  if (rows == 1 && columns == 1) found.push_back({nullptr, 1, 0, 0});
  return found;
}

constexpr int64_t kRoom = 4096;

TEST(DenseProduct, EveryPairOfLayoutsIsTheProduct) {
  for (const auto& [batch, m, n, k] : {std::array<int64_t, 4>{1, 2, 3, 4},
                                       {3, 5, 2, 3},
                                       {2, 1, 4, 3},
                                       {2, 4, 1, 3},
                                       {3, 3, 2, 1},
                                       {2, 1, 1, 1}}) {
    for (Matrices a : layouts(m, k, batch)) {
      for (Matrices b : layouts(k, n, batch)) {
        for (Matrices c : layouts(m, n, batch)) {
          std::vector<double> x = numbers(kRoom, 7), y = numbers(kRoom, 4), z = numbers(kRoom, 3);
          const std::vector<double> before = z;
          a.data = x.data();
          b.data = y.data();
          c.data = z.data();
          const ProductShape shape{DType::Float64, DType::Float64, batch, m, n, k};
          const CublasProduct call = dense_product(shape, a, b, c, 2.0, -3.0);
          require_blas_rules(call);
          carry_out(call);
          std::vector<double> expected = before;
          for (int64_t i = 0; i < batch; ++i) {
            for (int64_t row = 0; row < m; ++row) {
              for (int64_t column = 0; column < n; ++column) {
                double sum = 0;
                for (int64_t l = 0; l < k; ++l) sum += at(a, i, row, l) * at(b, i, l, column);
                double& value = expected[static_cast<size_t>(
                    i * c.batch_stride + row * c.row_stride + column * c.column_stride)];
                value = 2.0 * sum - 3.0 * value;
              }
            }
          }
          ASSERT_EQ(z, expected) << batch << ' ' << m << ' ' << n << ' ' << k << ", strides of c "
                                 << c.row_stride << ' ' << c.column_stride;
        }
      }
    }
  }
}

TEST(DenseProduct, OtherLayoutsHaveToBeCopied) {
  const auto is_usable = [](int64_t rows, int64_t columns, int64_t row, int64_t column) {
    return has_cublas_layout(rows, columns, {nullptr, 0, row, column});
  };
  EXPECT_TRUE(is_usable(4, 5, 5, 1));
  EXPECT_TRUE(is_usable(4, 5, 1, 4));
  EXPECT_FALSE(is_usable(4, 5, 10, 2));  // neither rows nor columns lie side by side
  EXPECT_FALSE(is_usable(4, 5, 0, 1));   // one row, four times
  EXPECT_FALSE(is_usable(4, 5, 1, 0));
  EXPECT_FALSE(is_usable(4, 5, 1, 1));  // windows
  EXPECT_FALSE(is_usable(4, 5, 4, 1));
  EXPECT_FALSE(is_usable(4, 5, 1, 3));
  EXPECT_FALSE(is_usable(4, 1, 0, 1));
  EXPECT_FALSE(is_usable(1, 5, 1, 0));
  EXPECT_TRUE(is_usable(1, 5, 0, 3));
  EXPECT_TRUE(is_usable(4, 1, 3, 0));
  const std::string text = failure(Status::Internal, [&] {
    dense_product({DType::Float32, DType::Float32, 1, 4, 6, 5}, {nullptr, 0, 10, 2},
                  {nullptr, 0, 6, 1}, {nullptr, 0, 6, 1});
  });
  EXPECT_TRUE(contains(text, "[4, 5] with strides [10, 2]")) << text;
}

TEST(DenseProduct, BatchesMayShareAMatrix) {
  const CublasProduct call =
      dense_product({DType::Float32, DType::Float32, 7, 4, 6, 5}, {nullptr, 0, 5, 1},
                    {nullptr, 30, 6, 1}, {nullptr, 24, 6, 1});
  EXPECT_EQ(call.batch, 7);
  EXPECT_EQ(call.b.batch_stride, 0);  // a, turned around with C
  EXPECT_EQ(call.a.batch_stride, 30);
  EXPECT_EQ(call.c.batch_stride, 24);
}

}  // namespace
}  // namespace aotiny::cuda
