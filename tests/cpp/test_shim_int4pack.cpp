// What torch's CPU int4 op refuses; its results are compared with torch's in the Python tests.
#include "shim_test.h"

namespace aotiny {
namespace {

using Int4PackShim = ShimTest;

// The arguments of a good call, each of which a test replaces.
struct Arguments {
  Tensor x = Tensor::empty(Ints{2, 64}, DType::BFloat16);
  Tensor w = Tensor::empty(Ints{16, 32}, DType::UInt8);
  Tensor group_size = Tensor::scalar(int64_t{32});
  Tensor pairs = Tensor::empty(Ints{2, 16, 2}, DType::BFloat16);

  AOTITorchError call(AtenTensorHandle* ret) const {
    const Handle a(x), b(w), c(group_size), d(pairs);
    return aoti_torch_cpu__weight_int4pack_mm_cpu_tensor(a, b, c, d, ret);
  }
};

void expect_refused(const Arguments& arguments, Status status, const char* text) {
  expect_refused_with_null(status, text,
                           [&](AtenTensorHandle* ret) { return arguments.call(ret); });
}

TEST_F(Int4PackShim, ReturnsANewContiguousTensor) {
  Arguments arguments;
  for (const Tensor* tensor : {&arguments.x, &arguments.w, &arguments.pairs}) {
    const Handle handle(*tensor);
    ASSERT_EQ(aoti_torch_zero_(handle), kOk);
  }
  Handle result;
  ASSERT_EQ(arguments.call(result.out()), kOk) << last_error();
  EXPECT_EQ(ints(result.tensor().sizes()), (Ints{2, 16}));
  EXPECT_EQ(result.tensor().dtype(), DType::BFloat16);
  EXPECT_EQ(values_of<float>(result.tensor().to(DType::Float32)), std::vector<float>(32, 0.0f));
}

TEST_F(Int4PackShim, RefusesWrongTensors) {
  expect_refused({.x = Tensor::empty(Ints{2, 64}, DType::Int8)}, Status::InvalidType, "int8");
  expect_refused({.x = Tensor::empty(Ints{64}, DType::BFloat16)}, Status::InvalidArgument,
                 "2-dimensional");
  expect_refused({.x = Tensor::empty(Ints{2, 48}, DType::BFloat16)}, Status::InvalidArgument,
                 "48 columns");
  expect_refused({.x = Tensor::empty(Ints{2, 96}, DType::BFloat16)}, Status::InvalidArgument,
                 "[N, 48]");
  expect_refused({.x = Tensor()}, Status::InvalidArgument, "x is undefined");
  expect_refused({.w = Tensor::empty(Ints{16, 32}, DType::Int8)}, Status::InvalidType, "int8");
  expect_refused({.w = Tensor::empty(Ints{24, 32}, DType::UInt8)}, Status::InvalidArgument,
                 "multiple of 16");
  expect_refused({.w = Tensor::empty(Ints{32, 16}, DType::UInt8).transpose(0, 1)},
                 Status::InvalidArgument, "not contiguous");
  expect_refused({.w = Tensor::empty(Ints{16}, DType::UInt8)}, Status::InvalidArgument, "[16]");
  expect_refused({.w = Tensor()}, Status::InvalidArgument, "w is undefined");
  expect_refused({.pairs = Tensor::empty(Ints{2, 16, 2}, DType::Float32)}, Status::InvalidType,
                 "float32");
  expect_refused({.pairs = Tensor::empty(Ints{2, 16}, DType::BFloat16)}, Status::InvalidArgument,
                 "[2, 16, 2]");
  expect_refused({.pairs = Tensor()}, Status::InvalidArgument, "undefined");
}

TEST_F(Int4PackShim, RefusesWrongGroupSizes) {
  expect_refused({.group_size = Tensor::scalar(int64_t{0})}, Status::InvalidArgument, "size 0");
  expect_refused({.group_size = Tensor::scalar(int64_t{-32})}, Status::InvalidArgument, "size -32");
  expect_refused({.group_size = Tensor::scalar(int32_t{48})}, Status::InvalidArgument, "size 48");
  expect_refused({.group_size = Tensor::scalar(32.0f)}, Status::InvalidArgument, "one integer");
  expect_refused({.group_size = Tensor::scalar(true)}, Status::InvalidArgument, "one integer");
  expect_refused({.group_size = tensor_of<int64_t>({2}, {32, 32})}, Status::InvalidArgument,
                 "one integer");
  expect_refused({.group_size = Tensor::empty({}, DType::ComplexFloat32)}, Status::InvalidType,
                 "complex64");
}

TEST_F(Int4PackShim, RefusesNulls) {
  const Handle x(Arguments().x), w(Arguments().w), g(Arguments().group_size),
      pairs(Arguments().pairs);
  const auto refused = [](const char* text, AtenTensorHandle a, AtenTensorHandle b,
                          AtenTensorHandle c, AtenTensorHandle d) {
    expect_refused_with_null(Status::InvalidArgument, text, [&](AtenTensorHandle* ret) {
      return aoti_torch_cpu__weight_int4pack_mm_cpu_tensor(a, b, c, d, ret);
    });
  };
  refused("x is null", nullptr, w, g, pairs);
  refused("w is null", x, nullptr, g, pairs);
  refused("q_group_size is null", x, w, nullptr, pairs);
  refused("q_scale_and_zeros is null", x, w, g, nullptr);
  expect_refused(aoti_torch_cpu__weight_int4pack_mm_cpu_tensor(x, w, g, pairs, nullptr),
                 Status::InvalidArgument, "ret0 is null");
}

}  // namespace
}  // namespace aotiny
