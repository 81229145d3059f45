// convert() between formats: how near the values stay, what is exact, what is refused.
#include "quant_testing.h"

namespace aotiny {
namespace {

using namespace aotiny::testing;

const FormatId kA = find_format("CoalescedInt4", "A");
const FormatId kH = find_format("CoalescedInt4", "H");
const FormatId kB = find_format("CoalescedInt4", "B");
const FormatId kC = find_format("CoalescedInt4", "C");
const FormatId kExact = find_format("ExactInt4", "");
const FormatId kPlain16 = find_format("Int4Plain", "float16");
const FormatId kPlain32 = find_format("Int4Plain", "float32");
const FormatId kTiles = find_format("Int4TilePacked", "4");

// The formats with codes 0..15 or −8..7.
const FormatId kFourBits[] = {kA, kH, kB, kC, kExact, kPlain16, kPlain32, kTiles};

// A weight of CoalescedInt4 A or H in groups of 32, with codes 0, 1, ... 15, 0, ... throughout.
template <class T>
Weight with_params(int64_t n, int64_t k, const std::vector<float>& scale,
                   const std::vector<float>& zero) {
  const Weight weight = Weight::empty(std::is_same_v<T, Float16> ? kH : kA, n, k, 32);
  for (int64_t i = 0; i < n * k / 2; ++i) {
    weight.planes()[0].data<uint8_t>()[i] =
        static_cast<uint8_t>((2 * i) % 16 | (2 * i + 1) % 16 << 4);
  }
  for (int64_t i = 0; i < n * k / 32; ++i) {
    weight.planes()[1].data<T>()[i] = T(scale[i % scale.size()]);
    weight.planes()[2].data<T>()[i] = T(zero[i % zero.size()]);
  }
  return weight;
}

// The largest distance between two weights' values, in steps: the range of a group of `from` / 15.
double steps_apart(const Weight& from, const Weight& to) {
  const std::vector<float> a = floats_of(from.dequantize()), b = floats_of(to.dequantize());
  double worst = 0;
  for (size_t i = 0; i < a.size(); i += 32) {
    const auto [lo, hi] = std::minmax_element(a.begin() + i, a.begin() + i + 32);
    for (size_t j = i; j < i + 32; ++j) {
      const double apart = std::fabs(static_cast<double>(a[j]) - b[j]);
      if (apart > 0) worst = std::max(worst, apart * 15 / (double{*hi} - *lo));
    }
  }
  return worst;
}

// Every format from every other, within what rounding scales (1/512 of 8 to 15 steps, or a code of
// 1/510 of the largest) and zeros (1/32 step) takes.
TEST(Convert, StaysWithinWhatTheMetadataHolds) {
  const Tensor values = tensor_of(gaussian(24 * 512, 1, 0.05f), {24, 512});
  for (const FormatId source : kFourBits) {
    const Weight from = quantize(values, source, 32);
    for (const FormatId target : kFourBits) {
      const Weight to = convert(from, target);
      EXPECT_EQ(to.format(), target);
      EXPECT_LT(steps_apart(from, to), 0.7) << format_name(source) << " " << format_name(target);
      EXPECT_LT(relative_error(floats_of(to.dequantize()), floats_of(from.dequantize())), 0.012)
          << format_name(source) << " " << format_name(target);
    }
  }
}

// Converting is not quantizing again: what is lost on the way A, B, C, A is that of the metadata,
// far less than a step of 4 bits, and the codes stay.
TEST(Convert, ThereAndBackKeepsTheCodes) {
  const Tensor values = tensor_of(gaussian(16 * 512, 2), {16, 512});
  const Weight a = quantize(values, kA, 64);
  const Weight back = convert(convert(convert(a, kB), kC), kA);
  const std::vector<float> original = floats_of(values);
  const double before = relative_error(floats_of(a.dequantize()), original);
  EXPECT_LT(relative_error(floats_of(back.dequantize()), original), 1.02 * before);
  int64_t changed = 0;
  for (int64_t i = 0; i < a.planes()[0].numel(); ++i) {
    changed += a.planes()[0].data<uint8_t>()[i] != back.planes()[0].data<uint8_t>()[i];
  }
  EXPECT_LT(changed, a.planes()[0].numel() / 100);
}

TEST(Convert, ToTheSameFormatIsTheSameWeight) {
  for (int i = 0; i < Formats::kCount; ++i) {
    const FormatId format{i};
    const Weight weight = random_weight(format, 16, 512, 32, 3);
    EXPECT_TRUE(convert(weight, format) == weight) << format_name(format);
  }
}

// bf16 to fp16 and back, within the range of fp16.
TEST(Convert, BetweenAAndHIsExact) {
  const Weight a =
      with_params<BFloat16>(4, 256, {0.5f, 0.01f, -0.25f, 3.0f}, {8, 0, 7.5f, -20, 19});
  const Weight h = convert(a, kH);
  EXPECT_EQ(floats_of(h.dequantize()), floats_of(a.dequantize()));
  EXPECT_TRUE(convert(h, kA) == a);
}

// Symmetric weights have zero 8: it stays 8, and 0 stays 0, also where zeros are codes.
TEST(Convert, IntegerZerosStay) {
  const Weight a = with_params<BFloat16>(8, 512, {0.75f, 0.5f, 0.03f}, {8, 7, 15, 0});
  const std::vector<float> expected = floats_of(a.dequantize());
  for (const FormatId target : kFourBits) {
    const std::vector<float> actual = floats_of(convert(a, target).dequantize());
    if (target == kExact || target == kTiles) continue;  // their mins are rounded by themselves
    for (size_t i = 0; i < actual.size(); ++i) {
      if (expected[i] != 0) continue;
      ASSERT_EQ(actual[i], 0) << format_name(target) << " " << i;
    }
  }
  for (const FormatId target : {kB, kC}) {
    const Weight to = convert(a, target);
    const int64_t groups = 16;
    std::vector<float> scale(groups), zero(groups);
    visit_format(target, [&](auto traits) {
      traits.decode_params(to.row(1), groups, 32, scale.data(), zero.data());
    });
    for (int64_t i = 0; i < groups; ++i) EXPECT_EQ(zero[i], floats_of(a.planes()[2])[16 + i]);
  }
}

// B, C and ExactInt4 have no negative scales; a group with one is turned around.
TEST(Convert, NegativeScalesTurnAround) {
  const Weight h = with_params<Float16>(8, 512, {-0.5f, -0.125f, 0.5f}, {8, 7.25f});
  for (const FormatId target : {kB, kC, kExact}) {
    EXPECT_LT(steps_apart(h, convert(h, target)), 0.6) << format_name(target);
  }
  for (const FormatId target : {kA, kPlain32, kTiles}) {
    EXPECT_LT(steps_apart(h, convert(h, target)), 0.04) << format_name(target);
  }
}

// Where zeros are codes, a range without 0 is widened to hold it; those beside it stay fine.
TEST(Convert, GroupsWithoutZeroDoNotCoarsenTheOthers) {
  for (const float far : {300.0f, -300.0f}) {
    const Weight a = with_params<BFloat16>(1, 256, {0.5f}, {far, 8, 7.5f, 8, 3, 4, 5, 6});
    const std::vector<float> expected = floats_of(a.dequantize());
    for (const FormatId target : {kB, kC, kExact}) {
      const std::vector<float> actual = floats_of(convert(a, target).dequantize());
      const float widened = (300 + 15) * 0.5f / 15;
      for (size_t i = 0; i < 32; ++i) {
        ASSERT_NEAR(actual[i], expected[i], 0.51f * widened + 1) << format_name(target) << far;
      }
      // Their scales are codes of the largest, now `widened`.
      for (size_t i = 32; i < 256; ++i) {
        ASSERT_NEAR(actual[i], expected[i], 0.8f) << format_name(target) << far << " " << i;
      }
    }
  }
}

// Scale 0 with a zero_point is a constant group.
TEST(Convert, ConstantGroups) {
  const std::vector<float> values(512, -0.75f);
  const Weight from = quantize(tensor_of(values, {1, 512}), kPlain32, 64);
  ASSERT_EQ(floats_of(from.planes()[1])[0], 0);
  for (const FormatId target : kFourBits) {
    if (target == kTiles || target == kExact) continue;
    for (const float value : floats_of(convert(from, target).dequantize())) {
      ASSERT_NEAR(value, -0.75f, 0.003f) << format_name(target);
    }
  }
  const Weight zeros = quantize(tensor_of(std::vector<float>(512), {1, 512}), kPlain32, 64);
  for (const FormatId target : {kA, kH, kB, kC}) {
    for (const float value : floats_of(convert(zeros, target).dequantize())) ASSERT_EQ(value, 0);
  }
}

// fp16 ends long before bf16: a scale or zero that it lacks must not become infinity or 0.
TEST(Convert, WhatFloat16LacksIsChosenAnew) {
  struct Case {
    float scale, zero;
  };
  for (const Case c : {Case{1e-9f, -50000}, Case{1e-4f, -1e6f}, Case{1e-4f, 1e6f}}) {
    const Weight a = with_params<BFloat16>(1, 256, {c.scale}, {c.zero});
    const std::vector<float> expected = floats_of(a.dequantize());
    for (const FormatId target : {kH, kPlain16}) {
      const std::vector<float> actual = floats_of(convert(a, target).dequantize());
      const float tolerance = std::max(std::fabs(c.scale * c.zero) / 1900, 1e-7f);
      for (size_t i = 0; i < actual.size(); ++i) {
        ASSERT_NEAR(actual[i], expected[i], tolerance) << format_name(target) << " " << c.scale;
      }
    }
  }
}

TEST(Convert, RefusesValuesBeyondTheTarget) {
  const Weight a = with_params<BFloat16>(3, 256, {1, 1, 1, 1, 1, 1, 1, 1, 1, 65536}, {8});
  for (const auto& [target, largest] : {std::pair{kH, "65504"}, std::pair{kPlain16, "65504"}}) {
    const Error error = error_of([&] { convert(a, target); });
    EXPECT_EQ(error.status(), Status::InvalidArgument);
    const std::string text = error.what();
    EXPECT_NE(text.find("convert: the value at [1, 32] is -524288"), std::string::npos) << text;
    EXPECT_NE(text.find(largest), std::string::npos) << text;
  }
  const Weight bad = with_params<BFloat16>(1, 256, {1, NAN}, {8});
  EXPECT_NE(std::string(error_of([&] { convert(bad, kB); }).what()).find("[0, 32] is nan"),
            std::string::npos);
}

// All values of the group are 0, whatever its scale.
TEST(Convert, AScaleBeyondFloat16WithoutValuesIsNoInfinity) {
  Weight a = with_params<BFloat16>(1, 256, {1e6f}, {8});
  std::fill_n(a.planes()[0].data<uint8_t>(), 128, uint8_t{0x88});
  for (const float value : floats_of(convert(a, kH).dequantize())) ASSERT_EQ(value, 0);
}

TEST(Convert, RefusesOtherWidths) {
  const Weight int4 = random_weight(kA, 8, 512, 32, 4);
  const Weight int8 = random_weight(find_format("Int8", "A"), 8, 512, 32, 5);
  const Weight int6 = random_weight(find_format("PlanarInt6", "A"), 8, 512, 32, 6);
  const auto refusal = [](const Weight& weight, const char* name, const char* variant) {
    const Error error = error_of([&] { convert(weight, find_format(name, variant)); });
    EXPECT_EQ(error.status(), Status::InvalidType);
    return std::string(error.what());
  };
  EXPECT_NE(refusal(int4, "Int8", "A").find("CoalescedInt4A have no place in Int8A"),
            std::string::npos);
  refusal(int8, "CoalescedInt4", "B");
  refusal(int4, "PlanarInt6", "A");
  refusal(int6, "CoalescedInt4", "A");
  refusal(int6, "Int8", "A");
  refusal(random_weight(kExact, 8, 512, 32, 7), "ExactInt5", "");
  const Error shape = error_of([&] { convert(random_weight(kA, 8, 96, 32, 8), kC); });
  EXPECT_NE(std::string(shape.what()).find("K = 96"), std::string::npos) << shape.what();
}

TEST(Convert, StacksAndOtherBits) {
  const Tensor values = tensor_of(gaussian(3 * 8 * 512, 9), {3, 8, 512});
  const Weight stack = convert(quantize(values, kA, 32), kTiles);
  EXPECT_EQ(stack.sizes(), (std::vector<int64_t>{3, 8, 512}));
  const std::vector<float> all = floats_of(stack.dequantize());
  for (int64_t b = 0; b < 3; ++b) {
    const Weight one = convert(quantize(values.select(0, b), kA, 32), kTiles);
    const std::vector<float> part = floats_of(one.dequantize());
    EXPECT_TRUE(std::equal(part.begin(), part.end(), all.begin() + b * 8 * 512));
  }
  for (const auto& [name, from, to] : {std::tuple{"Int8", "A", "H"},
                                       {"Int8", "H", "A"},
                                       {"PlanarInt6", "A", "B"},
                                       {"PlanarInt6", "A", "C"},
                                       {"PlanarInt6", "C", "A"}}) {
    const Weight weight = quantize(values, find_format(name, from), 32);
    const Weight other = convert(weight, find_format(name, to));
    EXPECT_LT(relative_error(floats_of(other.dequantize()), floats_of(weight.dequantize())), 0.005)
        << name << from << to;
  }
}

}  // namespace
}  // namespace aotiny
