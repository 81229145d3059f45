// aoti_torch_cuda_topk. The oracle is the CPU's, which shares no code with it.
#include "aotiny/abi/aoti_torch_cuda.h"
#include "strided_samples.h"

namespace aotiny::cuda {
namespace {

using Topk = GpuTest;

TEST(TopkArguments, AreChecked) {
  const Handle host(Tensor::empty(Ints{3}, DType::Float32));
  Handle values, indices;
  expect_refused(aoti_torch_cuda_topk(nullptr, 1, 0, 1, 1, values.out(), indices.out()),
                 Status::InvalidArgument, "self is null");
  expect_refused(aoti_torch_cuda_topk(host, 1, 0, 1, 1, values.out(), indices.out()),
                 Status::InvalidArgument, "self is on cpu");
  EXPECT_EQ(AtenTensorHandle(values), nullptr);
  EXPECT_EQ(AtenTensorHandle(indices), nullptr);
  expect_refused(aoti_torch_cuda_topk(host, 1, 0, 1, 1, nullptr, indices.out()),
                 Status::InvalidArgument, "ret0 is null");
  expect_refused(aoti_torch_cuda_topk(host, 1, 0, 1, 1, values.out(), nullptr),
                 Status::InvalidArgument, "ret1 is null");
}

void compare(const Tensor& host, int64_t k, int64_t dim, int32_t largest) {
  SCOPED_TRACE(testing::Message() << host << ", k " << k << ", dim " << dim << ", largest "
                                  << largest);
  const Handle on_host(host), on_device(host.to(gpu()));
  Handle values, indices, expected, expected_indices;
  ASSERT_EQ(aoti_torch_cuda_topk(on_device, k, dim, largest, 1, values.out(), indices.out()), kOk)
      << last_error();
  ASSERT_EQ(
      aoti_torch_cpu_topk(on_host, k, dim, largest, 1, expected.out(), expected_indices.out()),
      kOk);
  expect_same(values.tensor(), expected.tensor());
  expect_same(indices.tensor(), expected_indices.tensor());
}

TEST_F(Topk, IsTheCpusForEveryDtypeAndLayout) {
  for (const DType dtype : kRealDtypes) {
    for_every_layout([&](const Ints& sizes, uint64_t seed) { return ties(sizes, dtype, seed); },
                     [&](const Tensor& host, int64_t dim) {
                       const int64_t length = host.ndim() == 0 ? 1 : host.size(dim);
                       for (const int64_t k : {int64_t{0}, int64_t{1}, length / 2, length}) {
                         if (k <= length) compare(host, k, dim, k % 2 == 0);
                       }
                     });
  }
}

TEST_F(Topk, OfAVocabulary) {
  const Tensor logits = Tensor::empty(Ints{3, 128256}, DType::Float32);
  Numbers numbers(3);
  for (int64_t i = 0; i < logits.numel(); ++i) {
    logits.data<float>()[i] = static_cast<float>(numbers.below(1u << 31)) * 0x1p-20f - 900.0f;
  }
  for (const DType dtype : {DType::Float32, DType::BFloat16, DType::Float16}) {
    compare(logits.to(dtype), 50, -1, 1);
    compare(logits.to(dtype), 128256, 1, 0);
  }
}

// The kernels take 2^26 elements at a time.
TEST_F(Topk, OfMoreRowsThanAreTakenAtATime) {
  const Tensor host = Tensor::empty(Ints{70001, 970}, DType::UInt8);
  Numbers numbers(5);
  for (int64_t i = 0; i < host.numel(); ++i) {
    host.data<uint8_t>()[i] = static_cast<uint8_t>(numbers.below(256));
  }
  compare(host, 2, 1, 1);
}

TEST_F(Topk, Refuses) {
  const auto refused = [](Status status, const char* text, const Tensor& self, int64_t k,
                          int64_t dim) {
    const Handle handle(self);
    int poison = 0;
    auto values = reinterpret_cast<AtenTensorHandle>(&poison), indices = values;
    expect_refused(aoti_torch_cuda_topk(handle, k, dim, 1, 1, &values, &indices), status, text);
    EXPECT_EQ(values, nullptr);
    EXPECT_EQ(indices, nullptr);
  };
  const Tensor x = Tensor::empty(Ints{2, 3}, DType::Float32, gpu());
  refused(Status::InvalidArgument, "k 4 is outside 0..3", x, 4, 1);
  refused(Status::InvalidArgument, "k -1 is outside", x, -1, 1);
  refused(Status::InvalidArgument, "dimension 2", x, 1, 2);
  refused(Status::InvalidType, "complex64", Tensor::empty(Ints{3}, DType::ComplexFloat32, gpu()), 1,
          0);
}

TEST_F(Topk, InAGraph) {
  const Tensor input = Tensor::empty(Ints{2, 5000}, DType::BFloat16, gpu());
  const Tensor indices = Tensor::empty(Ints{2, 7}, DType::Int64, gpu());
  Captured graph([&] {
    const Handle x(input);
    Handle values, places;
    ASSERT_EQ(aoti_torch_cuda_topk(x, 7, 1, 1, 1, values.out(), places.out()), kOk) << last_error();
    indices.copy_(places.tensor());
  });
  for (const uint64_t seed : {1, 2}) {
    const Tensor host = ties({2, 5000}, DType::BFloat16, seed);
    input.copy_(host);
    graph.run();
    const Handle x(host);
    Handle values, expected;
    ASSERT_EQ(aoti_torch_cpu_topk(x, 7, 1, 1, 1, values.out(), expected.out()), kOk);
    EXPECT_TRUE(bytes_of(indices) == bytes_of(expected.tensor()));
  }
}

}  // namespace
}  // namespace aotiny::cuda
