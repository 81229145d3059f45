// aoti_torch_cuda_cumsum, cumprod. The oracle is the CPU's, which adds one after the other.
#include <cmath>

#include "aotiny/abi/aoti_torch_cuda.h"
#include "strided_samples.h"

namespace aotiny::cuda {
namespace {

using Scans = GpuTest;

struct Functions {
  decltype(&aoti_torch_cuda_cumsum) cuda, cpu;
};
constexpr Functions kSum{aoti_torch_cuda_cumsum, aoti_torch_cpu_cumsum};
constexpr Functions kProduct{aoti_torch_cuda_cumprod, aoti_torch_cpu_cumprod};

TEST(ScanArguments, AreChecked) {
  const Handle host(Tensor::empty(Ints{3}, DType::Float32));
  for (const Functions& functions : {kSum, kProduct}) {
    expect_refused_with_null(Status::InvalidArgument, "self is null",
                             [&](auto* ret) { return functions.cuda(nullptr, 0, nullptr, ret); });
    expect_refused_with_null(Status::InvalidArgument, "self is on cpu",
                             [&](auto* ret) { return functions.cuda(host, 0, nullptr, ret); });
    expect_refused(functions.cuda(host, 0, nullptr, nullptr), Status::InvalidArgument,
                   "ret0 is null");
  }
}

struct Pair {
  Tensor got, expected;
};

Pair both(const Functions& functions, const Tensor& host, int64_t dim, int32_t* dtype = nullptr) {
  const Handle on_host(host), on_device(host.to(gpu()));
  Handle got, expected;
  EXPECT_EQ(functions.cuda(on_device, dim, dtype, got.out()), kOk) << last_error();
  EXPECT_EQ(functions.cpu(on_host, dim, dtype, expected.out()), kOk) << last_error();
  return {got.tensor(), expected.tensor()};
}

// The values are such that no sum or product has to be rounded, in whatever order; so the results
// are the same, NaN and infinity included.
TEST_F(Scans, AreTheCpusForEveryDtypeAndLayout) {
  for (const DType dtype : kRealDtypes) {
    const auto check = [&](const Functions& functions, const char* name) {
      return [&functions, name](const Tensor& host, int64_t dim) {
        SCOPED_TRACE(testing::Message() << name << " of " << host << ", dim " << dim);
        const auto [got, expected] = both(functions, host, dim);
        if (is_floating_point(host.dtype())) {
          EXPECT_EQ(ints(got.strides()), ints(expected.strides()));
          EXPECT_EQ(got.dtype(), expected.dtype());
          const auto left = values_of<double>(got.to(kCPU).to(DType::Float64));
          const auto right = values_of<double>(expected.to(DType::Float64));
          ASSERT_EQ(left.size(), right.size());
          int64_t wrong = 0;
          for (size_t i = 0; i < left.size(); ++i) {
            wrong += left[i] != right[i] && !(std::isnan(left[i]) && std::isnan(right[i]));
          }
          EXPECT_EQ(wrong, 0);
        } else {
          expect_same(got, expected);
        }
      };
    };
    for_every_layout([&](const Ints& sizes, uint64_t seed) { return ties(sizes, dtype, seed); },
                     check(kSum, "cumsum"));
    // Mostly 1 and -1, so that products stay in range.
    std::vector<double> table(64, 1.0);
    for (size_t i = 0; i < table.size(); i += 3) table[i] = -1.0;
    if (is_floating_point(dtype)) table[1] = 2.0, table[2] = 0.5;
    if (dtype == DType::Bool || dtype == DType::UInt8 || dtype == DType::UInt16 ||
        dtype == DType::UInt32 || dtype == DType::UInt64) {
      table = {1, 1, 1, 1, 3};
    }
    for_every_layout(
        [&](const Ints& sizes, uint64_t seed) { return drawn_from(table, sizes, dtype, seed); },
        check(kProduct, "cumprod"));
  }
}

TEST_F(Scans, OfNumbersThatAreRounded) {
  for (const int64_t length : {1, 7, 1023, 1024, 1025, 131071, 3000001}) {
    const Tensor host = Tensor::empty(Ints{2, length}, DType::Float64);
    Numbers numbers(static_cast<uint64_t>(length));
    for (int64_t i = 0; i < host.numel(); ++i) {
      host.data<double>()[i] = static_cast<double>(numbers.below(1u << 31)) * 0x1p-30 - 1.0;
    }
    for (const DType dtype : {DType::Float64, DType::Float32, DType::Float16, DType::BFloat16}) {
      const auto [got, expected] = both(kSum, host.to(dtype), 1);
      const auto left = values_of<double>(got.to(kCPU).to(DType::Float64));
      const auto right = values_of<double>(expected.to(DType::Float64));
      // Sums wander off like the square root of the length; the accumulator's error is below this.
      const double scale = std::sqrt(static_cast<double>(length));
      const double accumulated = dtype == DType::Float64 || dtype == DType::Float32 ? 1e-12 : 1e-4;
      const double rounded = dtype == DType::Float64   ? 1e-12
                             : dtype == DType::Float32 ? 0x1p-23
                             : dtype == DType::Float16 ? 0x1p-10
                                                       : 0x1p-7;
      double worst = 0;
      for (size_t i = 0; i < left.size(); ++i) {
        const double bound = accumulated * scale + rounded * std::abs(right[i]);
        worst = std::max(worst, std::abs(left[i] - right[i]) / bound);
      }
      EXPECT_LE(worst, 1.0) << dtype << ", length " << length;
      // And the same bits every time.
      EXPECT_TRUE(bytes_of(both(kSum, host.to(dtype), 1).got) == bytes_of(got));
    }
  }
}

TEST_F(Scans, IntoAnotherDtype) {
  const Tensor host = drawn_from({0, 1, 2, 3, 1.75, 0.5}, {9, 40}, DType::Float32);
  for (const DType from : {DType::Float32, DType::Float16, DType::Int8, DType::Bool}) {
    for (const DType to : {DType::Float64, DType::Float32, DType::Int64, DType::Int16, DType::UInt8,
                           DType::Float16}) {
      SCOPED_TRACE(testing::Message() << from << " to " << to);
      auto code = static_cast<int32_t>(to);
      const auto [got, expected] = both(kSum, host.to(from).transpose(0, 1), 0, &code);
      expect_same(got, expected);
    }
  }
}

TEST_F(Scans, IntegersWrap) {
  const Handle x(tensor_of<int64_t>({3}, {INT64_MAX, 1, 2}).to(gpu()));
  Handle sum;
  ASSERT_EQ(aoti_torch_cuda_cumsum(x, 0, nullptr, sum.out()), kOk);
  EXPECT_EQ(values_of<int64_t>(sum.tensor().to(kCPU)), (Ints{INT64_MAX, INT64_MIN, INT64_MIN + 2}));
}

TEST_F(Scans, Refuse) {
  const Handle x(Tensor::empty(Ints{2}, DType::Float32, gpu()));
  const Handle complex(Tensor::empty(Ints{3}, DType::ComplexFloat32, gpu()));
  for (const Functions& functions : {kSum, kProduct}) {
    const auto refused = [&](Status status, const char* text, AtenTensorHandle self, int64_t dim,
                             int32_t* dtype) {
      expect_refused_with_null(status, text,
                               [&](auto* ret) { return functions.cuda(self, dim, dtype, ret); });
    };
    int32_t unknown = 99, boolean = aoti_torch_dtype_bool();
    refused(Status::InvalidArgument, "dimension 1", x, 1, nullptr);
    refused(Status::InvalidType, "99", x, 0, &unknown);
    refused(Status::InvalidType, "bool", x, 0, &boolean);
    refused(Status::InvalidType, "complex64", complex, 0, nullptr);
  }
}

TEST_F(Scans, InAGraph) {
  const Tensor input = Tensor::empty(Ints{3, 5000}, DType::Int32, gpu());
  const Tensor result = Tensor::empty(Ints{3, 5000}, DType::Int64, gpu());
  Captured graph([&] {
    const Handle x(input);
    Handle sum;
    ASSERT_EQ(aoti_torch_cuda_cumsum(x, 1, nullptr, sum.out()), kOk) << last_error();
    result.copy_(sum.tensor());
  });
  for (const uint64_t seed : {1, 2}) {
    const Tensor host = ties({3, 5000}, DType::Int32, seed);
    input.copy_(host);
    graph.run();
    const Handle x(host);
    Handle expected;
    ASSERT_EQ(aoti_torch_cpu_cumsum(x, 1, nullptr, expected.out()), kOk);
    EXPECT_TRUE(bytes_of(result) == bytes_of(expected.tensor()));
  }
}

}  // namespace
}  // namespace aotiny::cuda
