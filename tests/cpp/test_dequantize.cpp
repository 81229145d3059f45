// Fast dequantization against the formats' own scalar code, bit for bit.
#include "aotiny/kernels/dequantize.h"

#include <cstring>

#include "quant_testing.h"

namespace aotiny {
namespace {

using namespace aotiny::testing;

constexpr CpuFeatures kPortable{};
constexpr CpuFeatures kAvx2{.avx2 = true};

std::vector<CpuFeatures> available() {
  std::vector<CpuFeatures> found = {kPortable};
  if (processor_features().avx2) found.push_back(kAvx2);
  return found;
}

std::vector<uint32_t> bits_of(const float* values, int64_t count) {
  std::vector<uint32_t> bits(static_cast<size_t>(count));
  std::memcpy(bits.data(), values, bits.size() * sizeof(float));
  return bits;
}

void expect_equal(const Weight& weight) {
  const Tensor expected = weight.dequantize();
  const int64_t n = weight.n(), k = weight.k();
  for (const CpuFeatures& features : available()) {
    SCOPED_TRACE(dequantize_kernels(features).name);
    for (int64_t b = 0; b < weight.batch(); ++b) {
      const int64_t begin = n / 3, end = n - n / 5;
      std::vector<float> rows(static_cast<size_t>((end - begin) * k));
      dequantize_rows(weight, b, begin, end, rows.data(), features);
      EXPECT_EQ(bits_of(rows.data(), (end - begin) * k),
                bits_of(expected.data<float>() + (b * n + begin) * k, (end - begin) * k));
    }
  }
}

class Dequantize : public ::testing::TestWithParam<FormatId> {};
INSTANTIATE_TEST_SUITE_P(Formats, Dequantize, ::testing::ValuesIn(all_formats()),
                         [](const auto& info) { return format_name(info.param); });

TEST_P(Dequantize, GivesTheFormatsOwnNumbers) {
  const FormatId format = GetParam();
  for (const int64_t k : {32, 96, 256, 544, 1280}) {
    for (const int64_t group_size : {32, 64, 256}) {
      const int64_t whole = k_for(format, k), g = group_for(format, group_size);
      if (whole % g != 0) continue;
      expect_equal(random_weight(format, n_for(format, 13), whole, g, 7));
    }
  }
}

TEST_P(Dequantize, ReadsStacksAndStridedPlanes) {
  const FormatId format = GetParam();
  const int64_t n = n_for(format, 11), k = k_for(format, 256);
  const Weight stack =
      quantize(tensor_of(gaussian(3 * n * k, 8), {3, n, k}), format, group_for(format, 64));
  expect_equal(stack);
  // Every second weight of the stack, and of each only the planes' rows from the first on.
  std::vector<Tensor> planes;
  for (const Tensor& plane : stack.planes()) planes.push_back(plane.slice(0, 0, 3, 2));
  expect_equal(Weight(format, planes, stack.group_size()));
}

TEST(Dequantize, KnowsItsKernels) {
  EXPECT_STREQ(dequantize_kernels(kPortable).name, "portable");
#if defined(__x86_64__)
  EXPECT_STREQ(dequantize_kernels(kAvx2).name, "avx2");
#endif
}

}  // namespace
}  // namespace aotiny
