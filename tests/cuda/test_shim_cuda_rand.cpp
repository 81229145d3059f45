// aoti_torch_cuda_rand, rand_generator, rand_like, uniform.
#include "aotiny/abi/aoti_torch_cuda.h"
#include "random_reference.h"

namespace aotiny::cuda {
namespace {

using Rand = RandomTest;

int32_t code(DType dtype) { return static_cast<int32_t>(dtype); }
int32_t kCpuType = 0, kCudaType = 1;

TEST(RandArguments, AreChecked) {
  const Ints sizes = {3};
  expect_refused(
      aoti_torch_cuda_rand(sizes.data(), 1, nullptr, nullptr, nullptr, 0, nullptr, nullptr),
      Status::InvalidArgument, "ret0 is null");
  const auto refused = [&](Status status, const char* text, const int64_t* size, int64_t length,
                           int32_t* dtype, int32_t* layout, int32_t* device, int32_t* pin) {
    expect_refused_with_null(status, text, [&](auto* ret) {
      return aoti_torch_cuda_rand(size, length, dtype, layout, device, 0, pin, ret);
    });
  };
  int32_t integer = code(DType::Int64), complex = code(DType::ComplexFloat32), unknown = 77;
  int32_t sparse = 1, yes = 1;
  refused(Status::InvalidArgument, "size is null", nullptr, 1, nullptr, nullptr, nullptr, nullptr);
  refused(Status::InvalidArgument, "size has -1 values", sizes.data(), -1, nullptr, nullptr,
          nullptr, nullptr);
  refused(Status::InvalidType, "rand: dtype int64", sizes.data(), 1, &integer, nullptr, nullptr,
          nullptr);
  refused(Status::InvalidType, "rand: dtype complex64", sizes.data(), 1, &complex, nullptr, nullptr,
          nullptr);
  refused(Status::InvalidType, "77", sizes.data(), 1, &unknown, nullptr, nullptr, nullptr);
  refused(Status::NotSupported, "layout 1", sizes.data(), 1, nullptr, &sparse, nullptr, nullptr);
  refused(Status::NotSupported, "pinned", sizes.data(), 1, nullptr, nullptr, nullptr, &yes);
  refused(Status::InvalidArgument, "device cpu", sizes.data(), 1, nullptr, nullptr, &kCpuType,
          nullptr);
  int generator = 0;
  auto handle = reinterpret_cast<AtenGeneratorHandle>(&generator);
  expect_refused_with_null(Status::NotSupported, "generator", [&](auto* ret) {
    return aoti_torch_cuda_rand_generator(sizes.data(), 1, &handle, nullptr, nullptr, &kCudaType, 0,
                                          nullptr, ret);
  });
  const Handle host(Tensor::empty(Ints{3}, DType::Float32));
  expect_refused_with_null(Status::InvalidArgument, "self is on cpu", [&](auto* ret) {
    return aoti_torch_cuda_rand_like(host, nullptr, nullptr, nullptr, 0, nullptr, nullptr, ret);
  });
  expect_refused_with_null(Status::InvalidArgument, "self is null", [&](auto* ret) {
    return aoti_torch_cuda_uniform(nullptr, 0, 1, nullptr, ret);
  });
}

TEST_F(Rand, OfAModelIsOnTheDeviceThatItRunsOn) {
  const Ints sizes = {3};
  const auto rand_on_99 = [&](AtenTensorHandle* ret) {
    return aoti_torch_cuda_rand(sizes.data(), 1, nullptr, nullptr, &kCudaType, 99, nullptr, ret);
  };
  expect_refused_with_null(Status::InvalidArgument, "99", rand_on_99);
  std::vector<void*> modules;
  DeviceInterface& interface = device_interface(DeviceType::CUDA);
  std::vector<void*>* const before = interface.collect_modules(&modules);  // as while it runs
  Handle made;
  EXPECT_EQ(rand_on_99(made.out()), kOk) << last_error();
  interface.collect_modules(before);
  EXPECT_EQ(made.tensor().device(), (Device{DeviceType::CUDA, 0}));
  expect_refused_with_null(Status::InvalidArgument, "99", rand_on_99);
}

Tensor rand(const Ints& sizes, DType dtype) {
  int32_t dtype_code = code(dtype), strided = 0, no = 0;
  Handle made;
  EXPECT_EQ(aoti_torch_cuda_rand(sizes.data(), static_cast<int64_t>(sizes.size()), &dtype_code,
                                 &strided, &kCudaType, 0, &no, made.out()),
            kOk)
      << last_error();
  EXPECT_EQ(made.tensor().dtype(), dtype);
  EXPECT_EQ(ints(made.tensor().sizes()), sizes);
  EXPECT_TRUE(made.tensor().is_contiguous());
  return made.tensor().to(kCPU);
}

// What is 1 once it is rounded becomes 0, in the dtype itself.
template <class T>
std::vector<T> expected_rand(int64_t numel, uint64_t seed, uint64_t offset) {
  constexpr bool kIsDouble = std::is_same_v<T, double>;
  return filled<T>(numel, seed, offset, kIsDouble ? 2 : 4, [](const Words& words, int part) {
    T value;
    if constexpr (kIsDouble) {
      value = unit_double(words, part);
    } else {
      value = convert<T>(unit_float(words[static_cast<size_t>(part)]));
    }
    return convert<double>(value) == 1.0 ? convert<T>(0.0f) : value;
  });
}

template <class T>
void compare(int64_t numel, uint64_t seed) {
  cuda_interface().manual_seed(gpu(), seed);
  const Tensor first = rand({numel}, dtype_of<T>()), second = rand({numel}, dtype_of<T>());
  const uint64_t used = offsets_used(numel, std::is_same_v<T, double> ? 2 : 4);
  for (const auto& [got, offset] : {std::pair{first, uint64_t{0}}, std::pair{second, used}}) {
    const auto values = values_of<double>(got.to(DType::Float64));
    const auto expected = expected_rand<T>(numel, seed, offset);
    int64_t wrong = 0;
    for (size_t i = 0; i < values.size(); ++i) wrong += values[i] != convert<double>(expected[i]);
    EXPECT_EQ(wrong, 0) << dtype_of<T>() << ", " << numel << " elements, offset " << offset;
    EXPECT_LT(*std::max_element(values.begin(), values.end()), 1.0);
    EXPECT_GE(*std::min_element(values.begin(), values.end()), 0.0);
  }
}

TEST_F(Rand, IsPhiloxInEveryDtype) {
  for (const int64_t numel : {1, 255, 257, 10000, 1 << 20, 3000017}) {
    compare<float>(numel, kSeed);
    compare<double>(numel, UINT64_MAX - 1);
    compare<Float16>(numel, 0);
    compare<BFloat16>(numel, kSeed << 7);
  }
}

TEST_F(Rand, IsUniform) {
  for (const DType dtype : {DType::Float32, DType::BFloat16}) {
    const auto values = values_of<double>(rand({1 << 22}, dtype).to(DType::Float64));
    double sum = 0, squares = 0;
    std::array<int64_t, 16> bins{};
    for (const double value : values) {
      sum += value;
      squares += value * value;
      ++bins[static_cast<size_t>(value * 16)];
    }
    const double n = static_cast<double>(values.size());
    // One bfloat16 of 512 is rounded to 1, and becomes 0.
    const double moved = dtype == DType::BFloat16 ? 1.0 / 512 : 0;
    EXPECT_NEAR(sum / n, 0.5 - moved, 1e-3);
    EXPECT_NEAR(squares / n, 1.0 / 3 - moved, 1e-3);
    if (dtype != DType::Float32) continue;
    for (const int64_t count : bins) EXPECT_NEAR(static_cast<double>(count) / n, 1.0 / 16, 1e-3);
  }
}

TEST_F(Rand, EmptyAndScalar) {
  EXPECT_EQ(rand({0, 5}, DType::Float32).numel(), 0);
  const Tensor first = rand({}, DType::Float64);
  EXPECT_EQ(first.ndim(), 0);
  EXPECT_EQ(*first.data<double>(), expected_rand<double>(1, kSeed, 0)[0]);  // 0 elements took none
  Handle made;
  ASSERT_EQ(aoti_torch_cuda_rand(nullptr, 0, nullptr, nullptr, nullptr, 0, nullptr, made.out()),
            kOk);
  EXPECT_EQ(made.tensor().dtype(), DType::Float32);
  EXPECT_EQ(made.tensor().device(), gpu());
}

TEST_F(Rand, LikeATensor) {
  const Tensor self = Tensor::empty(Ints{4, 6, 5}, DType::Float16, gpu()).permute(Ints{2, 0, 1});
  const Handle x(self);
  Handle same, contiguous;
  ASSERT_EQ(
      aoti_torch_cuda_rand_like(x, nullptr, nullptr, nullptr, 0, nullptr, nullptr, same.out()), kOk)
      << last_error();
  EXPECT_EQ(same.tensor().dtype(), DType::Float16);
  EXPECT_EQ(ints(same.tensor().strides()), ints(self.strides()));
  // In the order of the memory.
  const auto values = values_of<Float16>(same.tensor().permute(Ints{1, 2, 0}).to(kCPU));
  const auto expected = expected_rand<Float16>(120, kSeed, 0);
  for (size_t i = 0; i < values.size(); ++i) EXPECT_EQ(values[i].bits, expected[i].bits);

  int32_t format = aoti_torch_memory_format_contiguous_format(), dtype = code(DType::Float64);
  ASSERT_EQ(
      aoti_torch_cuda_rand_like(x, &dtype, nullptr, nullptr, 0, nullptr, &format, contiguous.out()),
      kOk);
  EXPECT_TRUE(contiguous.tensor().is_contiguous());
  EXPECT_EQ(contiguous.tensor().dtype(), DType::Float64);
  format = aoti_torch_memory_format_channels_last();
  expect_refused_with_null(Status::NotSupported, "memory format 2", [&](auto* ret) {
    return aoti_torch_cuda_rand_like(x, nullptr, nullptr, nullptr, 0, nullptr, &format, ret);
  });
  const Handle whole(Tensor::empty(Ints{3}, DType::Int32, gpu()));
  expect_refused_with_null(Status::InvalidType, "int32", [&](auto* ret) {
    return aoti_torch_cuda_rand_like(whole, nullptr, nullptr, nullptr, 0, nullptr, nullptr, ret);
  });
}

TEST_F(Rand, UniformInARange) {
  const Handle x(Tensor::empty(Ints{10007}, DType::Float32, gpu()));
  Handle made;
  ASSERT_EQ(aoti_torch_cuda_uniform(x, -3, 5, nullptr, made.out()), kOk) << last_error();
  const auto values = values_of<float>(made.tensor().to(kCPU));
  const auto unit = filled<float>(10007, kSeed, 0, 4, [](const Words& words, int part) {
    return unit_float(words[static_cast<size_t>(part)]);
  });
  for (size_t i = 0; i < values.size(); ++i) {
    const float expected = std::fma(unit[i], 8.0f, -3.0f);
    ASSERT_EQ(values[i], expected == 5.0f ? -3.0f : expected) << i;
  }
  const Handle half(Tensor::empty(Ints{3}, DType::Float16, gpu()));
  const double nan = std::nan("");
  const auto refused = [&](AtenTensorHandle self, double from, double to, const char* text) {
    expect_refused_with_null(Status::InvalidArgument, text, [&](auto* ret) {
      return aoti_torch_cuda_uniform(self, from, to, nullptr, ret);
    });
  };
  refused(x, 2, 1, "from 2 to 1");
  refused(x, 0, nan, "from 0 to nan");
  refused(half, 0, 70000, "from 0 to 70000");
  refused(half, -40000, 40000, "finite float16");
}

TEST_F(Rand, OnADeviceByNumber) {
  const Ints sizes = {5};
  Handle made;
  ASSERT_EQ(aoti_torch_cuda_rand(sizes.data(), 1, nullptr, nullptr, &kCudaType, device_count() - 1,
                                 nullptr, made.out()),
            kOk)
      << last_error();
  EXPECT_EQ(made.tensor().device(), gpu(device_count() - 1));
  expect_refused_with_null(Status::InvalidArgument, "no device cuda:99", [&](auto* ret) {
    return aoti_torch_cuda_rand(sizes.data(), 1, nullptr, nullptr, &kCudaType, 99, nullptr, ret);
  });
  const Ints huge = {int64_t{1} << 40, int64_t{1} << 40};
  expect_refused_with_null(Status::InvalidArgument, "overflow", [&](auto* ret) {
    return aoti_torch_cuda_rand(huge.data(), 2, nullptr, nullptr, &kCudaType, 0, nullptr, ret);
  });
}

}  // namespace
}  // namespace aotiny::cuda
