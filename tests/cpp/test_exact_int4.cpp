// The format's bits, its codec for single rows, and the weight that holds it.
#include "aotiny/quant/exact_int4.h"

#include "quant_testing.h"

namespace aotiny {
namespace {

using namespace aotiny::testing;
constexpr FormatId kExact = kFormatId<ExactInt4Traits>;

// By hand: scale 60·2^-10 and min 33·2^-6 in the third group of the second super-block.
TEST(ExactInt4, ValuesByHand) {
  const Weight weight = Weight::empty(kExact, 2, 512, 32);
  const WeightRow row = weight.row(1);
  std::fill(row.plane[0], row.plane[0] + 256, 0xf1);
  std::fill(row.plane[1], row.plane[1] + 16, 1);
  std::fill(row.plane[2], row.plane[2] + 16, 2);
  row.plane[1][10] = 60;
  row.plane[2][10] = 33;
  row.as<Float16>(3)[0] = Float16(3.0f);
  row.as<Float16>(4)[0] = Float16(-0.5f);
  row.as<Float16>(3)[1] = Float16(0x1p-10f);
  row.as<Float16>(4)[1] = Float16(0x1p-6f);
  const std::vector<float> values = floats_of(weight.dequantize());
  EXPECT_EQ(values[512], 4.0f);
  EXPECT_EQ(values[512 + 255], 46.0f);
  EXPECT_EQ(values[512 + 320], 60 * 0x1p-10f - 33 * 0x1p-6f);
  EXPECT_EQ(values[512 + 351], 15 * 60 * 0x1p-10f - 33 * 0x1p-6f);
  EXPECT_EQ(values[512 + 352], 0x1p-10f - 2 * 0x1p-6f);
}

// Where q·scale is far smaller than min, (q − min/scale)·scale would differ: the value is rounded
// once, from the exact numbers.
TEST(ExactInt4, ValuesAreRoundedOnce) {
  const Weight weight = Weight::empty(kExact, 1, 256, 32);
  const WeightRow row = weight.row(0);
  std::mt19937 engine(3);
  for (int round = 0; round < 50; ++round) {
    for (int i = 0; i < 128; ++i) row.plane[0][i] = static_cast<uint8_t>(engine());
    for (int i = 0; i < 8; ++i) {
      row.plane[1][i] = static_cast<uint8_t>(engine());
      row.plane[2][i] = static_cast<uint8_t>(engine());
    }
    row.as<Float16>(3)[0].bits = static_cast<uint16_t>(engine() & 0xbbffu);  // finite, either sign
    row.as<Float16>(4)[0].bits = static_cast<uint16_t>(engine() & 0xbbffu);
    const double d = static_cast<float>(row.as<Float16>(3)[0]);
    const double dmin = static_cast<float>(row.as<Float16>(4)[0]);
    const std::vector<float> values = floats_of(weight.dequantize());
    for (int k = 0; k < 256; ++k) {
      const int q = row.plane[0][k / 2] >> (k % 2 * 4) & 15;
      const double exact = q * row.plane[1][k / 32] * d - row.plane[2][k / 32] * dmin;
      ASSERT_EQ(values[static_cast<size_t>(k)], static_cast<float>(exact)) << round << " " << k;
    }
  }
}

TEST(ExactInt4, SizesAndBits) {
  const Weight weight = Weight::empty(kExact, 3, 512, 32);
  EXPECT_EQ(weight.nbytes(), 3u * (256 + 16 + 16 + 4 + 4));
  EXPECT_EQ(weight.bits_per_weight(), 4.625);
}

TEST(ExactInt4, AWeightChecksItsTensors) {
  const Weight good = Weight::empty(kExact, 4, 512, 32);
  const auto with = [&](size_t index, std::vector<int64_t> sizes, DType dtype) {
    std::vector<Tensor> planes = good.planes();
    planes[index] = Tensor::empty(sizes, dtype);
    return error_of([&] { Weight(kExact, planes, 32); }).status();
  };
  EXPECT_EQ(with(0, {4, 256}, DType::UInt8), Status::Ok);
  EXPECT_EQ(with(0, {4, 192}, DType::UInt8), Status::InvalidArgument);
  EXPECT_EQ(with(0, {4, 256}, DType::Int8), Status::InvalidType);
  EXPECT_EQ(with(1, {16, 4}, DType::UInt8), Status::InvalidArgument);
  EXPECT_EQ(with(2, {4, 16}, DType::Float16), Status::InvalidType);
  EXPECT_EQ(with(3, {4, 2}, DType::BFloat16), Status::InvalidType);
  EXPECT_EQ(with(4, {4, 1}, DType::Float16), Status::InvalidArgument);
  for (const int64_t group_size : {-32, 0, 16, 64, 256}) {
    const Error error = error_of([&] { Weight(kExact, good.planes(), group_size); });
    EXPECT_EQ(error.status(), Status::InvalidArgument) << group_size;
  }
  EXPECT_STREQ(error_of([&] { Weight(kExact, good.planes(), 64); }).what(),
               "ExactInt4: group size 64 is not 32");
}

TEST(ExactInt4, IsATypeOfItsOwn) {
  const FormatId c = kFormatId<CoalescedInt4Traits<Metadata::C>>;
  EXPECT_NO_THROW(ExactInt4(Weight::empty(kExact, 1, 256, 32)));
  EXPECT_THROW(ExactInt4(Weight::empty(c, 1, 256, 32)), Error);
  EXPECT_THROW(CoalescedInt4(Weight::empty(kExact, 1, 256, 32)), Error);
}

}  // namespace
}  // namespace aotiny
