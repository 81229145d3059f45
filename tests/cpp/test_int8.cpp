#include "aotiny/quant/int8.h"

#include "quant_testing.h"

namespace aotiny {
namespace {

using namespace aotiny::testing;
constexpr FormatId kInt8 = kFormatId<Int8Traits<Metadata::A>>;

TEST(Int8, CodesAreSignedBytes) {
  std::vector<int> codes(256);
  for (int i = 0; i < 256; ++i) codes[i] = i - 128;
  uint8_t bytes[256];
  Int8Traits<Metadata::A>::pack_codes(codes.data(), 256, {{bytes}, {}});
  EXPECT_EQ(bytes[0], 0x80);
  EXPECT_EQ(bytes[127], 0xff);
  EXPECT_EQ(bytes[255], 0x7f);
  std::vector<int> back(256);
  Int8Traits<Metadata::A>::unpack_codes({{bytes}, {}}, 256, back.data());
  EXPECT_EQ(back, codes);
}

TEST(Int8, ValuesByHand) {
  const Weight weight = Weight::empty(kInt8, 1, 64, 32);
  const WeightRow row = weight.row(0);
  std::fill(row.plane[0], row.plane[0] + 64, 0x81);  // −127
  row.as<BFloat16>(1)[1] = BFloat16(0.5f);
  row.as<int8_t>(2)[1] = -100;
  row.as<BFloat16>(1)[0] = BFloat16(2.0f);
  row.as<int8_t>(2)[0] = 127;
  const std::vector<float> values = floats_of(weight.dequantize());
  EXPECT_EQ(values[0], -508.0f);
  EXPECT_EQ(values[63], -13.5f);
}

TEST(Int8, SizesAndBits) {
  const Weight weight = Weight::empty(kInt8, 3, 384, 32);
  EXPECT_EQ(weight.nbytes(), 3u * (384 + 24 + 12));
  EXPECT_EQ(weight.bits_per_weight(), 8.75);
}

TEST(Int8, AWeightChecksItsTensors) {
  const Weight good = Weight::empty(kInt8, 4, 64, 32);
  const auto with = [&](size_t index, std::vector<int64_t> sizes, DType dtype) {
    std::vector<Tensor> planes = good.planes();
    planes[index] = Tensor::empty(sizes, dtype);
    return error_of([&] { Weight(kInt8, planes, 32); }).status();
  };
  EXPECT_EQ(with(0, {4, 64}, DType::Int8), Status::Ok);
  EXPECT_EQ(with(0, {4, 64}, DType::UInt8), Status::InvalidType);
  EXPECT_EQ(with(1, {4, 2}, DType::Float32), Status::InvalidType);
  EXPECT_EQ(with(2, {4, 2}, DType::BFloat16), Status::InvalidType);
  EXPECT_EQ(with(2, {4, 3}, DType::Int8), Status::InvalidArgument);
  EXPECT_EQ(with(2, {2, 4}, DType::Int8), Status::InvalidArgument);
}

TEST(Formats, AreFoundByName) {
  EXPECT_EQ(find_format("Int8", "A"), kInt8);
  EXPECT_EQ(find_format("CoalescedInt4", "B"), kFormatId<CoalescedInt4Traits<Metadata::B>>);
  EXPECT_THROW(find_format("CoalescedInt4", ""), Error);
  EXPECT_THROW(find_format("Int8", ""), Error);
  EXPECT_THROW(format_info(FormatId{-1}), Error);
  EXPECT_THROW(format_info(FormatId{Formats::kCount}), Error);
}

}  // namespace
}  // namespace aotiny
