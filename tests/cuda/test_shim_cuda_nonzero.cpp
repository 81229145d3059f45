// aoti_torch_cuda_nonzero. The oracle is the CPU's, which shares no code with it.
#include "aotiny/abi/aoti_torch_cuda.h"
#include "strided_samples.h"

namespace aotiny::cuda {
namespace {

using NonzeroShim = GpuTest;

TEST(NonzeroArguments, AreChecked) {
  const Handle host(Tensor::empty(Ints{3}, DType::Float32));
  expect_refused_with_null(Status::InvalidArgument, "self is null",
                           [](auto* ret) { return aoti_torch_cuda_nonzero(nullptr, ret); });
  expect_refused_with_null(Status::InvalidArgument, "self is on cpu",
                           [&](auto* ret) { return aoti_torch_cuda_nonzero(host, ret); });
  expect_refused(aoti_torch_cuda_nonzero(host, nullptr), Status::InvalidArgument, "ret0 is null");
}

void compare(const Tensor& host) {
  SCOPED_TRACE(testing::Message() << host);
  const Handle on_host(host), on_device(host.to(gpu()));
  Handle got, expected;
  ASSERT_EQ(aoti_torch_cuda_nonzero(on_device, got.out()), kOk) << last_error();
  ASSERT_EQ(aoti_torch_cpu_nonzero(on_host, expected.out()), kOk);
  expect_same(got.tensor(), expected.tensor());
}

TEST_F(NonzeroShim, IsTheCpusForEveryDtypeAndLayout) {
  for (const DType dtype : kRealDtypes) {
    for_every_layout([&](const Ints& sizes, uint64_t seed) { return ties(sizes, dtype, seed); },
                     [](const Tensor& host, int64_t dim) {
                       if (dim == -1) compare(host);
                     });
  }
}

TEST_F(NonzeroShim, MoreAndFewerThanABlock) {
  for (const int64_t numel : {1, 2047, 2048, 2049, 70000, 5000011}) {
    compare(drawn_from({0, 1, 2}, {numel}, DType::UInt8, static_cast<uint64_t>(numel)));
    compare(drawn_from({0}, {numel}, DType::Float32));
    compare(drawn_from({1}, {numel}, DType::Float64));
  }
  compare(ties({2, 3, 2, 3, 2, 3, 2}, DType::Int32).permute(Ints{6, 1, 5, 3, 2, 0, 4}));
}

TEST_F(NonzeroShim, Refuses) {
  const Handle complex(Tensor::empty(Ints{3}, DType::ComplexFloat32, gpu()));
  expect_refused_with_null(Status::InvalidType, "complex64",
                           [&](auto* ret) { return aoti_torch_cuda_nonzero(complex, ret); });
  const Handle x(Tensor::empty(Ints{9}, DType::Float32, gpu()));
  Captured graph([&] {
    expect_refused_with_null(Status::InvalidState, "while a stream is being captured",
                             [&](auto* ret) { return aoti_torch_cuda_nonzero(x, ret); });
    x.tensor().zero_();
  });
  graph.run();
  compare(x.tensor().to(kCPU));
}

}  // namespace
}  // namespace aotiny::cuda
