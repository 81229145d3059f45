// The format's bits, its codec for single rows, and the weight that holds it.
#include "aotiny/quant/coalesced_int4.h"

#include "quant_testing.h"

namespace aotiny {
namespace {

using namespace aotiny::testing;
using TraitsA = CoalescedInt4Traits<Metadata::A>;
using TraitsB = CoalescedInt4Traits<Metadata::B>;
using TraitsC = CoalescedInt4Traits<Metadata::C>;
constexpr FormatId kA = kFormatId<TraitsA>;
constexpr FormatId kB = kFormatId<TraitsB>;
constexpr FormatId kC = kFormatId<TraitsC>;

TEST(CoalescedInt4, EvenKIsTheLowNibble) {
  std::vector<int> codes(32);
  for (int i = 0; i < 32; ++i) codes[i] = i % 16;
  uint8_t bytes[16];
  TraitsA::pack_codes(codes.data(), 32, {{bytes}, {}});
  EXPECT_EQ(bytes[0], 0x10);
  EXPECT_EQ(bytes[3], 0x76);
  EXPECT_EQ(bytes[15], 0xfe);
  std::vector<int> back(32, -1);
  TraitsB::unpack_codes({{bytes}, {}}, 32, back.data());
  EXPECT_EQ(back, codes);
}

// By hand: q = 3 and 12, zero 7.5, scale 0.25.
TEST(CoalescedInt4, ValuesOfMetadataA) {
  const Weight weight = Weight::empty(kA, 1, 32, 32);
  const WeightRow row = weight.row(0);
  std::fill(row.plane[0], row.plane[0] + 16, 0xc3);
  row.as<BFloat16>(1)[0] = BFloat16(0.25f);
  row.as<BFloat16>(2)[0] = BFloat16(7.5f);
  const std::vector<float> values = floats_of(weight.dequantize());
  EXPECT_EQ(values[0], -1.125f);
  EXPECT_EQ(values[1], 1.125f);
  EXPECT_EQ(values[31], 1.125f);
}

// By hand: scale 128·2^-9, zero 150·2^-4 in the second group of the second row.
TEST(CoalescedInt4, ValuesOfMetadataB) {
  const Weight weight = Weight::empty(kB, 2, 64, 32);
  const WeightRow row = weight.row(1);
  std::fill(row.plane[0], row.plane[0] + 32, 0x0f);
  row.plane[1][1] = 128;
  row.plane[2][1] = 150;
  row.as<BFloat16>(3)[0] = BFloat16(0x1p-9f);
  row.as<BFloat16>(3)[1] = BFloat16(0x1p-4f);
  const std::vector<float> values = floats_of(weight.dequantize());
  EXPECT_EQ(values[64 + 32], (15 - 9.375f) * 0.25f);
  EXPECT_EQ(values[64 + 33], -9.375f * 0.25f);
}

// By hand: scale 200·2^-10, zero 96·2^-4 in the fourth group, of the second super-block; the steps
// of the first are another's.
TEST(CoalescedInt4, ValuesOfMetadataC) {
  const Weight weight = Weight::empty(kC, 2, 512, 128);
  const WeightRow row = weight.row(1);
  std::fill(row.plane[0], row.plane[0] + 256, 0x0f);
  std::fill(row.plane[1], row.plane[1] + 4, 1);
  std::fill(row.plane[3], row.plane[3] + 4, 1);
  row.plane[1][3] = 200;
  row.plane[3][3] = 96;
  row.as<Float16>(2)[0] = Float16(1.0f);
  row.as<Float16>(4)[0] = Float16(2.0f);
  row.as<Float16>(2)[1] = Float16(0x1p-10f);
  row.as<Float16>(4)[1] = Float16(0x1p-4f);
  const std::vector<float> values = floats_of(weight.dequantize());
  EXPECT_EQ(values[512], 13.0f);
  EXPECT_EQ(values[512 + 255], -2.0f);
  EXPECT_EQ(values[512 + 256], (15 - 0.0625f) * 0x1p-10f);
  EXPECT_EQ(values[512 + 384], 9.0f * 0.1953125f);
  EXPECT_EQ(values[512 + 511], -6.0f * 0.1953125f);
}

// A super-block far smaller than its row's largest keeps its precision, down to where fp16 steps
// end.
TEST(CoalescedInt4, SuperBlocksOfMetadataCStandAlone) {
  for (const float small : {1e-2f, 1e-4f, 2e-6f}) {
    std::vector<float> values = gaussian(512, 40);
    for (size_t i = 256; i < 512; ++i) values[i] *= small;
    const std::vector<float> back =
        floats_of(quantize(tensor_of(values, {1, 512}), kC, 32).dequantize());
    const std::vector<float> tail(values.begin() + 256, values.end());
    EXPECT_LT(relative_error(std::vector<float>(back.begin() + 256, back.end()), tail),
              small < 1e-5f ? 0.2 : 0.1)
        << small;
  }
}

TEST(CoalescedInt4, SizesAndBits) {
  const Weight a = Weight::empty(kA, 7, 384, 32), b = Weight::empty(kB, 7, 384, 32);
  EXPECT_EQ(a.nbytes(), 7u * (192 + 2 * 12 + 2 * 12));
  EXPECT_EQ(a.bits_per_weight(), 5.0);
  EXPECT_EQ(b.nbytes(), 7u * (192 + 12 + 12 + 4));
  EXPECT_EQ(a.planes()[1].sizes()[1], 12);
  EXPECT_EQ(b.planes()[3].sizes()[1], 2);
  const Weight c = Weight::empty(kC, 7, 768, 32);
  EXPECT_EQ(c.nbytes(), 7u * (384 + 24 + 6 + 24 + 6));
  EXPECT_EQ(c.bits_per_weight(), 4.625);
}

TEST(CoalescedInt4, AWeightChecksItsTensors) {
  const Weight good = Weight::empty(kB, 4, 64, 32);
  const auto with = [&](size_t index, Tensor plane) {
    std::vector<Tensor> planes = good.planes();
    planes[index] = std::move(plane);
    return error_of([&] { Weight(kB, planes, 32); });
  };
  const auto empty = [](std::vector<int64_t> sizes, DType dtype) {
    return Tensor::empty(sizes, dtype);
  };
  EXPECT_EQ(with(0, empty({4, 32}, DType::UInt8)).status(), Status::Ok);
  EXPECT_EQ(with(0, Tensor()).status(), Status::InvalidArgument);
  EXPECT_EQ(with(0, empty({32}, DType::UInt8)).status(), Status::InvalidArgument);
  EXPECT_EQ(with(0, empty({4, 32}, DType::Int8)).status(), Status::InvalidType);
  EXPECT_EQ(with(0, empty({4, 33}, DType::UInt8)).status(), Status::InvalidArgument);
  EXPECT_EQ(with(0, empty({0, 32}, DType::UInt8)).status(), Status::InvalidArgument);
  EXPECT_EQ(with(1, Tensor()).status(), Status::InvalidType);
  EXPECT_EQ(with(2, empty({4, 2}, DType::BFloat16)).status(), Status::InvalidType);
  EXPECT_EQ(with(3, empty({2, 4}, DType::BFloat16)).status(), Status::InvalidArgument);
  // The native layout of other runtimes, groups first, is a wrong shape ...
  const Error native = with(1, empty({2, 4}, DType::UInt8));
  EXPECT_EQ(native.status(), Status::InvalidArgument);
  EXPECT_STREQ(native.what(),
               "CoalescedInt4: scale has shape [2, 4], not [4, 2], which N = 4, K = 64 and group "
               "size 32 need");
  // ... and as a transposed view it is not contiguous.
  EXPECT_EQ(with(1, empty({2, 4}, DType::UInt8).transpose(0, 1)).status(), Status::InvalidArgument);
  for (const int64_t group_size : {-32, 0, 16, 48, 96, 128}) {
    EXPECT_EQ(error_of([&] { Weight(kB, good.planes(), group_size); }).status(),
              Status::InvalidArgument)
        << group_size;
  }
  EXPECT_EQ(error_of([&] { Weight(kA, good.planes(), 32); }).status(), Status::InvalidArgument);
}

TEST(CoalescedInt4, IsATypeOfItsOwn) {
  EXPECT_NO_THROW(CoalescedInt4(Weight::empty(kA, 1, 32, 32)));
  EXPECT_NO_THROW(CoalescedInt4(Weight::empty(kB, 1, 32, 32)));
  EXPECT_NO_THROW(CoalescedInt4(Weight::empty(kC, 1, 256, 32)));
  EXPECT_THROW(Int8(Weight::empty(kA, 1, 32, 32)), Error);
}

TEST(CoalescedInt4, EqualityComparesBytesAndKinds) {
  const std::vector<float> values = gaussian(4 * 64, 1);
  const Tensor array = tensor_of(values, {4, 64});
  const Weight weight = quantize(array, kA, 32);
  EXPECT_TRUE(weight == quantize(array, kA, 32));
  EXPECT_FALSE(weight == quantize(array, kB, 32));
  EXPECT_FALSE(weight == quantize(array, kA, 64));
  const Weight other = quantize(array, kA, 32);
  other.row(3).plane[0][31] ^= 1;
  EXPECT_FALSE(weight == other);
}

}  // namespace
}  // namespace aotiny
