#include "aotiny/core/tensor.h"

#include <gtest/gtest.h>

#include <numeric>

namespace aotiny {
namespace {

using Ints = std::vector<int64_t>;

Ints ints(IntSpan span) { return {span.begin(), span.end()}; }

Tensor arange(const Ints& sizes) {
  Tensor tensor = Tensor::empty(sizes, DType::Int32);
  std::iota(tensor.data<int32_t>(), tensor.data<int32_t>() + tensor.numel(), 0);
  return tensor;
}

std::vector<int32_t> values(const Tensor& tensor) {
  const Tensor dense = tensor.contiguous();
  return {dense.data<int32_t>(), dense.data<int32_t>() + dense.numel()};
}

TEST(Tensor, EmptyIsContiguousAndAligned) {
  const Tensor tensor = Tensor::empty(Ints{2, 3, 4}, DType::Float32);
  EXPECT_EQ(ints(tensor.strides()), (Ints{12, 4, 1}));
  EXPECT_EQ(tensor.numel(), 24);
  EXPECT_EQ(tensor.storage()->nbytes(), 96u);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.raw_data()) % 64, 0u);
}

TEST(Tensor, ViewsShareStorage) {
  const Tensor base = arange({4, 6});
  EXPECT_EQ(values(base.slice(0, 1, 4, 2)),
            (std::vector<int32_t>{6, 7, 8, 9, 10, 11, 18, 19, 20, 21, 22, 23}));
  EXPECT_EQ(values(base.slice(1, -2, std::nullopt)),
            (std::vector<int32_t>{4, 5, 10, 11, 16, 17, 22, 23}));
  EXPECT_EQ(base.slice(0, 9, 12).numel(), 0);
  EXPECT_EQ(values(base.slice(0, 1, std::nullopt, INT64_MAX)),
            (std::vector<int32_t>{6, 7, 8, 9, 10, 11}));
  EXPECT_EQ(base.slice(1, 4, 2, INT64_MAX).numel(), 0);
  EXPECT_EQ(values(base.select(1, -1)), (std::vector<int32_t>{5, 11, 17, 23}));
  EXPECT_EQ(ints(base.permute(Ints{1, 0}).strides()), (Ints{1, 6}));
  EXPECT_EQ(base.transpose(0, 1).storage().get(), base.storage().get());
  EXPECT_EQ(ints(base.view(Ints{2, -1, 3}).sizes()), (Ints{2, 4, 3}));
  EXPECT_THROW(base.transpose(0, 1).view(Ints{24}), Error);
  EXPECT_EQ(values(base.transpose(0, 1).reshape(Ints{24}))[1], 6);
}

TEST(Tensor, ViewAsAnotherDtype) {
  const Tensor base = arange({2, 3, 4});  // int32
  const Tensor bytes = base.view_dtype(DType::UInt8);
  EXPECT_EQ(ints(bytes.sizes()), (Ints{2, 3, 16}));
  EXPECT_EQ(bytes.data<uint8_t>()[4], 1);
  const Tensor upper = base.slice(0, 1, 2).view_dtype(DType::Int64);
  EXPECT_EQ(ints(upper.sizes()), (Ints{1, 3, 2}));
  EXPECT_EQ(upper.storage_offset(), 6);
  EXPECT_EQ(upper.data<int64_t>()[0], 12 + (int64_t{13} << 32));
  EXPECT_EQ(bytes.view_dtype(DType::Int32).raw_data(), base.raw_data());
  EXPECT_EQ(values(bytes.view_dtype(DType::Int32)), values(base));
  const Tensor same_size = base.transpose(0, 2).view_dtype(DType::Float32);
  EXPECT_EQ(ints(same_size.strides()), (Ints{1, 4, 12}));
  EXPECT_EQ(ints(arange({3, 0}).view_dtype(DType::Float64).sizes()), (Ints{3, 0}));
  EXPECT_THROW(base.transpose(0, 1).view_dtype(DType::UInt8), Error);  // not contiguous
  EXPECT_THROW(Tensor::scalar(5).view_dtype(DType::UInt8), Error);     // no dimension
  EXPECT_THROW(arange({2, 3}).view_dtype(DType::Int64), Error);        // 12 bytes a row
  EXPECT_THROW(bytes.view(Ints{96}).slice(0, 1, 5).view_dtype(DType::Int32), Error);  // address
  EXPECT_THROW(arange({5}).slice(0, 1, 5).view_dtype(DType::Int64), Error);           // 4 bytes in
  EXPECT_THROW(Tensor().view_dtype(DType::Int8), Error);
}

TEST(Tensor, ViewOfUnitAndSplitDimensions) {
  const Tensor base = arange({4, 1, 6}).slice(2, 0, 6, 2);  // sizes 4,1,3 strides 6,6,2
  EXPECT_EQ(values(base.view(Ints{1, 12, 1})),
            (std::vector<int32_t>{0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22}));
  EXPECT_EQ(ints(arange({2, 3}).view(Ints{1, 1, 6, 1}).sizes()), (Ints{1, 1, 6, 1}));
  EXPECT_EQ(ints(Tensor::scalar(int32_t{5}).view(Ints{1, 1}).sizes()), (Ints{1, 1}));
  EXPECT_EQ(ints(arange({0, 3}).view(Ints{3, 0}).sizes()), (Ints{3, 0}));
}

TEST(Tensor, ViewsAreCheckedAgainstTheStorage) {
  const Tensor base = arange({4, 6});
  EXPECT_THROW(base.as_strided(Ints{5, 6}, Ints{6, 1}, 0), Error);
  EXPECT_THROW(base.as_strided(Ints{4, 6}, Ints{6, 1}, 1), Error);
  EXPECT_THROW(base.as_strided(Ints{2}, Ints{-1}, 5), Error);
  EXPECT_THROW(base.as_strided(Ints{INT64_MAX, 4}, Ints{1, INT64_MAX}, 0), Error);
  EXPECT_NO_THROW(base.as_strided(Ints{0, 99}, Ints{6, 1}, 24));
}

TEST(Tensor, SizesThatOverflowAreRefused) {
  EXPECT_THROW(Tensor::empty(Ints{int64_t{1} << 40, int64_t{1} << 40}, DType::UInt8), Error);
  EXPECT_THROW(Tensor::empty(Ints{int64_t{1} << 61, 2}, DType::Float32), Error);
  EXPECT_THROW(Tensor::empty(Ints{-1}, DType::Float32), Error);
}

TEST(Tensor, CloneKeepsDenseStrides) {
  const Tensor transposed = arange({3, 5}).transpose(0, 1);
  EXPECT_EQ(ints(transposed.clone().strides()), (Ints{1, 5}));
  EXPECT_EQ(values(transposed.clone()), values(transposed));
  const Tensor sliced = arange({4, 6}).slice(1, 0, 4);
  EXPECT_EQ(ints(sliced.clone().strides()), (Ints{4, 1}));
}

TEST(Tensor, CopyConvertsAndBroadcasts) {
  Tensor target = Tensor::empty(Ints{2, 3}, DType::Float32);
  target.copy_(arange({3}));
  EXPECT_EQ(target.data<float>()[5], 2.0f);
  const Tensor half = arange({7}).to(DType::BFloat16).to(DType::Float16).to(DType::Int32);
  EXPECT_EQ(values(half), (std::vector<int32_t>{0, 1, 2, 3, 4, 5, 6}));
  EXPECT_THROW(arange({2}).copy_(arange({3})), Error);
}

TEST(Tensor, OverlappingCopyUsesATemporary) {
  const Tensor base = arange({6});
  base.slice(0, 1, 6).copy_(base.slice(0, 0, 5));
  EXPECT_EQ(values(base), (std::vector<int32_t>{0, 0, 1, 2, 3, 4}));
}

TEST(Tensor, ManyDimensionsLiveOnTheHeap) {
  const Ints sizes(9, 2);
  const Tensor tensor = arange(sizes);
  const Tensor copy = tensor;
  EXPECT_EQ(ints(copy.sizes()), sizes);
  EXPECT_THROW(Tensor::empty(Ints(65, 1), DType::Float32), Error);
}

TEST(Tensor, FromBlobCallsItsDeleterOnce) {
  int calls = 0;
  int32_t data[4] = {1, 2, 3, 4};
  {
    const Tensor tensor = Tensor::from_blob(
        data, Ints{2}, Ints{1}, 2, DType::Int32, kCPU,
        Deleter{
            [](void* context, void*, size_t, Device) noexcept { ++*static_cast<int*>(context); },
            &calls});
    EXPECT_EQ(values(tensor), (std::vector<int32_t>{3, 4}));
    const Tensor view = tensor.slice(0, 1, 2);
    EXPECT_EQ(calls, 0);
  }
  EXPECT_EQ(calls, 1);
}

TEST(DType, SixteenBitFloatsRoundToNearestEven) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    Float16 half;
    half.bits = static_cast<uint16_t>(bits);
    BFloat16 brain;
    brain.bits = static_cast<uint16_t>(bits);
    const float h = static_cast<float>(half), b = static_cast<float>(brain);
    if (h == h) {
      EXPECT_EQ(Float16(h).bits, half.bits);
    }
    if (b == b) {
      EXPECT_EQ(BFloat16(b).bits, brain.bits);
    }
  }
  EXPECT_EQ(Float16(65519.0f).bits, 0x7bff);
  EXPECT_EQ(Float16(65520.0f).bits, 0x7c00);
  EXPECT_EQ(Float16(0x1p-25f).bits, 0);
  EXPECT_EQ(Float16(0x1.8p-25f).bits, 1);
  EXPECT_EQ(BFloat16(1.00390625f).bits, 0x3f80);  // halfway: to even
  EXPECT_EQ(BFloat16(1.01171875f).bits, 0x3f82);
}

}  // namespace
}  // namespace aotiny
