// aoti_torch_cuda_randint, randint_generator, randint_low, randint_like, randint_like_low_dtype.
#include "aotiny/abi/aoti_torch_cuda.h"
#include "random_reference.h"

namespace aotiny::cuda {
namespace {

using Randint = RandomTest;

TEST(RandintArguments, AreChecked) {
  const Ints sizes = {3};
  const auto refused = [&](Status status, const char* text, int64_t low, int64_t high,
                           std::optional<DType> dtype) {
    int32_t code = dtype ? static_cast<int32_t>(*dtype) : 0;
    expect_refused_with_null(status, text, [&](auto* ret) {
      return aoti_torch_cuda_randint_low(low, high, sizes.data(), 1, dtype ? &code : nullptr,
                                         nullptr, nullptr, 0, nullptr, ret);
    });
  };
  refused(Status::InvalidArgument, "no integer from 5 to below 5", 5, 5, {});
  refused(Status::InvalidArgument, "no integer from 5 to below -5", 5, -5, {});
  refused(Status::InvalidArgument, "uint8 does not hold every integer from 0 to 256", 0, 257,
          DType::UInt8);
  refused(Status::InvalidArgument, "uint64 does not hold every integer from -1 to 4", -1, 5,
          DType::UInt64);
  refused(Status::InvalidArgument, "int8 does not hold every integer from -129", -129, 5,
          DType::Int8);
  refused(Status::InvalidArgument, "bool does not hold", 0, 3, DType::Bool);
  refused(Status::InvalidArgument, "float16 does not hold every integer from 0 to 2049", 0, 2050,
          DType::Float16);
  refused(Status::InvalidArgument, "bfloat16 does not hold every integer from -257", -257, 0,
          DType::BFloat16);
  refused(Status::InvalidArgument, "float32 does not hold", 0, (1 << 24) + 2, DType::Float32);
  refused(Status::InvalidType, "complex64", 0, 5, DType::ComplexFloat32);
  expect_refused_with_null(Status::InvalidArgument, "no integer from 0 to below 0", [&](auto* ret) {
    return aoti_torch_cuda_randint(0, sizes.data(), 1, nullptr, nullptr, nullptr, 0, nullptr, ret);
  });
  expect_refused(
      aoti_torch_cuda_randint(5, sizes.data(), 1, nullptr, nullptr, nullptr, 0, nullptr, nullptr),
      Status::InvalidArgument, "ret0 is null");
  expect_refused_with_null(Status::InvalidArgument, "size is null", [&](auto* ret) {
    return aoti_torch_cuda_randint_generator(5, nullptr, 1, nullptr, nullptr, nullptr, nullptr, 0,
                                             nullptr, ret);
  });
  const Handle host(Tensor::empty(Ints{3}, DType::Int32));
  expect_refused_with_null(Status::InvalidArgument, "self is on cpu", [&](auto* ret) {
    return aoti_torch_cuda_randint_like(host, 5, nullptr, nullptr, nullptr, 0, nullptr, nullptr,
                                        ret);
  });
}

Tensor randint(int64_t low, int64_t high, int64_t numel, DType dtype) {
  const Ints sizes = {numel};
  auto code = static_cast<int32_t>(dtype);
  Handle made;
  EXPECT_EQ(aoti_torch_cuda_randint_low(low, high, sizes.data(), 1, &code, nullptr, nullptr, 0,
                                        nullptr, made.out()),
            kOk)
      << last_error();
  EXPECT_EQ(made.tensor().dtype(), dtype);
  return made.tensor().to(kCPU);
}

std::vector<int64_t> expected_randint(int64_t low, int64_t high, int64_t numel, uint64_t offset,
                                      uint64_t seed) {
  const uint64_t range = static_cast<uint64_t>(high) - static_cast<uint64_t>(low);
  const bool is_wide = range >> 28 != 0;
  return filled<int64_t>(numel, seed, offset, is_wide ? 2 : 4, [&](const Words& words, int part) {
    const auto i = static_cast<size_t>(part);
    const uint64_t number =
        is_wide ? uint64_t{words[2 * i]} << 32 | words[2 * i + 1] : uint64_t{words[i]};
    return static_cast<int64_t>(static_cast<uint64_t>(low) + number % range);
  });
}

TEST_F(Randint, IsPhiloxInEveryDtype) {
  struct Case {
    DType dtype;
    int64_t low, high;
  };
  const Case cases[] = {{DType::UInt8, 0, 256},
                        {DType::Int8, -128, 128},
                        {DType::Int16, -300, 300},
                        {DType::UInt16, 1, 65536},
                        {DType::Int32, INT32_MIN, INT32_MAX},
                        {DType::UInt32, 7, int64_t{1} << 32},
                        {DType::Int64, 0, (1 << 28) - 1},
                        {DType::Int64, 0, 1 << 28},
                        {DType::Int64, INT64_MIN, INT64_MAX},
                        {DType::Int64, -5, -4},
                        {DType::UInt64, 0, INT64_MAX},
                        {DType::Bool, 0, 2},
                        {DType::Float16, -2048, 2049},
                        {DType::BFloat16, -256, 257},
                        {DType::Float32, -(1 << 24), (1 << 24) + 1},
                        {DType::Float64, -(int64_t{1} << 53), (int64_t{1} << 53) + 1}};
  for (const Case& c : cases) {
    for (const int64_t numel : {1, 1000, 1 << 20}) {
      cuda_interface().manual_seed(gpu(), kSeed);
      const auto values =
          values_of<int64_t>(randint(c.low, c.high, numel, c.dtype).to(DType::Int64));
      EXPECT_TRUE(values == expected_randint(c.low, c.high, numel, 0, kSeed))
          << c.dtype << " from " << c.low << " to " << c.high << ", " << numel << " elements";
    }
  }
}

TEST_F(Randint, IsEven) {
  for (const int64_t range : {3, 10, 1000}) {
    std::vector<int64_t> counts(static_cast<size_t>(range));
    const int64_t numel = 1 << 22;
    for (const int64_t value : values_of<int64_t>(randint(0, range, numel, DType::Int64))) {
      ++counts[static_cast<size_t>(value)];
    }
    const double mean = static_cast<double>(numel) / static_cast<double>(range);
    for (const int64_t count : counts) {
      EXPECT_NEAR(static_cast<double>(count), mean, 6 * std::sqrt(mean));
    }
  }
}

TEST_F(Randint, DefaultsAndLike) {
  const Ints sizes = {2, 3};
  Handle made, like, low;
  ASSERT_EQ(aoti_torch_cuda_randint(9, sizes.data(), 2, nullptr, nullptr, nullptr, 0, nullptr,
                                    made.out()),
            kOk);
  EXPECT_EQ(made.tensor().dtype(), DType::Int64);
  EXPECT_EQ(values_of<int64_t>(made.tensor().to(kCPU)), expected_randint(0, 9, 6, 0, kSeed));
  const Handle self(Tensor::empty(Ints{3, 2}, DType::Int16, gpu()).transpose(0, 1));
  ASSERT_EQ(aoti_torch_cuda_randint_like(self, 9, nullptr, nullptr, nullptr, 0, nullptr, nullptr,
                                         like.out()),
            kOk);
  EXPECT_EQ(like.tensor().dtype(), DType::Int16);
  EXPECT_EQ(ints(like.tensor().strides()), (Ints{1, 2}));
  int32_t dtype = aoti_torch_dtype_float32();
  ASSERT_EQ(aoti_torch_cuda_randint_like_low_dtype(self, -4, 9, &dtype, nullptr, nullptr, 0,
                                                   nullptr, nullptr, low.out()),
            kOk);
  EXPECT_EQ(low.tensor().dtype(), DType::Float32);
  const auto in_memory = values_of<int64_t>(low.tensor().transpose(0, 1).to(kCPU).to(DType::Int64));
  EXPECT_EQ(in_memory, expected_randint(-4, 9, 6, 8, kSeed));
}

}  // namespace
}  // namespace aotiny::cuda
