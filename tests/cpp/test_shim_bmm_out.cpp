#include "dense_matrices.h"

namespace aotiny {
namespace {

int32_t bmm(Tensor& out, Tensor& self, Tensor& mat2) {
  return aoti_torch_cpu_bmm_out(handle(out), handle(self), handle(mat2));
}

void expect_products(const Tensor& out, const Tensor& a, const Tensor& b, double tolerance = 2e-5) {
  for (int64_t i = 0; i < a.size(0); ++i) {
    SCOPED_TRACE(i);
    expect_close(out.select(0, i), product(a.select(0, i), b.select(0, i)), tolerance);
  }
}

TEST(BmmOut, BatchesOfEverySizeAndStride) {
  std::mt19937 random(1);
  const int64_t shapes[][4] = {{1, 5, 6, 7}, {3, 1, 9, 64}, {40, 17, 16, 33}, {2, 300, 70, 40}};
  for (const DType dtype : {DType::Float32, DType::Float64}) {
    for (const auto& [batch, m, n, k] : shapes) {
      Tensor a = randn(random, {m, batch, k}, dtype).transpose(0, 1);
      Tensor b = randn(random, {batch, n, k}, dtype).transpose(1, 2);
      Tensor out = filled({m, batch, n}, NAN, dtype).transpose(0, 1);
      ASSERT_EQ(bmm(out, a, b), 0) << last_error();
      expect_products(out, a, b);
      Tensor shared = randn(random, {1, k, n}, dtype).expand(Ints{batch, k, n});
      ASSERT_EQ(bmm(out, a, shared), 0) << last_error();
      expect_products(out, a, shared);
    }
  }
}

TEST(BmmOut, EmptySizes) {
  Tensor a = filled({0, 2, 3}, 1), b = filled({0, 3, 4}, 1), out = filled({0, 2, 4}, 1);
  EXPECT_EQ(bmm(out, a, b), 0);
  Tensor x = filled({2, 2, 0}, 1), y = filled({2, 0, 3}, 1), zeros = filled({2, 2, 3}, NAN);
  EXPECT_EQ(bmm(zeros, x, y), 0);
  expect_close(zeros, std::vector<double>(12, 0.0));
}

TEST(BmmOut, OutMayShareMemoryWithTheInputs) {
  std::mt19937 random(2);
  Tensor a = randn(random, {4, 8, 8}), b = randn(random, {4, 8, 8});
  const Tensor before = a.clone();
  ASSERT_EQ(bmm(a, a, b), 0) << last_error();
  expect_products(a, before, b);
}

TEST(BmmOut, RefusesWhatDoesNotFit) {
  Tensor a = filled({2, 3, 4}, 1), b = filled({2, 4, 5}, 1), out = filled({2, 3, 5}, 1);
  Tensor three = filled({3, 4, 5}, 1), flat = filled({3, 4}, 1), half = b.to(DType::Float16);
  expect_refused(bmm(out, a, three), Status::InvalidArgument, "mat2 3");
  expect_refused(bmm(out, flat, b), Status::InvalidArgument, "2 dimensions");
  expect_refused(bmm(out, a, half), Status::InvalidType, "float16");
  expect_refused(bmm(out, a, a), Status::InvalidArgument, "4 columns, 3 rows");
  expect_refused(bmm(a, a, b), Status::InvalidArgument, "[2, 3, 4]");
  expect_refused(aoti_torch_cpu_bmm_out(nullptr, handle(a), handle(b)), Status::InvalidArgument,
                 "out is null");
}

}  // namespace
}  // namespace aotiny
