#include "dense_matrices.h"

namespace aotiny {
namespace {

int32_t addmm(Tensor& out, Tensor& self, Tensor& mat1, Tensor& mat2, double beta = 1,
              double alpha = 1) {
  return aoti_torch_cpu_addmm_out(handle(out), handle(self), handle(mat1), handle(mat2), beta,
                                  alpha);
}

TEST(AddmmOut, EveryBroadcastOfSelf) {
  std::mt19937 random(1);
  Tensor a = randn(random, {21, 40}), b = randn(random, {35, 40}).transpose(0, 1);
  for (const DType dtype : {DType::Float32, DType::Float64, DType::BFloat16}) {
    Tensor x = a.to(dtype), y = b.to(dtype);
    for (const Ints& sizes : {Ints{}, Ints{35}, Ints{1}, Ints{1, 35}, Ints{21, 1}, Ints{21, 35}}) {
      Tensor self = randn(random, sizes, dtype);
      const std::vector<double> addend = values(self.expand(Ints{21, 35}));
      Tensor outs[] = {filled({21, 35}, NAN, dtype), filled({35, 21}, NAN, dtype).transpose(0, 1)};
      for (Tensor& out : outs) {
        ASSERT_EQ(addmm(out, self, x, y, 0.5, -2), 0) << last_error();
        expect_close(out, product(x, y, addend, 0.5, -2), dtype == DType::BFloat16 ? 0.3 : 4e-5);
      }
    }
  }
}

TEST(AddmmOut, ZeroBetaIgnoresNaN) {
  std::mt19937 random(2);
  Tensor a = randn(random, {9, 12}), b = randn(random, {12, 30}), self = filled({30}, NAN);
  Tensor out = filled({9, 30}, NAN);
  ASSERT_EQ(addmm(out, self, a, b, 0), 0);
  expect_close(out, product(a, b));
}

TEST(AddmmOut, NoDepthGivesBetaTimesSelf) {
  Tensor a = filled({2, 0}, 1), b = filled({0, 3}, 1), self = filled({3}, 4);
  Tensor out = filled({2, 3}, NAN);
  ASSERT_EQ(addmm(out, self, a, b, 0.25), 0);
  expect_close(out, std::vector<double>(6, 1.0));
  self = filled({3}, NAN);
  ASSERT_EQ(addmm(out, self, a, b, 0), 0);
  expect_close(out, std::vector<double>(6, 0.0));
}

TEST(AddmmOut, SelfMayBeOutOrAPartOfIt) {
  std::mt19937 random(3);
  for (const DType dtype : {DType::Float32, DType::Float64}) {
    Tensor a = randn(random, {40, 12}, dtype), b = randn(random, {12, 50}, dtype);
    Tensor out = randn(random, {40, 50}, dtype);
    std::vector<double> expected = product(a, b, values(out), 1);
    ASSERT_EQ(addmm(out, out, a, b), 0);
    expect_close(out, expected);

    Tensor row = out.select(0, 17);
    expected = product(a, b, values(row.expand(Ints{40, 50})), 1);
    ASSERT_EQ(addmm(out, row, a, b), 0);
    expect_close(out, expected);

    Tensor square = randn(random, {20, 20}, dtype), x = randn(random, {20, 8}, dtype);
    Tensor y = randn(random, {8, 20}, dtype), turned = square.transpose(0, 1);
    expected = product(x, y, values(turned), 1);
    ASSERT_EQ(addmm(square, turned, x, y), 0);
    expect_close(square, expected);
  }
}

TEST(AddmmOut, RefusesWhatDoesNotFit) {
  Tensor a = filled({2, 3}, 1), b = filled({3, 4}, 1), out = filled({2, 4}, 0);
  Tensor bias = filled({4}, 1), wrong = filled({3}, 1), cube = filled({1, 2, 4}, 1);
  Tensor half = filled({4}, 1, DType::BFloat16), wide = filled({2, 5}, 1);
  expect_refused(aoti_torch_cpu_addmm_out(handle(out), nullptr, handle(a), handle(b), 1, 1),
                 Status::InvalidArgument, "self is null");
  expect_refused(addmm(out, wrong, a, b), Status::InvalidArgument, "3");
  expect_refused(addmm(out, cube, a, b), Status::InvalidArgument, "3 dimensions");
  expect_refused(addmm(out, half, a, b), Status::InvalidType, "bfloat16");
  expect_refused(addmm(out, bias, b, a), Status::InvalidArgument, "4 columns, 2 rows");
  expect_refused(addmm(wide, bias, a, b), Status::InvalidArgument, "[2, 5]");
}

}  // namespace
}  // namespace aotiny
