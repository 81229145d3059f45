// The format's bits, its codec for single rows, and the weight that holds it.
#include "aotiny/quant/planar_int6.h"

#include "quant_testing.h"

namespace aotiny {
namespace {

using namespace aotiny::testing;
using TraitsC = PlanarInt6Traits<Metadata::C>;
constexpr FormatId kA = kFormatId<PlanarInt6Traits<Metadata::A>>;
constexpr FormatId kB = kFormatId<PlanarInt6Traits<Metadata::B>>;
constexpr FormatId kC = kFormatId<TraitsC>;

// One weight at a time, of code 0x2d − 32 among codes −32: the two bytes that its bits lie in.
TEST(PlanarInt6, BitsByHand) {
  struct Case {
    int64_t k, low_byte, high_byte;
    uint8_t low, high;
  };
  const Case cases[] = {{0, 0, 0, 0x0d, 0x02},   {1, 0, 4, 0xd0, 0x02},   {2, 1, 0, 0x0d, 0x08},
                        {7, 3, 4, 0xd0, 0x80},   {8, 4, 1, 0x0d, 0x02},   {21, 10, 6, 0xd0, 0x20},
                        {30, 15, 3, 0x0d, 0x80}, {31, 15, 7, 0xd0, 0x80}, {32, 16, 8, 0x0d, 0x02},
                        {63, 31, 15, 0xd0, 0x80}};
  for (const Case& c : cases) {
    std::vector<int> codes(64, -32);
    codes[static_cast<size_t>(c.k)] = 0x2d - 32;
    std::vector<uint8_t> low(32, 0x55), high(16, 0x55);  // packing writes every bit
    TraitsC::pack_codes(codes.data(), 64, {{low.data(), high.data()}, {}});
    for (int64_t i = 0; i < 32; ++i) EXPECT_EQ(low[i], i == c.low_byte ? c.low : 0) << c.k;
    for (int64_t i = 0; i < 16; ++i) EXPECT_EQ(high[i], i == c.high_byte ? c.high : 0) << c.k;
  }
}

TEST(PlanarInt6, EveryCodeComesBackEverywhere) {
  std::vector<int> codes(96), back(96);
  uint8_t low[48], high[24];
  for (int first = 0; first < 64; ++first) {
    for (int i = 0; i < 96; ++i) codes[i] = (first + 7 * i) % 64 - 32;
    TraitsC::pack_codes(codes.data(), 96, {{low, high}, {}});
    TraitsC::unpack_codes({{low, high}, {}}, 96, back.data());
    EXPECT_EQ(back, codes);
  }
}

// All codes 0x39 − 32 = 25 at even k and 0x06 − 32 = −26 at odd k.
void fill_codes(WeightRow row, int64_t k) {
  std::fill(row.plane[0], row.plane[0] + k / 2, 0x69);
  for (int64_t i = 0; i < k / 4; ++i) row.plane[1][i] = i / 4 % 2 == 0 ? 0xff : 0x00;
}

TEST(PlanarInt6, ValuesOfAByHand) {
  const Weight weight = Weight::empty(kA, 2, 96, 48);
  const WeightRow row = weight.row(1);
  fill_codes(row, 96);
  row.as<BFloat16>(2)[0] = BFloat16(0.5f);
  row.as<BFloat16>(2)[1] = BFloat16(-0.25f);
  const std::vector<float> values = floats_of(weight.dequantize());
  EXPECT_EQ(values[96], 12.5f);
  EXPECT_EQ(values[96 + 47], -13.0f);
  EXPECT_EQ(values[96 + 48], -6.25f);
  EXPECT_EQ(values[96 + 95], 6.5f);
}

TEST(PlanarInt6, ValuesOfBByHand) {
  const Weight weight = Weight::empty(kB, 2, 64, 16);
  for (const float step : {0.125f, -0.125f}) {
    const WeightRow row = weight.row(1);
    fill_codes(row, 64);
    row.as<BFloat16>(3)[0] = BFloat16(step);
    const int8_t codes[] = {2, -128, 0, 127};
    std::copy(codes, codes + 4, row.as<int8_t>(2));
    const std::vector<float> values = floats_of(weight.dequantize());
    for (int group = 0; group < 4; ++group) {
      EXPECT_EQ(values[64 + 16 * group], 25 * codes[group] * step);
      EXPECT_EQ(values[64 + 16 * group + 15], -26 * codes[group] * step);
    }
  }
}

// Any bits of the planes against the exact numbers, negative steps and codes among them.
TEST(PlanarInt6, ValuesOfCAreExact) {
  const Weight weight = Weight::empty(kC, 1, 512, 16);
  const WeightRow row = weight.row(0);
  std::mt19937 engine(3);
  for (int round = 0; round < 50; ++round) {
    for (int plane = 0; plane < 3; ++plane) {
      const int64_t bytes = weight.planes()[plane].numel();
      for (int64_t i = 0; i < bytes; ++i) row.plane[plane][i] = static_cast<uint8_t>(engine());
    }
    for (int i = 0; i < 2; ++i) {
      row.as<Float16>(3)[i].bits = static_cast<uint16_t>(engine() & 0xbbffu);  // finite
    }
    const std::vector<float> values = floats_of(weight.dequantize());
    for (int k = 0; k < 512; ++k) {
      const int low = row.plane[0][k / 2] >> (k % 2 * 4) & 15;
      const int word = k % 32 / 8, place = k % 8 / 2;
      const int high = row.plane[1][k / 32 * 8 + k % 2 * 4 + word] >> (2 * place) & 3;
      const double step = static_cast<float>(row.as<Float16>(3)[k / 256]);
      const double exact = (low + 16 * high - 32) * row.as<int8_t>(2)[k / 16] * step;
      ASSERT_EQ(values[static_cast<size_t>(k)], exact) << round << " " << k;
    }
  }
}

TEST(PlanarInt6, BothEndsOfTheRangeFit) {
  EXPECT_EQ(TraitsC::params_of_range(-32, 30).scale, 1);
  EXPECT_EQ(TraitsC::params_of_range(-16, 62).scale, 2);
  EXPECT_EQ(TraitsC::params_of_range(4, 31).scale, 1);
  EXPECT_EQ(TraitsC::params_of_range(-64, -1).scale, 2);
  EXPECT_EQ(TraitsC::params_of_range(0, 0).scale, 0);
}

TEST(PlanarInt6, AQuantizerMakesScalesAndStepsPositive) {
  for (const FormatId format : {kA, kB, kC}) {
    const Weight weight = random_weight(format, 5, 512, 16, 7);
    for (const float scale : floats_of(weight.planes()[2])) EXPECT_GT(scale, 0);
    for (const float step : floats_of(weight.planes().back())) EXPECT_GT(step, 0);
  }
}

// Compacting keeps the sign that a scale has.
TEST(PlanarInt6, NegativeScalesAreConverted) {
  const Weight from = Weight::empty(kA, 1, 256, 16);
  const WeightRow row = from.row(0);
  fill_codes(row, 256);
  for (int i = 0; i < 16; ++i) row.as<BFloat16>(2)[i] = BFloat16(i % 2 == 0 ? 0.5f : -0.25f);
  for (const FormatId format : {kB, kC}) {
    const Weight to = convert(from, format);
    const std::vector<float> values = floats_of(to.dequantize()),
                             expected = floats_of(from.dequantize());
    EXPECT_LT(relative_error(values, expected), 0.01);
    EXPECT_LT(to.planes()[2].data<int8_t>()[1], 0);
  }
}

TEST(PlanarInt6, SizesAndBits) {
  const Weight a = Weight::empty(kA, 3, 384, 16);
  EXPECT_EQ(a.nbytes(), 3u * (192 + 96 + 48));
  EXPECT_EQ(a.bits_per_weight(), 7);
  const Weight b = Weight::empty(kB, 3, 384, 16);
  EXPECT_EQ(b.nbytes(), 3u * (192 + 96 + 24 + 2));
  EXPECT_EQ(b.bits_per_weight(), 6.5 + 16.0 / 384);
  const Weight c = Weight::empty(kC, 3, 512, 16);
  EXPECT_EQ(c.nbytes(), 3u * (256 + 128 + 32 + 4));
  EXPECT_EQ(c.bits_per_weight(), 6.5625);
}

TEST(PlanarInt6, AWeightChecksItsTensors) {
  const auto with = [](FormatId format, size_t index, std::vector<int64_t> sizes, DType dtype) {
    std::vector<Tensor> planes = Weight::empty(format, 4, 512, 16).planes();
    planes[index] = Tensor::empty(sizes, dtype);
    return error_of([&] { Weight(format, planes, 16); }).status();
  };
  EXPECT_EQ(with(kB, 1, {4, 128}, DType::UInt8), Status::Ok);
  EXPECT_EQ(with(kB, 0, {4, 128}, DType::UInt8), Status::InvalidArgument);
  EXPECT_EQ(with(kB, 1, {4, 256}, DType::UInt8), Status::InvalidArgument);
  EXPECT_EQ(with(kB, 1, {4, 128}, DType::Int8), Status::InvalidType);
  EXPECT_EQ(with(kB, 2, {4, 32}, DType::UInt8), Status::InvalidType);
  EXPECT_EQ(with(kB, 2, {32, 4}, DType::Int8), Status::InvalidArgument);
  EXPECT_EQ(with(kB, 3, {4, 2}, DType::BFloat16), Status::InvalidArgument);
  EXPECT_EQ(with(kB, 3, {4, 1}, DType::Float16), Status::InvalidType);
  EXPECT_EQ(with(kC, 3, {4, 1}, DType::Float16), Status::InvalidArgument);
  EXPECT_EQ(with(kA, 2, {4, 32}, DType::Float16), Status::InvalidType);
}

TEST(PlanarInt6, GroupsAreMultiplesOf16) {
  const auto what = [](FormatId format, int64_t k, int64_t group_size) {
    return std::string(error_of([&] { Weight::empty(format, 1, k, group_size); }).what());
  };
  for (const int64_t group_size : {16, 32, 48, 96}) EXPECT_EQ(what(kB, 96, group_size), "");
  for (const int64_t group_size : {16, 32, 64, 128, 256}) EXPECT_EQ(what(kC, 512, group_size), "");
  EXPECT_NE(what(kB, 96, 24).find("group size 24 is not a positive multiple of 16"),
            std::string::npos);
  EXPECT_NE(what(kB, 48, 16).find("K = 48 is not a multiple of 32"), std::string::npos);
  EXPECT_NE(what(kB, 64, 48).find("K = 64 is not a multiple of the group size 48"),
            std::string::npos);
  EXPECT_NE(what(kC, 768, 48).find("group size 48 does not divide 256"), std::string::npos);
  EXPECT_EQ(format_info(kB).default_group, 16);
}

// Beyond what the steps can hold there is no silent infinity.
TEST(PlanarInt6, TheLargestMagnitudesStayFinite) {
  for (const FormatId format : {kA, kB, kC}) {
    const float largest = format_info(format).largest;
    std::vector<float> values(512, largest);
    std::fill(values.begin() + 256, values.end(), -largest);
    const Weight weight = quantize(tensor_of(values, {1, 512}), format, 16);
    for (const float value : floats_of(weight.dequantize())) {
      EXPECT_NEAR(std::fabs(value) / largest, 1, 0.005) << format_name(format);
    }
    values[100] = std::nextafter(largest, INFINITY);
    EXPECT_THROW(quantize(tensor_of(values, {1, 512}), format, 16), Error);
  }
}

}  // namespace
}  // namespace aotiny
