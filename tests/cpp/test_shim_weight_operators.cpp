// weight_matmul, weight_bmm, weight_embedding over all formats, and what they refuse.
#include "aotiny/shims/weight_ops.h"
#include "quant_testing.h"
#include "shim_test.h"
#include "weight_handles.h"

namespace aotiny {
namespace {

using namespace aotiny::testing;
using WeightOperators = ShimTest;

constexpr int64_t kN = 24, kK = 256;

AOTITorchError matmul_of(AtenTensorHandle x, const WeightHandles& w, AtenTensorHandle* bias,
                         AtenTensorHandle* ret) {
  return aoti_torch_cpu_weight_matmul(x, w.planes.data(), w.count, w.format, w.variant,
                                      w.group_size, bias, ret);
}

AOTITorchError bmm_of(AtenTensorHandle x, const WeightHandles& w, AtenTensorHandle* ret) {
  return aoti_torch_cpu_weight_bmm(x, w.planes.data(), w.count, w.format, w.variant, w.group_size,
                                   ret);
}

AOTITorchError embedding_of(AtenTensorHandle indices, const WeightHandles& w, int32_t dtype,
                            AtenTensorHandle* ret) {
  return aoti_torch_cpu_weight_embedding(indices, w.planes.data(), w.count, w.format, w.variant,
                                         w.group_size, dtype, ret);
}

// x W^T in fp64, with the weight's own values.
std::vector<float> product(const std::vector<float>& x, const std::vector<float>& w, int64_t n,
                           int64_t k) {
  std::vector<float> y;
  for (size_t row = 0; row < x.size() / k; ++row) {
    for (int64_t i = 0; i < n; ++i) {
      double sum = 0;
      for (int64_t j = 0; j < k; ++j) sum += double{x[row * k + j]} * w[i * k + j];
      y.push_back(static_cast<float>(sum));
    }
  }
  return y;
}

// Activations in 8 bits are within 1/127 of a block's largest; native ones only round.
constexpr double kTolerance = 1e-2;

TEST_F(WeightOperators, MultiplyByEveryFormat) {
  for (const FormatId format : all_formats()) {
    const Weight weight = random_weight(format, kN, kK, group_for(format, 32), 3);
    const WeightHandles w(weight);
    const std::vector<float> x = gaussian(5 * kK, 4), bias = gaussian(kN, 5, 30);
    Handle activations(testing::tensor_of(x, {5, kK})), offset(testing::tensor_of(bias, {kN}));
    std::vector<float> expected = product(x, floats_of(weight.dequantize()), kN, kK);
    Handle plain, shifted;
    ASSERT_EQ(matmul_of(activations, w, nullptr, plain.out()), kOk) << last_error();
    ASSERT_EQ(ints(plain.tensor().sizes()), (Ints{5, kN}));
    EXPECT_LT(relative_error(floats_of(plain.tensor()), expected), kTolerance)
        << format_name(format);
    AtenTensorHandle offset_handle = offset;
    ASSERT_EQ(matmul_of(activations, w, &offset_handle, shifted.out()), kOk) << last_error();
    for (size_t i = 0; i < expected.size(); ++i) expected[i] += bias[i % kN];
    EXPECT_LT(relative_error(floats_of(shifted.tensor()), expected), kTolerance)
        << format_name(format);
  }
}

TEST_F(WeightOperators, MultiplyStacksAndLookRowsUp) {
  for (const FormatId format : all_formats()) {
    const int64_t group_size = group_for(format, 32);
    const Tensor values = testing::tensor_of(gaussian(2 * kN * kK, 6), {2, kN, kK});
    const Weight stack = quantize(values, format, group_size);
    const std::vector<float> x = gaussian(2 * 3 * kK, 7), dense = floats_of(stack.dequantize());
    Handle activations(testing::tensor_of(x, {2, 3, kK})), y;
    ASSERT_EQ(bmm_of(activations, WeightHandles(stack), y.out()), kOk) << last_error();
    ASSERT_EQ(ints(y.tensor().sizes()), (Ints{2, 3, kN}));
    std::vector<float> expected;
    for (int64_t b = 0; b < 2; ++b) {
      const std::vector<float> one =
          product({x.begin() + b * 3 * kK, x.begin() + (b + 1) * 3 * kK},
                  {dense.begin() + b * kN * kK, dense.begin() + (b + 1) * kN * kK}, kN, kK);
      expected.insert(expected.end(), one.begin(), one.end());
    }
    EXPECT_LT(relative_error(floats_of(y.tensor()), expected), kTolerance) << format_name(format);

    const Weight weight = quantize(values.select(0, 0), format, group_size);
    const WeightHandles w(weight);
    Handle indices(aotiny::tensor_of<int64_t>({3}, {kN - 1, 0, 5})), rows;
    ASSERT_EQ(embedding_of(indices, w, aoti_torch_dtype_float32(), rows.out()), kOk)
        << last_error();
    const std::vector<float> table = floats_of(weight.dequantize());
    std::vector<float> wanted;
    for (const int64_t i : {kN - 1, int64_t{0}, int64_t{5}}) {
      wanted.insert(wanted.end(), table.begin() + i * kK, table.begin() + (i + 1) * kK);
    }
    EXPECT_EQ(floats_of(rows.tensor()), wanted) << format_name(format);
    Handle halves;
    ASSERT_EQ(embedding_of(indices, w, aoti_torch_dtype_bfloat16(), halves.out()), kOk);
    EXPECT_EQ(halves.tensor().dtype(), DType::BFloat16);
  }
}

// Every bad weight, for each of the three operators.
TEST_F(WeightOperators, RefuseBadWeights) {
  const FormatId format = kFormatId<CoalescedInt4Traits<Metadata::B>>;
  const Weight weight = random_weight(format, kN, kK, 32, 8);
  const Handle x(testing::tensor_of(gaussian(kK, 9), {1, kK}));
  const Handle indices(aotiny::tensor_of<int64_t>({1}, {0}));
  const auto refused = [&](Status status, const std::string& text, const WeightHandles& w,
                           const AtenTensorHandle* planes) {
    expect_refused_with_null(status, text, [&](AtenTensorHandle* ret) {
      return aoti_torch_cpu_weight_matmul(x, planes, w.count, w.format, w.variant, w.group_size,
                                          nullptr, ret);
    });
    expect_refused_with_null(status, text, [&](AtenTensorHandle* ret) {
      return aoti_torch_cpu_weight_bmm(x, planes, w.count, w.format, w.variant, w.group_size, ret);
    });
    expect_refused_with_null(status, text, [&](AtenTensorHandle* ret) {
      return aoti_torch_cpu_weight_embedding(indices, planes, w.count, w.format, w.variant,
                                             w.group_size, aoti_torch_dtype_float32(), ret);
    });
  };
  const auto changed = [&](Status status, const std::string& text, const auto& change) {
    WeightHandles w(weight);
    change(w);
    refused(status, text, w, w.planes.data());
  };
  constexpr Status kInvalid = Status::InvalidArgument;
  changed(kInvalid, "format is null", [](auto& w) { w.format = nullptr; });
  changed(kInvalid, "variant is null", [](auto& w) { w.variant = nullptr; });
  changed(kInvalid, "Int3", [](auto& w) { w.format = "Int3"; });
  changed(kInvalid, "Q", [](auto& w) { w.variant = "Q"; });
  changed(kInvalid, "4 tensors were given, the format has 3", [](auto& w) { w.variant = "A"; });
  changed(kInvalid, "3 tensors were given, the format has 4", [](auto& w) { w.count = 3; });
  changed(kInvalid, "-1 tensors", [](auto& w) { w.count = -1; });
  changed(kInvalid, "zero is null", [](auto& w) { w.planes[2] = nullptr; });
  changed(kInvalid, "48", [](auto& w) { w.group_size = 48; });
  changed(Status::InvalidType, "scale has dtype int8", [](auto& w) {
    w.tensors[1] = Tensor::empty(Ints{kN, kK / 32}, DType::Int8);
  });
  changed(kInvalid, "[8, 24]",
          [](auto& w) { w.tensors[1] = w.tensors[1].transpose(0, 1).contiguous(); });
  refused(kInvalid, "planes is null", WeightHandles(weight), nullptr);
}

TEST_F(WeightOperators, RefuseWhatTheWeightDoesNotFit) {
  const FormatId format = kFormatId<Int8Traits<Metadata::A>>;
  const WeightHandles w(random_weight(format, kN, kK, 32, 10));
  const WeightHandles stack(
      quantize(testing::tensor_of(gaussian(2 * kN * kK, 11), {2, kN, kK}), format, 32));
  const Handle x(testing::tensor_of(gaussian(kK, 12), {1, kK}));
  const Handle narrow(testing::tensor_of(gaussian(64, 12), {1, 64}));
  const Handle batch(testing::tensor_of(gaussian(3 * kK, 12), {3, 1, kK}));
  const Handle bias(testing::tensor_of(gaussian(kN - 1, 12), {kN - 1}));
  const Handle beyond(aotiny::tensor_of<int64_t>({2}, {0, kN}));
  AtenTensorHandle bias_handle = bias, null = nullptr;
  const int32_t f32 = aoti_torch_dtype_float32();
  constexpr Status kInvalid = Status::InvalidArgument;
  using Ret = AtenTensorHandle*;
  expect_refused_with_null(kInvalid, "x is null",
                           [&](Ret ret) { return matmul_of(nullptr, w, nullptr, ret); });
  expect_refused_with_null(kInvalid, "bias is null",
                           [&](Ret ret) { return matmul_of(x, w, &null, ret); });
  expect_refused_with_null(kInvalid, "[23]",
                           [&](Ret ret) { return matmul_of(x, w, &bias_handle, ret); });
  expect_refused_with_null(kInvalid, "K = 256",
                           [&](Ret ret) { return matmul_of(narrow, w, nullptr, ret); });
  expect_refused_with_null(kInvalid, "[2, 24, 256]",
                           [&](Ret ret) { return matmul_of(x, stack, nullptr, ret); });
  expect_refused_with_null(Status::InvalidType, "int64",
                           [&](Ret ret) { return matmul_of(beyond, w, nullptr, ret); });
  expect_refused_with_null(kInvalid, "[3, 1, 256]",
                           [&](Ret ret) { return bmm_of(batch, stack, ret); });
  expect_refused_with_null(kInvalid, "24", [&](Ret ret) { return bmm_of(batch, w, ret); });
  expect_refused_with_null(kInvalid, "indices is null",
                           [&](Ret ret) { return embedding_of(nullptr, w, f32, ret); });
  expect_refused_with_null(kInvalid, "24",
                           [&](Ret ret) { return embedding_of(beyond, w, f32, ret); });
  expect_refused_with_null(Status::InvalidType, "float32",
                           [&](Ret ret) { return embedding_of(x, w, f32, ret); });
  expect_refused_with_null(Status::InvalidType, "999",
                           [&](Ret ret) { return embedding_of(beyond, w, 999, ret); });
  expect_refused(matmul_of(x, w, nullptr, nullptr), kInvalid, "ret0 is null");
  expect_refused(bmm_of(x, w, nullptr), kInvalid, "ret0 is null");
  expect_refused(embedding_of(beyond, w, f32, nullptr), kInvalid, "ret0 is null");
}

}  // namespace
}  // namespace aotiny
