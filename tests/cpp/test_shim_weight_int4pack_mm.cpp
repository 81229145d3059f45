// torch's GPU int4 op on the CPU: against sums in fp64, and what it refuses.
#include <cmath>

#include "aotiny/kernels/tile_packed_mm.h"
#include "aotiny/quant/quantize.h"
#include "shim_test.h"

namespace aotiny {
namespace {

using WeightInt4PackMm = ShimTest;

constexpr int64_t kN = 24, kK = 256;

Tensor ramp(Ints sizes, DType dtype) {
  const Tensor values = Tensor::empty(sizes, DType::Float32);
  for (int64_t i = 0; i < values.numel(); ++i) {
    values.data<float>()[i] = static_cast<float>(i * 37 % 101 - 50) / 64;
  }
  return values.to(dtype);
}

Weight packed(FormatId format, int64_t group_size = 64) {
  return quantize(ramp({kN, kK}, DType::Float32), format, group_size);
}

constexpr FormatId kFormats[] = {kFormatId<Int4TilePackedTraits<2>>,
                                 kFormatId<Int4TilePackedTraits<4>>,
                                 kFormatId<Int4TilePackedTraits<8>>};

// The arguments of a good call, each of which a test replaces.
struct Arguments {
  Tensor self = ramp({3, kK}, DType::BFloat16);
  Tensor mat2 = packed(kFormats[2]).planes()[0];
  int64_t group_size = 64;
  Tensor pairs = packed(kFormats[2]).planes()[1];

  AOTITorchError call(AtenTensorHandle* ret) const {
    const Handle a(self), b(mat2), c(pairs);
    return aoti_torch_cpu__weight_int4pack_mm(a, b, group_size, c, ret);
  }
};

void expect_refused(const Arguments& arguments, Status status, const char* text) {
  expect_refused_with_null(status, text,
                           [&](AtenTensorHandle* ret) { return arguments.call(ret); });
}

// The weight's values as products take them: in bf16 where the processor multiplies that.
std::vector<float> values_in_products(const Weight& weight, DType dtype) {
  const Tensor exact = weight.dequantize();
  return values_of<float>(has_tile_packed_mm(weight.format(), dtype, cpu_features())
                              ? exact.to(DType::BFloat16).to(DType::Float32)
                              : exact);
}

// y against x W^T in fp64, within `rounding` of its size.
void expect_product(const Tensor& y, const Tensor& self, const Weight& weight, double rounding) {
  ASSERT_EQ(ints(y.sizes()), (Ints{self.size(0), kN}));
  ASSERT_EQ(y.dtype(), self.dtype());
  const std::vector<float> w = values_in_products(weight, self.dtype());
  const std::vector<float> x = values_of<float>(self.to(DType::Float32));
  const std::vector<float> actual = values_of<float>(y.to(DType::Float32));
  for (int64_t i = 0; i < self.size(0); ++i) {
    for (int64_t j = 0; j < kN; ++j) {
      double sum = 0, size = 0;
      for (int64_t l = 0; l < kK; ++l) {
        const double term = double{x[i * kK + l]} * w[j * kK + l];
        sum += term;
        size += std::abs(term);
      }
      EXPECT_NEAR(actual[i * kN + j], sum, rounding * std::abs(sum) + 1e-6 * size);
    }
  }
}

TEST_F(WeightInt4PackMm, MultipliesEveryPackingGroupSizeAndDtype) {
  for (const FormatId format : kFormats) {
    for (const int64_t group_size : {32, 64, 128, 256}) {
      const Weight weight = packed(format, group_size);
      for (const auto& [dtype, rounding] :
           {std::pair{DType::Float32, 0.0}, {DType::Float16, 0x1p-11}, {DType::BFloat16, 0x1p-8}}) {
        const Arguments arguments{ramp({3, kK}, dtype), weight.planes()[0], group_size,
                                  weight.planes()[1]};
        Handle result;
        ASSERT_EQ(arguments.call(result.out()), kOk) << last_error();
        expect_product(result.tensor(), arguments.self, weight, rounding);
      }
    }
  }
}

TEST_F(WeightInt4PackMm, TakesStridesAndNoRows) {
  const Weight weight = packed(kFormats[1]);
  const Arguments good{ramp({3, kK}, DType::Float32), weight.planes()[0], 64, weight.planes()[1]};
  Arguments strided = good;
  strided.self = ramp({kK, 3}, DType::Float32).transpose(0, 1);
  // Codes and pairs between others.
  const Tensor wide = Tensor::empty(Ints{kN / 8, kK / 64 + 2, 32, 2}, DType::Int32);
  strided.mat2 = wide.slice(1, 1, -1);
  strided.mat2.copy_(good.mat2);
  const Tensor pairs = Tensor::empty(Ints{kK / 64, kN + 5, 2}, DType::BFloat16);
  strided.pairs = pairs.slice(1, 2, 2 + kN);
  strided.pairs.copy_(good.pairs);
  Handle result, none;
  ASSERT_EQ(strided.call(result.out()), kOk) << last_error();
  expect_product(result.tensor(), strided.self, weight, 0);
  strided.self = good.self.slice(0, 0, 0);
  ASSERT_EQ(strided.call(none.out()), kOk) << last_error();
  EXPECT_EQ(ints(none.tensor().sizes()), (Ints{0, kN}));
}

TEST_F(WeightInt4PackMm, RefusesNulls) {
  const Arguments good;
  const Handle self(good.self), mat2(good.mat2), pairs(good.pairs);
  const auto refuse = [&](AtenTensorHandle a, AtenTensorHandle b, AtenTensorHandle c,
                          const char* text) {
    expect_refused_with_null(Status::InvalidArgument, text, [&](AtenTensorHandle* ret) {
      return aoti_torch_cpu__weight_int4pack_mm(a, b, 64, c, ret);
    });
  };
  refuse(nullptr, mat2, pairs, "self is null");
  refuse(self, nullptr, pairs, "mat2 is null");
  refuse(self, mat2, nullptr, "qScaleAndZeros is null");
  expect_refused(aoti_torch_cpu__weight_int4pack_mm(self, mat2, 64, pairs, nullptr),
                 Status::InvalidArgument, "ret0 is null");
}

TEST_F(WeightInt4PackMm, RefusesWrongActivations) {
  expect_refused({.self = Tensor()}, Status::InvalidArgument, "self is undefined");
  expect_refused({.self = ramp({2, 3, kK}, DType::BFloat16)}, Status::InvalidArgument,
                 "2-dimensional");
  expect_refused({.self = ramp({kK}, DType::BFloat16)}, Status::InvalidArgument, "2-dimensional");
  expect_refused({.self = ramp({3, kK}, DType::Int8)}, Status::InvalidType, "int8");
  expect_refused({.self = ramp({3, kK}, DType::Float64)}, Status::InvalidType, "float64");
  expect_refused({.self = ramp({3, 128}, DType::BFloat16)}, Status::InvalidArgument,
                 "[3, 128], its last size must be K = 256");
}

TEST_F(WeightInt4PackMm, RefusesWrongWeights) {
  expect_refused({.mat2 = Tensor()}, Status::InvalidArgument, "mat2 is undefined");
  expect_refused({.mat2 = ramp({3, 2, 32, 4}, DType::UInt8)}, Status::InvalidType,
                 "qdata has dtype uint8, not int32");
  expect_refused({.mat2 = ramp({24, 32}, DType::Int32)}, Status::InvalidArgument,
                 "not [N/8, K/(16·t), 32, t/2]");
  expect_refused({.mat2 = ramp({2, 3, 2, 32, 4}, DType::Int32)}, Status::InvalidArgument,
                 "not [N/8, K/(16·t), 32, t/2]");
  expect_refused({.mat2 = ramp({3, 2, 32, 3}, DType::Int32)}, Status::InvalidArgument,
                 "last size is not 1, 2 or 4");
  expect_refused({.mat2 = ramp({3, 2, 16, 4}, DType::Int32)}, Status::InvalidArgument,
                 "[3, 2, 16, 4], not [3, 2, 32, 4]");
  expect_refused({.mat2 = ramp({3, 2, 4, 32}, DType::Int32).transpose(2, 3)},
                 Status::InvalidArgument, "must lie together");
  expect_refused({.mat2 = ramp({0, 2, 32, 4}, DType::Int32)}, Status::InvalidArgument, "[0, 256]");
}

TEST_F(WeightInt4PackMm, RefusesWrongPairs) {
  expect_refused({.pairs = Tensor()}, Status::InvalidArgument, "qScaleAndZeros is undefined");
  expect_refused({.pairs = ramp({4, kN, 2}, DType::Float32)}, Status::InvalidType,
                 "scales_and_zeros has dtype float32, not bfloat16");
  expect_refused({.pairs = ramp({8, kN, 2}, DType::BFloat16)}, Status::InvalidArgument,
                 "[8, 24, 2], not [4, 24, 2]");
  expect_refused({.pairs = ramp({4, 16, 2}, DType::BFloat16)}, Status::InvalidArgument,
                 "[4, 16, 2], not [4, 24, 2]");
  expect_refused({.pairs = ramp({4, kN}, DType::BFloat16)}, Status::InvalidArgument, "[4, 24]");
  expect_refused({.pairs = ramp({4, 2, kN}, DType::BFloat16).transpose(1, 2)},
                 Status::InvalidArgument, "must lie together");
}

TEST_F(WeightInt4PackMm, RefusesWrongGroupSizes) {
  for (const auto& [size, text] : {std::pair{int64_t{0}, "group size 0"},
                                   {-32, "group size -32"},
                                   {16, "group size 16"},
                                   {96, "group size 96"},
                                   {512, "group size 512"}}) {
    expect_refused({.group_size = size}, Status::InvalidArgument, text);
  }
  expect_refused({.group_size = 128}, Status::InvalidArgument, "[4, 24, 2], not [2, 24, 2]");
}

}  // namespace
}  // namespace aotiny
