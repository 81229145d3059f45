// Views of weights and weights made of others, against slices of the dequantized values.
#include <cstring>

#include "aotiny/quant/copies.h"
#include "aotiny/quant/reshape.h"
#include "aotiny/quant/shard.h"
#include "quant_testing.h"

namespace aotiny::testing {
namespace {

class Views : public ::testing::TestWithParam<FormatId> {
 protected:
  // N is 24 and K 768, which every format can hold and cut in three.
  Weight stack_of(int64_t batch, uint32_t seed = 1) const {
    const Tensor values = tensor_of(gaussian(batch * 24 * 768, seed, 0.05f), {batch, 24, 768});
    return quantize(values, GetParam(), group_for(GetParam(), 64));
  }
  Weight weight(uint32_t seed = 1) const { return select(stack_of(1, seed), 0, 0); }
};

void expect_values(const Weight& weight, const Tensor& expected) {
  EXPECT_TRUE(std::ranges::equal(weight.sizes(), expected.sizes()));
  EXPECT_EQ(floats_of(weight.dequantize()), floats_of(expected));
}

void expect_shares(const Weight& view, const Weight& whole) {
  for (size_t i = 0; i < view.planes().size(); ++i) {
    EXPECT_EQ(view.planes()[i].storage().get(), whole.planes()[i].storage().get());
  }
}

TEST_P(Views, SlicesShareMemory) {
  const Weight whole = stack_of(3);
  const Tensor values = whole.dequantize();
  const Weight rows = slice(whole, -2, 8, 16), columns = slice(whole, 2, 256, std::nullopt);
  expect_values(rows, values.slice(1, 8, 16));
  expect_values(columns, values.slice(2, 256, 768));
  expect_values(slice(columns, 1, -8, 1000), values.slice(2, 256, 768).slice(1, 16, 24));
  expect_values(slice(whole, 0, 1, 3), values.slice(0, 1, 3));
  expect_values(select(whole, 0, -1), values.select(0, 2));
  expect_values(transpose(whole, -1, -2), values.transpose(1, 2));
  for (const Weight& view : {rows, columns, select(whole, 0, 1), whole.transposed()}) {
    expect_shares(view, whole);
    EXPECT_EQ(view, clone(view));
    EXPECT_TRUE(contiguous(view).is_contiguous());
  }
}

TEST_P(Views, CutsAreRefusedWithTheNearestPlaces) {
  const Weight whole = weight();
  const int64_t multiple = cut_multiple(whole, Axis::K);
  const Error error = error_of([&] { slice(whole, 1, 0, multiple + 1); });
  EXPECT_EQ(error.status(), Status::InvalidArgument);
  const std::string text = error.what();
  EXPECT_NE(text.find("K = " + std::to_string(multiple + 1)), std::string::npos) << text;
  EXPECT_NE(text.find("nearest places are " + std::to_string(multiple) + " and " +
                      std::to_string(2 * multiple)),
            std::string::npos)
      << text;
  EXPECT_EQ(error_of([&] { slice(whole, 0, 8, 8); }).status(), Status::InvalidArgument);
  EXPECT_EQ(error_of([&] { narrow(whole, 0, 16, 16); }).status(), Status::InvalidArgument);
  EXPECT_EQ(error_of([&] { select(whole, 0, 1); }).status(), Status::InvalidArgument);
}

TEST_P(Views, PartsJoinToTheWhole) {
  const Weight whole = stack_of(2);
  for (const Axis axis : {Axis::Batch, Axis::N, Axis::K}) {
    const int64_t length = length_of(whole, axis), cut = axis == Axis::Batch ? 1 : length / 3;
    const Weight parts[] = {slice(whole, axis, 0, cut), slice(whole, axis, cut, length)};
    EXPECT_EQ(cat(parts, axis), whole);
  }
  const Weight ones[] = {select(whole, 0, 0), select(whole, 0, 1)};
  EXPECT_EQ(stack(ones), whole);
  EXPECT_EQ(cat(ones, 0), reshape(whole, std::vector<int64_t>{48, 768}));
  EXPECT_EQ(view(cat(ones, 0), std::vector<int64_t>{2, -1, 768}), whole);
}

TEST_P(Views, StepsOfRowsAreNotJoinedAlongKUnlessTheyAreEqual) {
  const Weight two[] = {weight(1), weight(2)};
  const bool per_row = std::ranges::any_of(
      two[0].info().planes, [](const PlaneSpec& spec) { return spec.per == Per::Row; });
  const Error error = error_of([&] { cat(two, 1); });
  EXPECT_EQ(error.status(), per_row ? Status::InvalidArgument : Status::Ok) << error.what();
}

TEST_P(Views, CopiesGoIntoSlicesUnlessReadOnly) {
  const Weight target = clone(weight(1)), source = weight(2);
  for (const Axis axis : {Axis::N, Axis::K}) {
    const int64_t third = length_of(target, axis) / 3;
    for (int64_t i = 0; i < 3; ++i) {
      copy_into(slice(target, axis, i * third, (i + 1) * third),
                slice(source, axis, i * third, (i + 1) * third));
    }
    EXPECT_EQ(target, source);
    copy_into(target, weight(1));
  }
  const Weight frozen(GetParam(), target.planes(), target.group_size(), true);
  for (const Weight& view : {frozen, slice(frozen, 0, 8, 16), frozen.transposed().transposed(),
                             unsqueeze(frozen), shard(frozen, 1, 3, 0)}) {
    EXPECT_TRUE(view.is_readonly());
    const std::string text = error_of([&] { copy_into(view, clone(view)); }).what();
    EXPECT_NE(text.find("read-only"), std::string::npos) << text;
  }
  EXPECT_EQ(target, weight(1));
  EXPECT_FALSE(clone(frozen).is_readonly());
}

TEST_P(Views, PlanesThatShareMemoryAreNotWrittenTo) {
  const Weight own = clone(weight());
  std::vector<Tensor> planes = own.planes();
  const int64_t n_dim = own.info().planes[0].n_dim();
  planes[0] = planes[0].slice(n_dim, 0, 1).expand(planes[0].sizes());
  const Weight shared(GetParam(), std::move(planes), own.group_size());
  const std::string text = error_of([&] { copy_into(shared, own); }).what();
  EXPECT_NE(text.find("share memory"), std::string::npos) << text;
}

TEST_P(Views, ShardsAreEqualAndPaddedWithZeros) {
  const Weight whole = weight();
  const Tensor values = whole.dequantize();
  for (const int64_t dim : {0, 1}) {
    const int64_t third = values.size(dim) / 3;
    for (int64_t rank = 0; rank < 3; ++rank) {
      expect_values(shard(whole, rank, 3, dim),
                    values.slice(dim, rank * third, (rank + 1) * third));
    }
    // Two thirds in four: the last shards end with zeros or, with large parts, are nothing else.
    const Weight two = slice(whole, dim, 0, 2 * third);
    const Axis axis = axis_of(two, dim, "");
    const int64_t part = cut_multiple(two, axis) * ((2 * third / cut_multiple(two, axis) + 3) / 4);
    for (int64_t rank = 0; rank < 4; ++rank) {
      const Tensor padded = shard(two, rank, 4, dim, true).dequantize();
      ASSERT_EQ(padded.size(dim), part);
      const int64_t used = std::clamp<int64_t>(2 * third - rank * part, 0, part);
      if (used > 0) {
        EXPECT_EQ(floats_of(padded.slice(dim, 0, used)),
                  floats_of(values.slice(dim, rank * part, rank * part + used)));
      }
      for (const float value : floats_of(padded.slice(dim, used, part))) EXPECT_EQ(value, 0);
    }
  }
  EXPECT_EQ(error_of([&] { shard(whole, 0, 7, 1); }).status(), Status::InvalidArgument);
  EXPECT_EQ(error_of([&] { shard(whole, 3, 3, 0); }).status(), Status::InvalidArgument);
}

INSTANTIATE_TEST_SUITE_P(Formats, Views, ::testing::ValuesIn(all_formats()),
                         [](const auto& param) { return format_name(param.param); });

}  // namespace
}  // namespace aotiny::testing
