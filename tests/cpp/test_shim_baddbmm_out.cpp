#include "dense_matrices.h"

namespace aotiny {
namespace {

int32_t baddbmm(Tensor& out, Tensor& self, Tensor& batch1, Tensor& batch2, double beta = 1,
                double alpha = 1) {
  return aoti_torch_cpu_baddbmm_out(handle(out), handle(self), handle(batch1), handle(batch2), beta,
                                    alpha);
}

// Each matrix of the batch against the product in double precision.
void expect_products(const Tensor& out, const Tensor& self, const Tensor& a, const Tensor& b,
                     double beta, double alpha, double tolerance) {
  const Tensor added = self.expand(out.sizes());
  for (int64_t i = 0; i < out.size(0); ++i) {
    SCOPED_TRACE(i);
    const std::vector<double> addend =
        beta == 0 ? std::vector<double>{} : values(added.select(0, i));
    expect_close(out.select(0, i), product(a.select(0, i), b.select(0, i), addend, beta, alpha),
                 tolerance);
  }
}

TEST(BaddbmmOut, EveryBroadcastOfSelf) {
  std::mt19937 random(1);
  for (const DType dtype : {DType::Float32, DType::Float64, DType::BFloat16}) {
    const double tolerance = dtype == DType::BFloat16 ? 0.3 : 4e-5;
    for (const int64_t batch : {1, 3, 40}) {
      Tensor a = randn(random, {9, batch, 20}, dtype).transpose(0, 1);
      Tensor b = randn(random, {batch, 15, 20}, dtype).transpose(1, 2);
      for (const Ints& sizes :
           {Ints{}, Ints{15}, Ints{9, 1}, Ints{batch, 1, 1}, Ints{batch, 9, 15}}) {
        Tensor self = randn(random, sizes, dtype);
        Tensor out = filled({9, batch, 15}, NAN, dtype).transpose(0, 1);
        ASSERT_EQ(baddbmm(out, self, a, b, 0.5, -2), 0) << last_error();
        expect_products(out, self, a, b, 0.5, -2, tolerance);
      }
    }
  }
}

TEST(BaddbmmOut, ZeroBetaIgnoresNaN) {
  std::mt19937 random(2);
  Tensor a = randn(random, {2, 9, 12}), b = randn(random, {2, 12, 30}), self = filled({30}, NAN);
  Tensor out = filled({2, 9, 30}, NAN);
  ASSERT_EQ(baddbmm(out, self, a, b, 0), 0);
  expect_products(out, self, a, b, 0, 1, 1e-5);
}

TEST(BaddbmmOut, NoDepthGivesBetaTimesSelf) {
  Tensor a = filled({2, 3, 0}, 1), b = filled({2, 0, 4}, 1), self = filled({4}, 4);
  Tensor out = filled({2, 3, 4}, NAN), none = filled({0, 3, 4}, NAN);
  ASSERT_EQ(baddbmm(out, self, a, b, 0.25), 0);
  expect_close(out, std::vector<double>(24, 1.0));
  Tensor no_a = filled({0, 3, 5}, 1), no_b = filled({0, 5, 4}, 1);
  EXPECT_EQ(baddbmm(none, self, no_a, no_b), 0);
}

TEST(BaddbmmOut, SelfMayBeOutOrAPartOfIt) {
  std::mt19937 random(3);
  Tensor a = randn(random, {3, 8, 5}), b = randn(random, {3, 5, 8});
  Tensor out = randn(random, {3, 8, 8}), before = out.clone();
  ASSERT_EQ(baddbmm(out, out, a, b), 0);
  expect_products(out, before, a, b, 1, 1, 1e-5);
  before = out.clone();
  Tensor matrix = out.select(0, 1), turned = matrix.transpose(0, 1);
  ASSERT_EQ(baddbmm(out, turned, a, b), 0);
  expect_products(out, before.select(0, 1).transpose(0, 1), a, b, 1, 1, 1e-5);
}

TEST(BaddbmmOut, RefusesWhatDoesNotFit) {
  Tensor a = filled({2, 3, 4}, 1), b = filled({2, 4, 5}, 1), out = filled({2, 3, 5}, 1);
  Tensor three = filled({3, 4, 5}, 1), deep = filled({1, 2, 3, 5}, 1), wrong = filled({4}, 1);
  Tensor half = filled({5}, 1, DType::Float16), bias = filled({5}, 1), flat = filled({3, 4}, 1);
  expect_refused(baddbmm(out, bias, a, three), Status::InvalidArgument, "batch1 2, batch2 3");
  expect_refused(baddbmm(out, bias, flat, b), Status::InvalidArgument, "batch1 has 2 dimensions");
  expect_refused(baddbmm(out, deep, a, b), Status::InvalidArgument, "self has 4 dimensions");
  expect_refused(baddbmm(out, wrong, a, b), Status::InvalidArgument, "[4]");
  expect_refused(baddbmm(out, half, a, b), Status::InvalidType, "float16");
  expect_refused(baddbmm(out, bias, a, a), Status::InvalidArgument, "4 columns, 3 rows");
  expect_refused(aoti_torch_cpu_baddbmm_out(handle(out), nullptr, handle(a), handle(b), 1, 1),
                 Status::InvalidArgument, "self is null");
}

}  // namespace
}  // namespace aotiny
