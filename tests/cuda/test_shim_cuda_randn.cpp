// aoti_torch_cuda_randn, randn_generator, randn_like, normal_functional.
#include "aotiny/abi/aoti_torch_cuda.h"
#include "random_reference.h"

namespace aotiny::cuda {
namespace {

using Randn = RandomTest;

TEST(RandnArguments, AreChecked) {
  const Ints sizes = {3};
  int32_t integer = aoti_torch_dtype_int32();
  expect_refused(
      aoti_torch_cuda_randn(sizes.data(), 1, nullptr, nullptr, nullptr, 0, nullptr, nullptr),
      Status::InvalidArgument, "ret0 is null");
  expect_refused_with_null(Status::InvalidType, "randn: dtype int32", [&](auto* ret) {
    return aoti_torch_cuda_randn(sizes.data(), 1, &integer, nullptr, nullptr, 0, nullptr, ret);
  });
  expect_refused_with_null(Status::InvalidArgument, "size is null", [&](auto* ret) {
    return aoti_torch_cuda_randn_generator(nullptr, 2, nullptr, nullptr, nullptr, nullptr, 0,
                                           nullptr, ret);
  });
  const Handle host(Tensor::empty(Ints{3}, DType::Float32));
  expect_refused_with_null(Status::InvalidArgument, "self is on cpu", [&](auto* ret) {
    return aoti_torch_cuda_randn_like(host, nullptr, nullptr, nullptr, 0, nullptr, nullptr, ret);
  });
  expect_refused_with_null(Status::InvalidArgument, "self is on cpu", [&](auto* ret) {
    return aoti_torch_cuda_normal_functional(host, 0, 1, nullptr, ret);
  });
}

// By Box and Muller's method, in fp64.
double normal_reference(const Words& words, int part) {
  constexpr double kTwoPi = 6.283185307179586;
  const auto first = static_cast<size_t>(part / 2 * 2);
  const double radius = std::sqrt(-2 * std::log(static_cast<double>(unit_float(words[first]))));
  const double angle = kTwoPi * (words[first + 1] * 0x1p-32 + 0x1p-33);
  return radius * (part % 2 == 0 ? std::sin(angle) : std::cos(angle));
}

double normal_reference_fp64(const Words& words, int part) {
  constexpr double kTwoPi = 6.283185307179586;
  const double radius = std::sqrt(-2 * std::log(unit_double(words, 0)));
  const double angle = kTwoPi * unit_double(words, 1);
  return radius * (part == 0 ? std::sin(angle) : std::cos(angle));
}

Tensor randn(const Ints& sizes, DType dtype) {
  auto code = static_cast<int32_t>(dtype);
  Handle made;
  EXPECT_EQ(aoti_torch_cuda_randn(sizes.data(), static_cast<int64_t>(sizes.size()), &code, nullptr,
                                  nullptr, 0, nullptr, made.out()),
            kOk)
      << last_error();
  EXPECT_EQ(made.tensor().dtype(), dtype);
  return made.tensor().to(kCPU).to(DType::Float64);
}

TEST_F(Randn, IsPhiloxByBoxAndMuller) {
  for (const int64_t numel : {1, 2, 257, 100003, 3000017}) {
    for (const DType dtype : {DType::Float32, DType::Float64, DType::Float16, DType::BFloat16}) {
      cuda_interface().manual_seed(gpu(), kSeed + 3);
      const bool is_double = dtype == DType::Float64;
      const auto values = values_of<double>(randn({numel}, dtype));
      const auto expected = filled<double>(numel, kSeed + 3, 0, is_double ? 2 : 4,
                                           is_double ? normal_reference_fp64 : normal_reference);
      // The hardware's sine and cosine of up to 2 pi are off by some 2^-20.
      const double absolute = is_double ? 1e-13 : 1e-5;
      const double relative = dtype == DType::Float16    ? 0x1p-10
                              : dtype == DType::BFloat16 ? 0x1p-7
                              : is_double                ? 1e-13
                                                         : 1e-5;
      double worst = 0;
      for (size_t i = 0; i < values.size(); ++i) {
        const double bound = absolute + relative * std::abs(expected[i]);
        worst = std::max(worst, std::abs(values[i] - expected[i]) / bound);
      }
      EXPECT_LE(worst, 1.0) << dtype << ", " << numel << " elements";
    }
  }
}

TEST_F(Randn, IsNormal) {
  const auto values = values_of<double>(randn({1 << 22}, DType::Float32));
  double sum = 0, squares = 0, fourths = 0, neighbours = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    const double value = values[i], square = value * value;
    sum += value;
    squares += square;
    fourths += square * square;
    if (i > 0) neighbours += value * values[i - 1];
  }
  const double n = static_cast<double>(values.size());
  EXPECT_NEAR(sum / n, 0, 3e-3);
  EXPECT_NEAR(squares / n, 1, 5e-3);
  EXPECT_NEAR(fourths / n, 3, 3e-2);
  EXPECT_NEAR(neighbours / n, 0, 3e-3);
}

TEST_F(Randn, WithMeanAndDeviation) {
  const Handle x(Tensor::empty(Ints{33, 100}, DType::Float32, gpu()).transpose(0, 1));
  Handle made, like;
  ASSERT_EQ(aoti_torch_cuda_normal_functional(x, 10, 0.5, nullptr, made.out()), kOk)
      << last_error();
  EXPECT_EQ(ints(made.tensor().strides()), (Ints{1, 100}));
  cuda_interface().manual_seed(gpu(), kSeed);
  ASSERT_EQ(
      aoti_torch_cuda_randn_like(x, nullptr, nullptr, nullptr, 0, nullptr, nullptr, like.out()),
      kOk);
  const auto values = values_of<float>(made.tensor().to(kCPU));
  const auto units = values_of<float>(like.tensor().to(kCPU));
  for (size_t i = 0; i < values.size(); ++i) {
    ASSERT_FLOAT_EQ(values[i], std::fma(units[i], 0.5f, 10.0f));
  }
  expect_refused_with_null(Status::InvalidArgument, "deviation -1", [&](auto* ret) {
    return aoti_torch_cuda_normal_functional(x, 0, -1, nullptr, ret);
  });
  const Handle whole(Tensor::empty(Ints{3}, DType::UInt8, gpu()));
  expect_refused_with_null(Status::InvalidType, "uint8", [&](auto* ret) {
    return aoti_torch_cuda_normal_functional(whole, 0, 1, nullptr, ret);
  });
}

}  // namespace
}  // namespace aotiny::cuda
