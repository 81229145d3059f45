// aoti_torch_cuda_randint_low_out, with which compiled models make their seeds.
#include "aotiny/abi/aoti_torch_cuda.h"
#include "random_reference.h"

namespace aotiny::cuda {
namespace {

using RandintLowOut = RandomTest;

TEST(RandintLowOutArguments, AreChecked) {
  const Ints sizes = {3};
  const Handle host(Tensor::empty(sizes, DType::Int64));
  expect_refused(aoti_torch_cuda_randint_low_out(nullptr, 0, 5, sizes.data(), 1),
                 Status::InvalidArgument, "out is null");
  expect_refused(aoti_torch_cuda_randint_low_out(host, 0, 5, sizes.data(), 1),
                 Status::InvalidArgument, "out is on cpu");
}

TEST_F(RandintLowOut, MakesSeedsOfAllBits) {
  const Ints sizes = {4};
  const Handle out(Tensor::empty(sizes, DType::Int64, gpu()));
  for (uint64_t call = 0; call < 3; ++call) {
    ASSERT_EQ(aoti_torch_cuda_randint_low_out(out, INT64_MIN, INT64_MAX, sizes.data(), 1), kOk)
        << last_error();
    const auto expected = filled<int64_t>(4, kSeed, 4 * call, 2, [](const Words& words, int part) {
      const auto i = static_cast<size_t>(2 * part);
      const uint64_t number = (uint64_t{words[i]} << 32 | words[i + 1]) % UINT64_MAX;
      return static_cast<int64_t>(number + (uint64_t{1} << 63));
    });
    EXPECT_EQ(values_of<int64_t>(out.tensor().to(kCPU)), expected);
  }
}

TEST_F(RandintLowOut, WritesNothingElse) {
  const Tensor memory = tensor_of<int32_t>({12}, std::vector<int32_t>(12, -7)).to(gpu());
  const Handle out(memory.slice(0, 3, 9).view(Ints{2, 3}).transpose(0, 1));
  const Ints sizes = {3, 2};
  ASSERT_EQ(aoti_torch_cuda_randint_low_out(out, 0, 100, sizes.data(), 2), kOk) << last_error();
  const auto values = values_of<int32_t>(memory.to(kCPU));
  for (size_t i = 0; i < 12; ++i) {
    EXPECT_EQ(values[i] == -7, i < 3 || i >= 9) << i << " is " << values[i];
  }
}

TEST_F(RandintLowOut, Refuses) {
  const Tensor memory = Tensor::empty(Ints{4, 6}, DType::Int64, gpu());
  memory.zero_();
  const Handle out(memory), gaps(memory.slice(1, 0, 6, 2)), narrow(memory.view_dtype(DType::Int8)),
      repeated(memory.slice(0, 0, 1).expand(Ints{3, 6}));
  const auto refused = [](AtenTensorHandle target, int64_t low, int64_t high, const Ints& sizes,
                          const char* text) {
    expect_refused(aoti_torch_cuda_randint_low_out(target, low, high, sizes.data(),
                                                   static_cast<int64_t>(sizes.size())),
                   Status::InvalidArgument, text);
  };
  refused(out, 0, 5, {4, 5}, "out has shape [4, 6], not [4, 5]");
  refused(out, 0, 5, {24}, "out has shape [4, 6], not [24]");
  refused(out, 5, 5, {4, 6}, "no integer from 5 to below 5");
  refused(gaps, 0, 5, {4, 3}, "gaps or overlaps");
  refused(repeated, 0, 5, {3, 6}, "gaps or overlaps");
  refused(narrow, 0, 500, {4, 48}, "int8 does not hold every integer from 0 to 499");
  EXPECT_EQ(values_of<int64_t>(memory.to(kCPU)), Ints(24, 0));
}

TEST_F(RandintLowOut, InAGraph) {
  const Ints sizes = {2};
  const Tensor seeds = Tensor::empty(sizes, DType::Int64, gpu());
  Captured graph([&] {
    const Handle out(seeds);
    ASSERT_EQ(aoti_torch_cuda_randint_low_out(out, INT64_MIN, INT64_MAX, sizes.data(), 1), kOk)
        << last_error();
  });
  graph.run();
  const auto first = values_of<int64_t>(seeds.to(kCPU));
  graph.run();
  const auto second = values_of<int64_t>(seeds.to(kCPU));
  EXPECT_NE(first[0], first[1]);
  EXPECT_NE(first, second);
}

}  // namespace
}  // namespace aotiny::cuda
