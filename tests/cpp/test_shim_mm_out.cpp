#include "dense_matrices.h"

namespace aotiny {
namespace {

TEST(MmOut, KeepsTheStridesOfOut) {
  std::mt19937 random(1);
  Tensor a = randn(random, {7, 30}), b = randn(random, {11, 30}).transpose(0, 1);
  const std::vector<double> expected = product(a, b);
  Tensor wide = filled({7, 40}, NAN), tall = filled({11, 7}, NAN);
  Tensor outs[] = {filled({7, 11}, NAN), tall.transpose(0, 1), wide.slice(1, 3, 36, 3)};
  for (Tensor& out : outs) {
    const Ints strides(out.strides().begin(), out.strides().end());
    ASSERT_EQ(aoti_torch_cpu_mm_out(handle(out), handle(a), handle(b)), 0) << last_error();
    expect_close(out, expected);
    EXPECT_EQ(Ints(out.strides().begin(), out.strides().end()), strides);
  }
  for (int64_t i = 0; i < wide.numel(); ++i) {  // nothing was written beside the view
    const int64_t column = i % 40;
    const bool inside = column >= 3 && column < 36 && column % 3 == 0;
    EXPECT_EQ(std::isnan(wide.data<float>()[i]), !inside) << column;
  }
}

TEST(MmOut, BroadcastAndSlicedInputs) {
  std::mt19937 random(2);
  Tensor a = randn(random, {1, 30}).expand(Ints{9, 30});
  Tensor b = randn(random, {60, 24}).slice(0, 0, 60, 2).slice(1, 1, 24, 3);
  Tensor out = filled({9, 8}, NAN);
  ASSERT_EQ(aoti_torch_cpu_mm_out(handle(out), handle(a), handle(b)), 0) << last_error();
  expect_close(out, product(a, b));
}

TEST(MmOut, SixteenBitFloatsAreRoundedOnce) {
  std::mt19937 random(3);
  for (const DType dtype : {DType::BFloat16, DType::Float16}) {
    Tensor a = randn(random, {20, 65}, dtype), b = randn(random, {33, 65}, dtype).transpose(0, 1);
    Tensor out = filled({20, 33}, NAN, dtype);
    ASSERT_EQ(aoti_torch_cpu_mm_out(handle(out), handle(a), handle(b)), 0) << last_error();
    const std::vector<double> expected = product(a, b), got = values(out);
    const double unit = dtype == DType::BFloat16 ? 0x1p-8 : 0x1p-11;
    for (size_t i = 0; i < got.size(); ++i) {
      ASSERT_NEAR(got[i], expected[i], unit * std::abs(expected[i]) * 1.01 + 1e-4);
    }
  }
}

TEST(MmOut, DoublePrecision) {
  std::mt19937 random(4);
  Tensor a = randn(random, {5, 64}, DType::Float64), b = randn(random, {64, 9}, DType::Float64);
  Tensor out = filled({9, 5}, NAN, DType::Float64).transpose(0, 1);
  ASSERT_EQ(aoti_torch_cpu_mm_out(handle(out), handle(a), handle(b)), 0) << last_error();
  expect_close(out, product(a, b), 1e-13);
}

TEST(MmOut, EmptySizes) {
  Tensor none = Tensor::empty(Ints{4, 0}, DType::Float32);
  Tensor none_down = Tensor::empty(Ints{0, 3}, DType::Float32), out = filled({4, 3}, NAN);
  ASSERT_EQ(aoti_torch_cpu_mm_out(handle(out), handle(none), handle(none_down)), 0);
  expect_close(out, std::vector<double>(12, 0.0));
  Tensor rows = filled({0, 4}, 1), columns = filled({4, 3}, 1), empty = filled({0, 3}, 1);
  EXPECT_EQ(aoti_torch_cpu_mm_out(handle(empty), handle(rows), handle(columns)), 0);
}

TEST(MmOut, OutMayShareMemoryWithTheInputs) {
  std::mt19937 random(5);
  Tensor a = randn(random, {6, 6}), b = randn(random, {6, 6});
  const std::vector<double> squared = product(a, a), swapped = product(b, a);
  Tensor turned = a.transpose(0, 1), copy = a.clone();
  ASSERT_EQ(aoti_torch_cpu_mm_out(handle(copy), handle(copy), handle(copy)), 0) << last_error();
  expect_close(copy, squared);
  ASSERT_EQ(aoti_torch_cpu_mm_out(handle(turned), handle(b), handle(a)), 0) << last_error();
  expect_close(turned, swapped);
}

TEST(MmOut, InfinityAndNaNPassThrough) {
  Tensor a = filled({2, 3}, 1), b = filled({3, 20}, 1), out = filled({2, 20}, 0);
  a.data<float>()[1] = INFINITY;
  a.data<float>()[4] = NAN;
  ASSERT_EQ(aoti_torch_cpu_mm_out(handle(out), handle(a), handle(b)), 0);
  EXPECT_EQ(values(out)[7], INFINITY);
  EXPECT_TRUE(std::isnan(values(out)[27]));
}

TEST(MmOut, RefusesWhatDoesNotFit) {
  Tensor a = filled({2, 3}, 1), b = filled({3, 4}, 1), out = filled({2, 4}, 0);
  const auto call = [&](Tensor& result, Tensor& x, Tensor& y) {
    return aoti_torch_cpu_mm_out(handle(result), handle(x), handle(y));
  };
  expect_refused(aoti_torch_cpu_mm_out(nullptr, handle(a), handle(b)), Status::InvalidArgument,
                 "out is null");
  expect_refused(aoti_torch_cpu_mm_out(handle(out), nullptr, handle(b)), Status::InvalidArgument,
                 "self is null");
  expect_refused(aoti_torch_cpu_mm_out(handle(out), handle(a), nullptr), Status::InvalidArgument,
                 "mat2 is null");
  Tensor undefined, three = filled({1, 2, 3}, 1), half = filled({3, 4}, 1, DType::Float16);
  expect_refused(call(out, undefined, b), Status::InvalidArgument, "self is undefined");
  expect_refused(call(out, three, b), Status::InvalidArgument, "3 dimensions");
  expect_refused(call(out, a, half), Status::InvalidType, "float16");
  expect_refused(call(out, b, a), Status::InvalidArgument, "4 columns, 2 rows");
  expect_refused(call(b, a, b), Status::InvalidArgument, "[3, 4]");
  Tensor ia = filled({2, 3}, 1, DType::Int64), ib = filled({3, 4}, 1, DType::Int64),
         io = filled({2, 4}, 1, DType::Int64);
  expect_refused(call(io, ia, ib), Status::InvalidType, "int64");
  Tensor repeated = filled({1, 4}, 0).expand(Ints{2, 4});
  expect_refused(call(repeated, a, b), Status::InvalidArgument, "overlap");
}

}  // namespace
}  // namespace aotiny
