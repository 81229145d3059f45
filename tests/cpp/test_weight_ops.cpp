// What the operators on tensors refuse, and results that share memory with operands; their numbers
// are compared with numpy's in the Python tests.
#include "aotiny/shims/weight_ops.h"

#include <array>
#include <functional>

#include "aotiny/quant/views.h"
#include "quant_testing.h"

namespace aotiny {
namespace {

using namespace aotiny::testing;

constexpr FormatId kInt8 = kFormatId<Int8Traits<Metadata::A>>;
constexpr FormatId kNative = kFormatId<Int4PlainTraits<float>>;

Weight stack_of(FormatId format, int64_t batch, int64_t n, int64_t k) {
  return quantize(tensor_of(gaussian(batch * n * k, 50, 0.05f), {batch, n, k}), format, 32);
}

void expect_error(Status status, const std::string& text, const std::function<void()>& call) {
  const Error error = error_of(call);
  EXPECT_EQ(error.status(), status) << error.what();
  EXPECT_NE(std::string(error.what()).find(text), std::string::npos) << error.what();
}

// K = N, so that the result fits into x.
TEST(WeightOps, BmmMayWriteOverItsActivations) {
  for (const FormatId format : {kInt8, kNative}) {
    const Weight stack = stack_of(format, 3, 64, 64);
    for (const DType dtype : {DType::Float32, DType::BFloat16}) {
      const Tensor x = tensor_of(gaussian(3 * 5 * 64, 51), {3, 5, 64}, dtype);
      const std::vector<float> expected = floats_of(bmm(x, stack));
      const Tensor y = bmm(x, stack, Activation::Auto, &x);
      EXPECT_EQ(y.raw_data(), x.raw_data());
      EXPECT_EQ(floats_of(x), expected);
      // Shifted by one matrix: what the first batch writes is what the second would read.
      const Tensor memory = tensor_of(gaussian(4 * 5 * 64, 52), {4, 5, 64}, dtype);
      const Tensor in = memory.slice(0, 0, 3), out = memory.slice(0, 1, 4);
      const std::vector<float> shifted = floats_of(bmm(in, stack));
      bmm(in, stack, Activation::Auto, &out);
      EXPECT_EQ(floats_of(out), shifted);
    }
  }
}

// Rows that begin one element after another, whose elements share memory; `out` elsewhere, and over
// them.
TEST(WeightOps, WindowsWithAnOut) {
  const int64_t k = 64;
  for (const FormatId format : {kInt8, kNative}) {
    const Weight stack = stack_of(format, 2, k, k), weight = select(stack, 0, 1);
    for (const DType dtype : {DType::Float32, DType::BFloat16}) {
      const Tensor memory = tensor_of(gaussian(1000, 55), {1000}, dtype);
      const Tensor rows = memory.as_strided(std::array<int64_t, 2>{5, k}, std::array{1L, 1L}, 3);
      const Tensor batches =
          memory.as_strided(std::array<int64_t, 3>{2, 5, k}, std::array{2L, 1L, 1L}, 3);
      const std::vector<float> expected = floats_of(matmul(rows.contiguous(), weight));
      const std::vector<float> products = floats_of(bmm(batches.contiguous(), stack));
      for (const int64_t at : {200L, 40L}) {
        const Tensor copy = memory.clone();
        const Tensor out = memory.slice(0, at, at + 5 * k).view(std::array{5L, k});
        matmul(rows, weight, Activation::Auto, nullptr, &out);
        EXPECT_EQ(floats_of(out), expected) << at;
        memory.copy_(copy);
        const Tensor outs = memory.slice(0, at, at + 10 * k).view(std::array{2L, 5L, k});
        bmm(batches, stack, Activation::Auto, &outs);
        EXPECT_EQ(floats_of(outs), products) << at;
        memory.copy_(copy);
      }
    }
  }
}

TEST(WeightOps, RefuseAnOutInTheWeightsMemory) {
  const Weight weight = random_weight(kInt8, 64, 64, 32, 56);
  const Tensor x = tensor_of(gaussian(8 * 64, 57), {8, 64});
  for (size_t i = 0; i < weight.planes().size(); ++i) {
    const Tensor memory = Tensor::empty(std::array{4096L}, DType::Float32);
    std::vector<Tensor> planes = weight.planes();
    planes[i] = Tensor::from_blob(memory.data<float>() + 500, planes[i].sizes(),
                                  planes[i].strides(), 0, planes[i].dtype());
    planes[i].copy_(weight.planes()[i]);
    const Weight there(weight.format(), planes, 32);
    const Tensor out = memory.slice(0, 0, 512).view(std::array{8L, 64L});
    expect_error(Status::InvalidArgument,
                 "address " + std::to_string(reinterpret_cast<uintptr_t>(out.raw_data())) +
                     ", lies in the memory of the weight's " + weight.info().planes[i].name,
                 [&] { matmul(x, there, Activation::Auto, nullptr, &out); });
    const Tensor apart = memory.slice(0, 3000, 3512).view(std::array{8L, 64L});
    EXPECT_EQ(floats_of(matmul(x, there, Activation::Auto, nullptr, &apart)),
              floats_of(matmul(x, weight)));
  }
}

TEST(WeightOps, MatmulOfAViewOfAStackIsItsBmm) {
  for (const FormatId format : {kInt8, kNative}) {
    const Weight stack = stack_of(format, 2, 20, 96);
    const Tensor x = tensor_of(gaussian(2 * 4 * 96, 53), {2, 4, 96});
    const std::vector<float> whole = floats_of(bmm(x, stack));
    for (int64_t b = 0; b < 2; ++b) {
      std::vector<Tensor> planes;
      for (const Tensor& plane : stack.planes()) planes.push_back(plane.select(0, b));
      const std::vector<float> one = floats_of(matmul(x.select(0, b), Weight(format, planes, 32)));
      EXPECT_TRUE(std::equal(one.begin(), one.end(), whole.begin() + b * 4 * 20));
    }
  }
}

TEST(WeightOps, RefuseUndefinedTensors) {
  const Weight single = random_weight(kInt8, 8, 64, 32, 54), stack = stack_of(kInt8, 2, 8, 64);
  const Tensor none{}, x = tensor_of(gaussian(64, 55), {1, 64});
  const Status status = Status::InvalidArgument;
  expect_error(status, "matmul: x is undefined", [&] { matmul(none, single); });
  expect_error(status, "bmm: x is undefined", [&] { bmm(none, stack); });
  expect_error(status, "bias is undefined", [&] { matmul(x, single, Activation::Auto, &none); });
  expect_error(status, "out is undefined",
               [&] { matmul(x, single, Activation::Auto, nullptr, &none); });
  expect_error(status, "the tensor of indices is undefined", [&] { embedding(none, single); });
}

TEST(WeightOps, BmmRefusesAnOutThatDoesNotFit) {
  const Weight stack = stack_of(kInt8, 2, 8, 64);
  const Tensor x = tensor_of(gaussian(2 * 3 * 64, 56), {2, 3, 64});
  const auto with = [&](std::vector<int64_t> sizes, DType dtype) {
    return
        [&stack, x, out = Tensor::empty(sizes, dtype)] { bmm(x, stack, Activation::Auto, &out); };
  };
  expect_error(Status::InvalidArgument, "bmm: out has shape [2, 3, 9], not [2, 3, 8]",
               with({2, 3, 9}, DType::Float32));
  expect_error(Status::InvalidType, "bmm: out has dtype float16, x float32",
               with({2, 3, 8}, DType::Float16));
  const Tensor turned = Tensor::empty(std::vector<int64_t>{2, 8, 3}, DType::Float32);
  const Tensor out = turned.transpose(1, 2);
  expect_error(Status::InvalidArgument, "not contiguous: its strides are [24, 1, 3]",
               [&] { bmm(x, stack, Activation::Auto, &out); });
}

}  // namespace
}  // namespace aotiny
