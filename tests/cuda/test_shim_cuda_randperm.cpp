// aoti_torch_cuda_randperm.
#include <map>
#include <numeric>

#include "aotiny/abi/aoti_torch_cuda.h"
#include "aotiny/kernels/random.h"
#include "random_reference.h"

namespace aotiny::cuda {
namespace {

using Randperm = RandomTest;

TEST(RandpermArguments, AreChecked) {
  const auto refused = [](const char* text, int64_t n, std::optional<DType> dtype) {
    int32_t code = dtype ? static_cast<int32_t>(*dtype) : 0;
    expect_refused_with_null(Status::InvalidArgument, text, [&](auto* ret) {
      return aoti_torch_cuda_randperm(n, dtype ? &code : nullptr, nullptr, nullptr, 0, nullptr,
                                      ret);
    });
  };
  refused("n -1 is outside 0..2147483647", -1, {});
  refused("n 2147483648 is outside", int64_t{1} << 31, {});
  refused("int8 does not hold every integer from 0 to 128", 129, DType::Int8);
  refused("bfloat16 does not hold every integer from 0 to 257", 258, DType::BFloat16);
  expect_refused(aoti_torch_cuda_randperm(5, nullptr, nullptr, nullptr, 0, nullptr, nullptr),
                 Status::InvalidArgument, "ret0 is null");
}

Tensor randperm(int64_t n, DType dtype) {
  auto code = static_cast<int32_t>(dtype);
  Handle made;
  EXPECT_EQ(aoti_torch_cuda_randperm(n, &code, nullptr, nullptr, 0, nullptr, made.out()), kOk)
      << last_error();
  EXPECT_EQ(made.tensor().dtype(), dtype);
  EXPECT_EQ(ints(made.tensor().sizes()), (Ints{n}));
  return made.tensor().to(kCPU).to(DType::Int64);
}

TEST_F(Randperm, HoldsEveryNumberOnce) {
  for (const int64_t n : {0, 1, 2, 5, 128, 2049, 30001, 70000, 3000000}) {
    for (const DType dtype : {DType::Int64, DType::Int32, DType::Float64, DType::Int8}) {
      if (dtype == DType::Int8 && n > 128) continue;
      auto values = values_of<int64_t>(randperm(n, dtype));
      Ints sorted(static_cast<size_t>(n));
      std::iota(sorted.begin(), sorted.end(), 0);
      if (n > 100) {
        EXPECT_NE(values, sorted);
      }
      std::sort(values.begin(), values.end());
      EXPECT_EQ(values, sorted) << dtype << ", n " << n;
    }
  }
}

TEST_F(Randperm, ASeedGivesTheSamePermutation) {
  const auto first = values_of<int64_t>(randperm(1000, DType::Int64));
  const auto second = values_of<int64_t>(randperm(1000, DType::Int64));
  EXPECT_NE(first, second);
  cuda_interface().manual_seed(gpu(), kSeed);
  EXPECT_EQ(values_of<int64_t>(randperm(1000, DType::Int64)), first);
}

TEST_F(Randperm, EveryPermutationIsAsLikely) {
  std::map<Ints, int> counts;
  constexpr int kDraws = 6000;
  for (int i = 0; i < kDraws; ++i) ++counts[values_of<int64_t>(randperm(3, DType::Int64))];
  EXPECT_EQ(counts.size(), 6u);
  for (const auto& [permutation, count] : counts) {
    EXPECT_NEAR(count, kDraws / 6, 160) << permutation[0] << permutation[1] << permutation[2];
  }
}

// Equal keys stay in their order after the sort; the shuffle makes up for it.
TEST_F(Randperm, EqualKeysAreShuffled) {
  constexpr int64_t kCount = 30000;
  const Tensor keys = Tensor::empty(Ints{kCount}, DType::UInt64);
  for (int64_t i = 0; i < kCount; ++i) {
    keys.data<uint64_t>()[i] = static_cast<uint64_t>(i / 3) | uint64_t{0xabc} << 40;
  }
  const Tensor device_keys = keys.to(gpu());
  const Tensor values = Tensor::empty(Ints{kCount}, DType::UInt32, gpu());
  fill_range(values.data<uint32_t>(), kCount, nullptr);
  shuffle_equal_keys(device_keys.data<uint64_t>(), values.data<uint32_t>(), kCount, 40,
                     {{kSeed, 0}, nullptr}, nullptr);
  const auto shuffled = values_of<uint32_t>(values.to(kCPU));
  std::map<std::vector<uint32_t>, int> counts;
  for (uint32_t i = 0; i < kCount; i += 3) {
    ++counts[{shuffled[i] - i, shuffled[i + 1] - i, shuffled[i + 2] - i}];
  }
  EXPECT_EQ(counts.size(), 6u);  // none left its three
  for (const auto& [order, count] : counts) EXPECT_NEAR(count, kCount / 18, 200);
}

TEST_F(Randperm, InAGraph) {
  const Tensor result = Tensor::empty(Ints{500}, DType::Int64, gpu());
  Captured graph([&] {
    Handle made;
    ASSERT_EQ(aoti_torch_cuda_randperm(500, nullptr, nullptr, nullptr, 0, nullptr, made.out()), kOk)
        << last_error();
    result.copy_(made.tensor());
  });
  graph.run();
  const auto first = values_of<int64_t>(result.to(kCPU));
  graph.run();
  auto second = values_of<int64_t>(result.to(kCPU));
  EXPECT_NE(first, second);
  std::sort(second.begin(), second.end());
  Ints sorted(500);
  std::iota(sorted.begin(), sorted.end(), 0);
  EXPECT_EQ(second, sorted);
}

}  // namespace
}  // namespace aotiny::cuda
