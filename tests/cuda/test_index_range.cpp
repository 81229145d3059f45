// index_range against std::minmax_element.
#include "aotiny/kernels/index_range.h"

#include <algorithm>
#include <random>

#include "gpu_test.h"

namespace aotiny::cuda {
namespace {

using IndexRange = GpuTest;
using Range = std::pair<int64_t, int64_t>;

template <class T>
Tensor random_indices(int64_t count, unsigned seed) {
  std::mt19937_64 random(seed);
  std::uniform_int_distribution<int64_t> any(std::numeric_limits<T>::min(),
                                             std::numeric_limits<T>::max());
  const Tensor indices = Tensor::empty(Ints{count}, dtype_of<T>());
  for (int64_t i = 0; i < count; ++i) indices.data<T>()[i] = static_cast<T>(any(random));
  return indices;
}

template <class T>
Range expected_of(const Tensor& indices) {
  const auto found = std::minmax_element(indices.data<T>(), indices.data<T>() + indices.numel());
  return {*found.first, *found.second};
}

Range found_of(const Tensor& indices) {
  return cuda_interface().weight_kernels().index_range(indices.raw_data(), indices.dtype(),
                                                       indices.numel(), indices.device());
}

TEST_F(IndexRange, OfAnyCountAndBothDtypes) {
  for (const int64_t count :
       {1, 2, 31, 32, 33, 255, 256, 257, 1000, 256 * 1024, 256 * 1024 + 1, 1000003}) {
    const unsigned seed = static_cast<unsigned>(count);
    const Tensor wide = random_indices<int64_t>(count, seed);
    EXPECT_EQ(found_of(wide.to(gpu())), expected_of<int64_t>(wide)) << count;
    const Tensor narrow = random_indices<int32_t>(count, seed);
    EXPECT_EQ(found_of(narrow.to(gpu())), expected_of<int32_t>(narrow)) << count;
  }
}

TEST_F(IndexRange, WhereverTheExtremesAre) {
  constexpr int64_t kCount = 300000;
  for (const int64_t at : {int64_t{0}, int64_t{1}, int64_t{777}, kCount - 2}) {
    const Tensor indices = Tensor::empty(Ints{kCount}, DType::Int64);
    std::fill_n(indices.data<int64_t>(), kCount, 5);
    indices.data<int64_t>()[at] = INT64_MIN;
    indices.data<int64_t>()[at + 1] = INT64_MAX;
    EXPECT_EQ(found_of(indices.to(gpu())), (Range{INT64_MIN, INT64_MAX})) << at;
    indices.data<int64_t>()[at] = 5;
    EXPECT_EQ(found_of(indices.to(gpu())), (Range{5, INT64_MAX})) << at;
    indices.data<int64_t>()[at] = INT64_MIN;
    indices.data<int64_t>()[at + 1] = 5;
    EXPECT_EQ(found_of(indices.to(gpu())), (Range{INT64_MIN, 5})) << at;
  }
}

TEST_F(IndexRange, OfPartOfATensor) {
  const Tensor indices = random_indices<int32_t>(1001, 9);
  const Tensor part = indices.slice(0, 1, 1000);  // aligned to 4 bytes only
  EXPECT_EQ(found_of(indices.to(gpu()).slice(0, 1, 1000)), expected_of<int32_t>(part.contiguous()));
}

TEST_F(IndexRange, InTheCurrentStream) {
  const Stream stream(0);
  const StreamGuard guard(0, stream.get());
  const int64_t nbytes = 64 << 20;
  const Tensor indices = Tensor::empty(Ints{nbytes / 8}, DType::Int64, gpu());
  keep_busy(stream.get(), indices.raw_data(), nbytes, 1);
  constexpr int64_t kOnes = 0x0101010101010101;
  EXPECT_EQ(found_of(indices), (Range{kOnes, kOnes}));
}

TEST_F(IndexRange, OnAnotherDevice) {
  if (device_count() < 2) GTEST_SKIP() << "there is one GPU";
  const Tensor indices = random_indices<int64_t>(1234, 5);
  EXPECT_EQ(found_of(indices.to(gpu(1))), expected_of<int64_t>(indices));
}

TEST_F(IndexRange, IsRefusedWhileCapturing) {
  const Tensor indices = random_indices<int64_t>(9, 1).to(gpu());
  Captured graph([&] {
    const auto text = failure(Status::InvalidState, [&] { found_of(indices); });
    EXPECT_TRUE(contains(text, "while a stream is being captured")) << text;
    indices.zero_();
  });
  graph.run();  // the capture went on
  EXPECT_EQ(found_of(indices), (Range{0, 0}));
}

TEST(IndexRangeArguments, OtherDtypesAndNoIndicesAreRefused) {
  const float value = 0;
  auto text =
      failure(Status::InvalidType, [&] { index_range(&value, DType::Float32, 1, gpu(), nullptr); });
  EXPECT_TRUE(contains(text, "float32")) << text;
  text = failure(Status::InvalidArgument,
                 [&] { index_range(&value, DType::Int32, 0, gpu(), nullptr); });
  EXPECT_TRUE(contains(text, "0 indices")) << text;
}

}  // namespace
}  // namespace aotiny::cuda
