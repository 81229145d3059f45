#include "aotiny/quant/quantize.h"

#include <omp.h>

#include "quant_testing.h"

namespace aotiny {
namespace {

using namespace aotiny::testing;
constexpr FormatId kA = kFormatId<CoalescedInt4Traits<Metadata::A>>;

class Quantize : public ::testing::TestWithParam<FormatId> {
 protected:
  // Of a weight with rows of zeros beneath, where the format wants more rows.
  static std::vector<float> round_trip(std::vector<float> values, int64_t n, int64_t k,
                                       int64_t group_size) {
    const int64_t rows = n_for(GetParam(), n);
    values.resize(static_cast<size_t>(rows * k));
    std::vector<float> back =
        floats_of(quantize(tensor_of(values, {rows, k}), GetParam(), group_size).dequantize());
    back.resize(static_cast<size_t>(n * k));
    return back;
  }
  // Metadata in fp16 ends at about 1e-7.
  static bool has_float16(FormatId format) {
    return std::ranges::any_of(format_info(format).planes, [](const PlaneSpec& plane) {
      return plane.dtype == DType::Float16;
    });
  }
  static int levels() { return (1 << format_info(GetParam()).bits) - 1; }
};
INSTANTIATE_TEST_SUITE_P(Formats, Quantize, ::testing::ValuesIn(all_formats()),
                         [](const auto& info) { return format_name(info.param); });

// Half a step, and what rounding scale and zero to their stored types may add: a clipped end, by
// 2^-8 of the range for bf16 or u8 codes of the largest, and half a step for an integer zero.
TEST_P(Quantize, ErrorsStayWithinTheStep) {
  for (const int64_t wanted : {16, 32, 64, 80, 160}) {
    const int64_t n = n_for(GetParam(), 13), k = k_for(GetParam(), 320),
                  group_size = group_for(GetParam(), wanted);
    const std::vector<float> values = gaussian(n * k, 1, 3);
    const std::vector<float> back = round_trip(values, n, k, group_size);
    for (int64_t group = 0; group < n * k / group_size; ++group) {
      const auto begin = values.begin() + group * group_size;
      const auto range = std::minmax_element(begin, begin + group_size);
      const float width = *range.second - *range.first;
      for (int64_t i = group * group_size; i < (group + 1) * group_size; ++i) {
        ASSERT_LE(std::fabs(back[i] - values[i]), width * (1.0f / levels() + 1.0f / 128)) << i;
      }
    }
  }
}

// Encoder and decoder agree: under the metadata as stored, no other code is nearer.
TEST_P(Quantize, EveryCodeIsTheNearest) {
  const int64_t n = n_for(GetParam(), 5), k = k_for(GetParam(), 128), g = group_for(GetParam(), 32);
  const std::vector<float> values = gaussian(n * k, 2);
  const Weight weight = quantize(tensor_of(values, {n, k}), GetParam(), g);
  visit_format(GetParam(), [&](auto traits) {
    for (int64_t row = 0; row < n; ++row) {
      std::vector<int> codes(k);
      std::vector<float> scale(k / g), zero(k / g);
      traits.unpack_codes(weight.row(row), k, codes.data());
      traits.decode_params(weight.row(row), k / g, g, scale.data(), zero.data());
      for (int64_t i = 0; i < k; ++i) {
        const auto error = [&](int code) {
          return std::fabs(
              value_of(traits.kInfo.value, static_cast<float>(code), scale[i / g], zero[i / g]) -
              values[row * k + i]);
        };
        for (int code = traits.kMinCode; code <= traits.kMaxCode; ++code) {
          ASSERT_LE(error(codes[i]), error(code) + 1e-6f) << row << " " << i;
        }
      }
    }
  });
}

TEST_P(Quantize, SignalToNoise) {
  const std::vector<float> values = gaussian(64 * 1024, 3);
  const double noise =
      relative_error(round_trip(values, 64, 1024, group_for(GetParam(), 32)), values);
  const double least = levels() == 15 ? 22 : levels() == 31 ? 28 : levels() == 63 ? 33 : 46;
  EXPECT_GT(-20 * std::log10(noise), least);
}

TEST_P(Quantize, GroupsOfZerosAreExact) {
  const int64_t k = k_for(GetParam(), 128);
  std::vector<float> values = gaussian(3 * k, 4);
  std::fill(values.begin() + 32, values.begin() + 64, 0.0f);
  std::fill(values.begin() + k, values.begin() + 2 * k, 0.0f);  // a whole row
  const std::vector<float> back = round_trip(values, 3, k, group_for(GetParam(), 32));
  for (int64_t i = 32; i < 64; ++i) EXPECT_EQ(back[i], 0.0f);
  for (int64_t i = k; i < 2 * k; ++i) EXPECT_EQ(back[i], 0.0f);
}

// The middle code is 0, also where scales and zeros are codes with steps of other groups.
TEST_P(Quantize, SymmetricMinMaxHoldsZeroExactly) {
  const int64_t n = n_for(GetParam(), 5), k = k_for(GetParam(), 256), g = group_for(GetParam(), 32);
  std::vector<float> values = gaussian(n * k, 14);
  for (int64_t i = 0; i < n * k; ++i) {
    if (i % 3 == 0) values[i] = 0;
    values[i] *= 1 + static_cast<float>(i / 32 % 7);
  }
  const std::vector<float> back = floats_of(
      quantize(tensor_of(values, {n, k}), GetParam(), g, Method::MinMaxSymmetric).dequantize());
  // A min in codes of its own is near the middle code, but not on it.
  const bool exact = format_info(GetParam()).value != Value::Min || !has_float16(GetParam()) ||
                     !format_info(GetParam()).unsigned_zero;
  for (int64_t i = 0; i < n * k; i += 3) ASSERT_NEAR(back[i], 0, exact ? 0 : 0.03f) << i;
  EXPECT_LT(relative_error(back, values), levels() == 15 ? 0.13 : 0.07);
}

// In fp16 neither the zero of a narrow range far from 0 nor a tiny scale may be lost.
TEST_P(Quantize, NarrowRangesFarFromZero) {
  const int64_t n = n_for(GetParam(), 1), k = k_for(GetParam(), 256), g = group_for(GetParam(), 32);
  for (const float far : {1000.0f, -1000.0f, 5e-5f}) {
    // Its scale is 5e-5 / 255, rounded up to one of the few that fp16 has there.
    const bool coarse = far == 5e-5f && format_name(GetParam()) == "Int8H";
    std::vector<float> values(static_cast<size_t>(n * k));
    for (size_t i = 0; i < values.size(); ++i) {
      values[i] = far * (1 + 1e-6f * static_cast<float>(i % 5));
    }
    for (const Method method : {Method::MinMax, Method::Hqq}) {
      const std::vector<float> back =
          floats_of(quantize(tensor_of(values, {n, k}), GetParam(), g, method).dequantize());
      for (size_t i = 0; i < back.size(); ++i)
        ASSERT_NEAR(back[i] / values[i], 1, coarse ? 0.01 : 0.005) << far;
    }
  }
}

// Wherever the range lies: scales below the normal numbers, zeros and steps near what is largest.
// What is stored is finite, steps are not 0, and each value is within a step of the widest range
// that the format may take for it, and what rounding that range to bf16, fp16 or codes adds.
TEST_P(Quantize, MetadataStaysFiniteForAnyRange) {
  const FormatInfo& info = format_info(GetParam());
  const int64_t n = n_for(GetParam(), 1), k = k_for(GetParam(), 256), g = group_for(GetParam(), 32);
  const double smallest = has_float16(GetParam()) ? 0x1p-24 : 0x1p-133;
  for (float far = 1e-41f; far <= info.largest; far *= 2.93f) {
    for (const float end : {0.5f, -1.0f, 1 + 1e-6f, 1 + 1e-4f}) {
      std::vector<float> values(static_cast<size_t>(n * k));
      for (size_t i = 0; i < values.size(); ++i) values[i] = i % 3 == 0 ? far * end : far;
      if (far * end > info.largest) continue;
      for (const float sign : {1.0f, -1.0f}) {
        for (float& value : values) value *= sign;
        for (const Method method : {Method::MinMax, Method::MinMaxSymmetric, Method::Hqq}) {
          const Weight weight = quantize(tensor_of(values, {n, k}), GetParam(), g, method);
          ASSERT_NO_THROW(weight.check_values()) << far << " " << end << " " << sign;
          const std::vector<float> back = floats_of(weight.dequantize());
          for (size_t i = 0; i < back.size(); ++i) {
            ASSERT_NEAR(back[i], values[i], far * (2.2 / levels() + 1.0 / 64) + 300 * smallest)
                << far << " " << end << " " << sign << " " << static_cast<int>(method);
          }
        }
      }
    }
  }
}

// One value throughout, and values of one sign far from zero.
TEST_P(Quantize, ConstantAndOneSidedGroups) {
  const int64_t k = k_for(GetParam(), 64), group_size = group_for(GetParam(), 64);
  for (const float value : {0.7f, -0.7f, 1e-20f, -3e30f, 3e38f, -3e38f, 1.6e7f, -1.6e7f}) {
    if (std::fabs(value) > format_info(GetParam()).largest) continue;
    if (has_float16(GetParam()) && std::fabs(value) < 0x1p-20f) continue;
    const std::vector<float> values(static_cast<size_t>(k), value);
    for (const float back : round_trip(values, 1, k, group_size)) {
      EXPECT_NEAR(back / value, 1, 0.005) << value;
    }
  }
  for (const float offset : {5.0f, -5.0f}) {
    std::vector<float> values = gaussian(k, 5, 0.5f);
    for (float& value : values) value += offset;
    const std::vector<float> back = round_trip(values, 1, k, group_for(GetParam(), 32));
    // Metadata A keeps the range; the others widen it to hold zero.
    const float reach = GetParam() == kA ? 3.0f : 7.0f;
    for (size_t i = 0; i < values.size(); ++i) {
      EXPECT_NEAR(back[i], values[i], reach / levels() + 7.0f / 256) << offset;
    }
  }
}

// The tiny group would be lost if its scale rounded to a code of 0.
TEST_P(Quantize, TinyGroupsBesideLargeOnesStayBounded) {
  const int64_t k = k_for(GetParam(), 64);
  std::vector<float> values = gaussian(k, 6);
  for (size_t i = 32; i < 64; ++i) values[i] *= 1e-4f;
  const std::vector<float> back = round_trip(values, 1, k, group_for(GetParam(), 32));
  for (size_t i = 32; i < 64; ++i) EXPECT_NEAR(back[i], values[i], 2e-3f);
}

TEST_P(Quantize, ReadsAnyStridesAndFloatDtypes) {
  const int64_t n = n_for(GetParam(), 6), k = k_for(GetParam(), 96), g = group_for(GetParam(), 32);
  const Tensor base = tensor_of(gaussian(2 * n * k, 7), {k, 2 * n});
  const Tensor strided = base.transpose(0, 1).slice(0, 1, std::nullopt, 2);
  EXPECT_TRUE(quantize(strided, GetParam(), g) == quantize(strided.contiguous(), GetParam(), g));
  for (const DType dtype : {DType::Float16, DType::BFloat16}) {
    const Tensor narrow = strided.contiguous().to(dtype);
    EXPECT_TRUE(quantize(narrow, GetParam(), g) ==
                quantize(narrow.to(DType::Float32), GetParam(), g));
  }
}

TEST_P(Quantize, DoesNotDependOnTheThreads) {
  const int64_t k = k_for(GetParam(), 192), g = group_for(GetParam(), 32);
  const Tensor values = tensor_of(gaussian(304 * k, 8), {304, k});
  const int threads = omp_get_max_threads();
  omp_set_num_threads(1);
  const Weight one = quantize(values, GetParam(), g);
  omp_set_num_threads(3);
  EXPECT_TRUE(quantize(values, GetParam(), g) == one);
  omp_set_num_threads(threads);
}

TEST_P(Quantize, RefusesWhatIsNotFiniteNamingTheFirst) {
  const int64_t k = k_for(GetParam(), 96);
  for (const float bad : {NAN, INFINITY, -INFINITY, 2e7f}) {
    if (std::fabs(bad) <= format_info(GetParam()).largest) continue;
    std::vector<float> values = gaussian(400 * k, 9);
    values[300 * k + 1] = bad;
    values[123 * k + 45] = bad;
    values[123 * k + 80] = bad;
    const Error error = error_of([&] { round_trip(values, 400, k, group_for(GetParam(), 32)); });
    EXPECT_EQ(error.status(), Status::InvalidArgument);
    EXPECT_NE(std::string(error.what()).find("[123, 45]"), std::string::npos) << error.what();
  }
}

TEST_P(Quantize, RefusesShapesThatDoNotFit) {
  const auto status = [](std::vector<int64_t> sizes, int64_t group_size, DType dtype) {
    return error_of([&] { quantize(Tensor::empty(sizes, dtype), GetParam(), group_size); })
        .status();
  };
  EXPECT_EQ(status({4, 96}, 64, DType::Float32), Status::InvalidArgument);
  EXPECT_EQ(status({4, 80}, 80, DType::Float32), Status::InvalidArgument);
  EXPECT_EQ(status({4, 64}, 0, DType::Float32), Status::InvalidArgument);
  EXPECT_EQ(status({4, 64}, -32, DType::Float32), Status::InvalidArgument);
  EXPECT_EQ(status({0, 64}, 32, DType::Float32), Status::InvalidArgument);
  EXPECT_EQ(status({4, 0}, 32, DType::Float32), Status::InvalidArgument);
  EXPECT_EQ(status({64}, 32, DType::Float32), Status::InvalidArgument);
  EXPECT_EQ(status({1, 1, 8, 256}, 32, DType::Float32), Status::InvalidArgument);
  EXPECT_EQ(status({8, 256}, 32, DType::Float64), Status::InvalidType);
  EXPECT_EQ(status({8, 256}, 32, DType::Int32), Status::InvalidType);
  if (format_info(GetParam()).group_sizes.empty()) {
    const Error error = error_of([&] {
      quantize(Tensor::empty(std::vector<int64_t>{8, 96}, DType::Float32), GetParam(), 64);
    });
    EXPECT_NE(std::string(error.what()).find("K = 96 is not a multiple of the group size 64"),
              std::string::npos)
        << error.what();
  }
  if (!format_info(GetParam()).has_super_blocks()) return;
  EXPECT_EQ(status({4, 384}, 32, DType::Float32), Status::InvalidArgument);
  EXPECT_EQ(status({4, 512}, 512, DType::Float32), Status::InvalidArgument);
  EXPECT_EQ(status({4, 0}, 32, DType::Float32), Status::InvalidArgument);
}

}  // namespace
}  // namespace aotiny
