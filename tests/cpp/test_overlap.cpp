#include "aotiny/core/overlap.h"

#include <gtest/gtest.h>

#include <vector>

namespace aotiny {
namespace {

using Ints = std::vector<int64_t>;

Tensor view(const Tensor& base, const Ints& sizes, const Ints& strides, int64_t offset = 0) {
  return base.as_strided(sizes, strides, offset);
}

TEST(Overlap, IsThatOfTheBytesBetweenFirstAndLast) {
  const Tensor base = Tensor::empty(Ints{100}, DType::Float32);
  const Tensor middle = view(base, {4, 5}, {5, 1}, 40);  // 40..59
  EXPECT_TRUE(may_overlap(base, middle));
  EXPECT_TRUE(may_overlap(middle, middle));
  EXPECT_FALSE(may_overlap(middle, view(base, {40}, {1})));
  EXPECT_TRUE(may_overlap(middle, view(base, {41}, {1})));
  EXPECT_FALSE(may_overlap(middle, view(base, {40}, {1}, 60)));
  EXPECT_TRUE(may_overlap(middle, view(base, {40}, {1}, 59)));
  EXPECT_TRUE(may_overlap(middle, view(base, {2}, {30}, 30)));  // before and behind it
  EXPECT_TRUE(may_overlap(middle, view(base, {7}, {0}, 59)));
  EXPECT_FALSE(may_overlap(middle, view(base, {7}, {0}, 60)));
  EXPECT_FALSE(may_overlap(middle, view(base, {0, 3}, {3, 1}, 50)));  // without an element
  EXPECT_FALSE(may_overlap(middle, Tensor::empty(Ints{100}, DType::Float32)));
  // Bytes, not elements.
  const Tensor bytes = base.view_dtype(DType::UInt8);
  EXPECT_TRUE(may_overlap(middle, view(bytes, {1}, {1}, 239)));
  EXPECT_FALSE(may_overlap(middle, view(bytes, {1}, {1}, 240)));
}

TEST(Overlap, NeverBetweenDevices) {
  float data[8];
  const Ints sizes = {8}, strides = {1};
  const Tensor here = Tensor::from_blob(data, sizes, strides, 0, DType::Float32);
  const Tensor there =
      Tensor::from_blob(data, sizes, strides, 0, DType::Float32, {DeviceType::CUDA, 0});
  EXPECT_FALSE(may_overlap(here, there));
}

TEST(Overlap, DistinctElements) {
  const Tensor base = Tensor::empty(Ints{100}, DType::Float32);
  EXPECT_TRUE(has_distinct_elements(base));
  EXPECT_TRUE(has_distinct_elements(view(base, {5, 4}, {1, 5})));
  EXPECT_TRUE(has_distinct_elements(view(base, {3, 4}, {20, 5})));
  EXPECT_TRUE(has_distinct_elements(view(base, {1, 4}, {0, 1})));
  EXPECT_TRUE(has_distinct_elements(view(base, {0, 4}, {0, 0})));
  EXPECT_TRUE(has_distinct_elements(view(base, {}, {})));
  EXPECT_FALSE(has_distinct_elements(view(base, {2}, {0})));
  EXPECT_FALSE(has_distinct_elements(view(base, {3, 4}, {3, 1})));
  EXPECT_FALSE(has_distinct_elements(view(base, {3, 4}, {1, 1})));
}

}  // namespace
}  // namespace aotiny
