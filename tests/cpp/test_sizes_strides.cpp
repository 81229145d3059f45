#include "aotiny/core/sizes_strides.h"

#include <gtest/gtest.h>

namespace aotiny {
namespace {

using Ints = std::vector<int64_t>;

TEST(SizesAndStrides, CopiesAndMovesInlineAndHeap) {
  for (size_t ndim : {0, 1, 5, 6, 64}) {
    const Ints sizes(ndim, 3), strides(ndim, 7);
    SizesAndStrides shape(sizes, strides);
    SizesAndStrides copy = shape;
    SizesAndStrides moved = std::move(shape);
    copy = moved;
    EXPECT_EQ(copy.ndim(), static_cast<int64_t>(ndim));
    EXPECT_TRUE(std::ranges::equal(moved.sizes(), sizes));
    EXPECT_TRUE(std::ranges::equal(copy.strides(), strides));
    copy = copy;  // NOLINT: self-assignment is what is tested
    EXPECT_TRUE(std::ranges::equal(copy.sizes(), sizes));
  }
  EXPECT_THROW(SizesAndStrides(Ints(65, 1), Ints(65, 1)), Error);
  EXPECT_THROW(SizesAndStrides(Ints{1}, Ints{}), Error);
}

TEST(SizesStrides, CheckedArithmetic) {
  EXPECT_EQ(checked_numel(Ints{}), 1);
  EXPECT_EQ(checked_numel(Ints{2, 0, 3}), 0);
  EXPECT_THROW(checked_numel(Ints{INT64_MAX, 2}), Error);
  EXPECT_THROW(checked_numel(Ints{2, -1}), Error);
  EXPECT_EQ(checked_span(Ints{2, 3}, Ints{10, 2}), 15);
  EXPECT_EQ(checked_span(Ints{0, 3}, Ints{10, 2}), 0);
  EXPECT_EQ(checked_span(Ints{1}, Ints{INT64_MAX}), 1);
  EXPECT_THROW(checked_span(Ints{3}, Ints{INT64_MAX}), Error);
  EXPECT_THROW(checked_span(Ints{2, 2}, Ints{INT64_MAX, 1}), Error);
  EXPECT_THROW(checked_span(Ints{2}, Ints{-1}), Error);
  EXPECT_EQ(checked_nbytes(3, 4), 12u);
  EXPECT_THROW(checked_nbytes(INT64_MAX / 4, 8), Error);
  EXPECT_THROW(checked_nbytes(-1, 1), Error);
}

TEST(SizesStrides, DenseAndPreservedStrides) {
  EXPECT_EQ(contiguous_strides(Ints{2, 0, 3}), (Ints{3, 3, 1}));
  EXPECT_TRUE(is_contiguous(Ints{2, 1, 3}, Ints{3, 99, 1}));
  EXPECT_FALSE(is_contiguous(Ints{2, 3}, Ints{1, 2}));
  EXPECT_TRUE(is_contiguous(Ints{0, 3}, Ints{1, 2}));
  EXPECT_TRUE(is_contiguous(Ints{0, int64_t{1} << 40, int64_t{1} << 40}, Ints{1, 1, 1}));
  EXPECT_TRUE(is_non_overlapping_and_dense(Ints{2, 3}, Ints{1, 2}));
  EXPECT_FALSE(is_non_overlapping_and_dense(Ints{2, 3}, Ints{0, 1}));
  EXPECT_FALSE(is_non_overlapping_and_dense(Ints{2, 3}, Ints{4, 1}));
  EXPECT_EQ(preserved_strides(Ints{2, 3}, Ints{1, 2}), (Ints{1, 2}));
}

TEST(SizesStrides, WrapDim) {
  EXPECT_EQ(wrap_dim(-1, 3, "op"), 2);
  EXPECT_EQ(wrap_dim(0, 0, "op"), 0);
  EXPECT_EQ(wrap_dim(-1, 0, "op"), 0);
  EXPECT_THROW(wrap_dim(3, 3, "op"), Error);
  EXPECT_THROW(wrap_dim(-4, 3, "op"), Error);
}

}  // namespace
}  // namespace aotiny
