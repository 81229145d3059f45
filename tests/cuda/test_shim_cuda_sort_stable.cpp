// aoti_torch_cuda_sort_stable. The oracle is the CPU's sort, which shares no code with it.
#include "aotiny/abi/aoti_torch_cuda.h"
#include "strided_samples.h"

namespace aotiny::cuda {
namespace {

using SortStable = GpuTest;

TEST(SortStableArguments, AreChecked) {
  const Handle host(Tensor::empty(Ints{3}, DType::Float32));
  Handle values, indices;
  expect_refused(aoti_torch_cuda_sort_stable(nullptr, nullptr, 0, 0, values.out(), indices.out()),
                 Status::InvalidArgument, "self is null");
  expect_refused(aoti_torch_cuda_sort_stable(host, nullptr, 0, 0, values.out(), indices.out()),
                 Status::InvalidArgument, "self is on cpu");
  EXPECT_EQ(AtenTensorHandle(values), nullptr);
  EXPECT_EQ(AtenTensorHandle(indices), nullptr);
  expect_refused(aoti_torch_cuda_sort_stable(host, nullptr, 0, 0, nullptr, indices.out()),
                 Status::InvalidArgument, "ret0 is null");
  expect_refused(aoti_torch_cuda_sort_stable(host, nullptr, 0, 0, values.out(), nullptr),
                 Status::InvalidArgument, "ret1 is null");
}

void compare(const Tensor& host, int64_t dim, int32_t descending) {
  SCOPED_TRACE(testing::Message() << host << ", dim " << dim << ", descending " << descending);
  const Handle on_host(host), on_device(host.to(gpu()));
  Handle values, indices, expected, expected_indices;
  ASSERT_EQ(
      aoti_torch_cuda_sort_stable(on_device, nullptr, dim, descending, values.out(), indices.out()),
      kOk)
      << last_error();
  // The device's copy has the strides that count: a broadcast tensor is dense there.
  const Handle as_there(on_device.tensor().to(kCPU));
  ASSERT_EQ(aoti_torch_cpu_sort_stable(as_there, nullptr, dim, descending, expected.out(),
                                       expected_indices.out()),
            kOk);
  expect_same(values.tensor(), expected.tensor());
  expect_same(indices.tensor(), expected_indices.tensor());
}

TEST_F(SortStable, IsTheCpusForEveryDtypeAndLayout) {
  for (const DType dtype : kRealDtypes) {
    for_every_layout([&](const Ints& sizes, uint64_t seed) { return ties(sizes, dtype, seed); },
                     [&](const Tensor& host, int64_t dim) {
                       compare(host, dim, 0);
                       compare(host, dim, 1);
                     });
  }
}

TEST_F(SortStable, ViewsOnTheDeviceAreReadAsTheyLie) {
  const Tensor host = ties({6, 50, 7}, DType::Float32);
  const auto view = [](const Tensor& t) {
    return t.slice(1, 1, 50, 3).slice(2, 0, 7, 2).permute(Ints{2, 0, 1});
  };
  const Handle on_host(view(host)), on_device(view(host.to(gpu())));
  for (int64_t dim = 0; dim < 3; ++dim) {
    Handle values, indices, expected, expected_indices;
    ASSERT_EQ(aoti_torch_cuda_sort_stable(on_device, nullptr, dim, 1, values.out(), indices.out()),
              kOk);
    ASSERT_EQ(aoti_torch_cpu_sort_stable(on_host, nullptr, dim, 1, expected.out(),
                                         expected_indices.out()),
              kOk);
    expect_same(values.tensor(), expected.tensor());
    expect_same(indices.tensor(), expected_indices.tensor());
  }
}

// Every bit of the keys counts, and NaN's sign and payload do not.
TEST_F(SortStable, DifferentBits) {
  const Tensor bits = Tensor::empty(Ints{3, 20000}, DType::UInt64);
  Numbers numbers(7);
  for (int64_t i = 0; i < bits.numel(); ++i) {
    bits.data<uint64_t>()[i] = uint64_t{numbers.below(UINT32_MAX)} << 33 ^ uint64_t {
      numbers.below(UINT32_MAX)
    } << 11 ^ numbers.below(UINT32_MAX);
  }
  for (const DType dtype : {DType::UInt64, DType::Int64, DType::Float64, DType::Float32,
                            DType::UInt32, DType::Float16, DType::BFloat16, DType::Int16}) {
    compare(bits.view_dtype(dtype), 1, 0);
    compare(bits.view_dtype(dtype), 0, 1);
  }
}

TEST_F(SortStable, LongRows) { compare(ties({3, 1 << 20}, DType::Float32), 1, 1); }

TEST_F(SortStable, Refuses) {
  const auto refused = [](Status status, const char* text, const Tensor& self, int64_t dim) {
    const Handle handle(self);
    int poison = 0;
    auto values = reinterpret_cast<AtenTensorHandle>(&poison), indices = values;
    expect_refused(aoti_torch_cuda_sort_stable(handle, nullptr, dim, 0, &values, &indices), status,
                   text);
    EXPECT_EQ(values, nullptr);
    EXPECT_EQ(indices, nullptr);
  };
  const Tensor x = Tensor::empty(Ints{2, 3}, DType::Float32, gpu());
  refused(Status::InvalidArgument, "dimension -3", x, -3);
  refused(Status::InvalidType, "complex64", Tensor::empty(Ints{3}, DType::ComplexFloat32, gpu()),
          0);
  // Not one byte of this exists: it is refused before anything is read.
  const Tensor huge =
      Tensor::from_blob(x.raw_data(), Ints{1, int64_t{1} << 31}, Ints{0, 0}, 0, DType::Int8, gpu());
  refused(Status::InvalidArgument, "2147483648 elements in a row, at most 2147483647", huge, 1);
  cuda_interface().set_memory_limit(
      gpu(), cuda_interface().allocator().stats(gpu()).allocated_bytes + (1 << 20));
  refused(Status::MemoryAllocationFailed, "the limit is",
          Tensor::from_blob(x.raw_data(), Ints{1 << 20}, Ints{0}, 0, DType::Float32, gpu()), 0);
  cuda_interface().set_memory_limit(gpu(), 0);
}

TEST_F(SortStable, InAGraph) {
  const Tensor input = Tensor::empty(Ints{9, 1000}, DType::Float16, gpu());
  const Tensor values = Tensor::empty(Ints{9, 1000}, DType::Float16, gpu());
  Captured graph([&] {
    const Handle x(input);
    Handle sorted, indices;
    ASSERT_EQ(aoti_torch_cuda_sort_stable(x, nullptr, 1, 0, sorted.out(), indices.out()), kOk)
        << last_error();
    values.copy_(sorted.tensor());
  });
  for (const uint64_t seed : {1, 2}) {
    const Tensor host = ties({9, 1000}, DType::Float16, seed);
    input.copy_(host);
    graph.run();
    const Handle x(host);
    Handle expected, indices;
    ASSERT_EQ(aoti_torch_cpu_sort_stable(x, nullptr, 1, 0, expected.out(), indices.out()), kOk);
    EXPECT_TRUE(bytes_of(values) == bytes_of(expected.tensor()));
  }
}

TEST_F(SortStable, OnAnotherDevice) {
  if (device_count() < 2) GTEST_SKIP() << "there is one GPU";
  const Tensor host = ties({40, 1000}, DType::Float32);
  const Handle x(host.to(gpu(1))), on_host(host);
  Handle values, indices, expected, expected_indices;
  ASSERT_EQ(aoti_torch_cuda_sort_stable(x, nullptr, 0, 0, values.out(), indices.out()), kOk);
  ASSERT_EQ(
      aoti_torch_cpu_sort_stable(on_host, nullptr, 0, 0, expected.out(), expected_indices.out()),
      kOk);
  EXPECT_EQ(values.tensor().device(), gpu(1));
  expect_same(values.tensor(), expected.tensor());
  expect_same(indices.tensor(), expected_indices.tensor());
}

}  // namespace
}  // namespace aotiny::cuda
