// The format's bits, its codec for single rows, and the weight that holds it.
#include "aotiny/quant/exact_int5.h"

#include "quant_testing.h"

namespace aotiny {
namespace {

using namespace aotiny::testing;
constexpr FormatId kExact = kFormatId<ExactInt5Traits>;

// One weight at a time: the two bytes that its code's bits lie in.
TEST(ExactInt5, BitsByHand) {
  struct Case {
    int64_t k, low_byte, high_byte;
    uint8_t low, high;
  };
  const Case cases[] = {{0, 0, 0, 0x0e, 0x01},   {1, 0, 0, 0xe0, 0x10},   {2, 1, 1, 0x0e, 0x01},
                        {8, 4, 0, 0x0e, 0x02},   {15, 7, 3, 0xe0, 0x20},  {16, 8, 0, 0x0e, 0x04},
                        {25, 12, 0, 0xe0, 0x80}, {31, 15, 3, 0xe0, 0x80}, {32, 16, 4, 0x0e, 0x01},
                        {61, 30, 6, 0xe0, 0x80}};
  for (const Case& c : cases) {
    std::vector<int> codes(64);
    codes[static_cast<size_t>(c.k)] = 0x1e;
    std::vector<uint8_t> low(32, 0x55), high(8, 0x55);  // packing writes every bit
    ExactInt5Traits::pack_codes(codes.data(), 64, {{low.data(), high.data()}, {}});
    for (int64_t i = 0; i < 32; ++i) EXPECT_EQ(low[i], i == c.low_byte ? c.low : 0) << c.k;
    for (int64_t i = 0; i < 8; ++i) EXPECT_EQ(high[i], i == c.high_byte ? c.high : 0) << c.k;
  }
}

// What the kernels rely on: a shifted and masked word of qh is the fifth bits of four codes, in the
// bytes of their low bits.
TEST(ExactInt5, WordsOfFifthBits) {
  std::mt19937 engine(4);
  std::vector<int> codes(32);
  for (int& code : codes) code = static_cast<int>(engine() % 32);
  uint8_t low[16];
  uint32_t high;
  ExactInt5Traits::pack_codes(codes.data(), 32, {{low, reinterpret_cast<uint8_t*>(&high)}, {}});
  for (int word = 0; word < 4; ++word) {
    for (int j = 0; j < 4; ++j) {
      EXPECT_EQ((high >> word & 0x01010101u) >> (8 * j) & 255, codes[8 * word + 2 * j] >> 4);
      EXPECT_EQ((high >> (4 + word) & 0x01010101u) >> (8 * j) & 255,
                codes[8 * word + 2 * j + 1] >> 4);
    }
  }
}

TEST(ExactInt5, EveryCodeComesBackEverywhere) {
  std::vector<int> codes(96), back(96);
  uint8_t low[48], high[12];
  for (int first = 0; first < 32; ++first) {
    for (int i = 0; i < 96; ++i) codes[i] = (first + 7 * i) % 32;
    ExactInt5Traits::pack_codes(codes.data(), 96, {{low, high}, {}});
    ExactInt5Traits::unpack_codes({{low, high}, {}}, 96, back.data());
    EXPECT_EQ(back, codes);
  }
}

// By hand: scale 60·2^-10 and min 33·2^-6 in the third group of the second super-block.
TEST(ExactInt5, ValuesByHand) {
  const Weight weight = Weight::empty(kExact, 2, 512, 32);
  const WeightRow row = weight.row(1);
  std::fill(row.plane[0], row.plane[0] + 256, 0xf1);
  std::fill(row.plane[1], row.plane[1] + 64, 0xf0);  // odd k: 31, even k: 1
  std::fill(row.plane[2], row.plane[2] + 16, 1);
  std::fill(row.plane[3], row.plane[3] + 16, 2);
  row.plane[2][10] = 60;
  row.plane[3][10] = 33;
  row.as<Float16>(4)[0] = Float16(3.0f);
  row.as<Float16>(5)[0] = Float16(-0.5f);
  row.as<Float16>(4)[1] = Float16(0x1p-10f);
  row.as<Float16>(5)[1] = Float16(0x1p-6f);
  const std::vector<float> values = floats_of(weight.dequantize());
  EXPECT_EQ(values[512], 4.0f);
  EXPECT_EQ(values[512 + 255], 94.0f);
  EXPECT_EQ(values[512 + 320], 60 * 0x1p-10f - 33 * 0x1p-6f);
  EXPECT_EQ(values[512 + 351], 31 * 60 * 0x1p-10f - 33 * 0x1p-6f);
  EXPECT_EQ(values[512 + 352], 0x1p-10f - 2 * 0x1p-6f);
}

TEST(ExactInt5, ValuesAreRoundedOnce) {
  const Weight weight = Weight::empty(kExact, 1, 256, 32);
  const WeightRow row = weight.row(0);
  std::mt19937 engine(3);
  for (int round = 0; round < 50; ++round) {
    for (int plane = 0; plane < 4; ++plane) {
      const int64_t bytes = weight.planes()[plane].numel();
      for (int64_t i = 0; i < bytes; ++i) row.plane[plane][i] = static_cast<uint8_t>(engine());
    }
    row.as<Float16>(4)[0].bits = static_cast<uint16_t>(engine() & 0xbbffu);  // finite, either sign
    row.as<Float16>(5)[0].bits = static_cast<uint16_t>(engine() & 0xbbffu);
    const double d = static_cast<float>(row.as<Float16>(4)[0]);
    const double dmin = static_cast<float>(row.as<Float16>(5)[0]);
    const std::vector<float> values = floats_of(weight.dequantize());
    for (int k = 0; k < 256; ++k) {
      const int low = row.plane[0][k / 2] >> (k % 2 * 4) & 15;
      const int high = row.plane[1][k / 32 * 4 + k % 8 / 2] >> (k % 2 * 4 + k % 32 / 8) & 1;
      const double exact =
          (low + 16 * high) * row.plane[2][k / 32] * d - row.plane[3][k / 32] * dmin;
      ASSERT_EQ(values[static_cast<size_t>(k)], static_cast<float>(exact)) << round << " " << k;
    }
  }
}

TEST(ExactInt5, SizesAndBits) {
  const Weight weight = Weight::empty(kExact, 3, 512, 32);
  EXPECT_EQ(weight.nbytes(), 3u * (256 + 64 + 16 + 16 + 4 + 4));
  EXPECT_EQ(weight.bits_per_weight(), 5.625);
}

TEST(ExactInt5, AWeightChecksItsTensors) {
  const Weight good = Weight::empty(kExact, 4, 512, 32);
  const auto with = [&](size_t index, std::vector<int64_t> sizes, DType dtype) {
    std::vector<Tensor> planes = good.planes();
    planes[index] = Tensor::empty(sizes, dtype);
    return error_of([&] { Weight(kExact, planes, 32); }).status();
  };
  EXPECT_EQ(with(1, {4, 64}, DType::UInt8), Status::Ok);
  EXPECT_EQ(with(0, {4, 128}, DType::UInt8), Status::InvalidArgument);
  EXPECT_EQ(with(1, {4, 128}, DType::UInt8), Status::InvalidArgument);
  EXPECT_EQ(with(1, {4, 64}, DType::Int8), Status::InvalidType);
  EXPECT_EQ(with(2, {16, 4}, DType::UInt8), Status::InvalidArgument);
  EXPECT_EQ(with(3, {4, 16}, DType::Float16), Status::InvalidType);
  EXPECT_EQ(with(4, {4, 2}, DType::BFloat16), Status::InvalidType);
  EXPECT_EQ(with(5, {4, 1}, DType::Float16), Status::InvalidArgument);
  EXPECT_STREQ(error_of([&] { Weight(kExact, good.planes(), 64); }).what(),
               "ExactInt5: group size 64 is not 32");
}

TEST(ExactInt5, IsATypeOfItsOwn) {
  EXPECT_NO_THROW(ExactInt5(Weight::empty(kExact, 1, 256, 32)));
  EXPECT_THROW(ExactInt4(Weight::empty(kExact, 1, 256, 32)), Error);
  EXPECT_THROW(ExactInt5(Weight::empty(kFormatId<ExactInt4Traits>, 1, 256, 32)), Error);
}

}  // namespace
}  // namespace aotiny
