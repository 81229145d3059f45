#include "aotiny/kernels/quantize_activations.h"

#include "aotiny/quant/reference.h"
#include "quant_testing.h"

namespace aotiny {
namespace {

using namespace aotiny::testing;

struct Quantized {
  std::vector<int8_t> q;
  std::vector<BlockScale> blocks;
};

std::vector<const QuantizeRowKernels*> kernels() {
  std::vector<const QuantizeRowKernels*> all{&quantize_row_kernels({})};
  if (cpu_features().avx2) all.push_back(&quantize_row_kernels({.avx2 = true}));
  if (cpu_features().avx512) {
    all.push_back(&quantize_row_kernels({.avx2 = true, .avx512 = true}));
  }
  return all;
}

Quantized run(QuantizeRow quantize, const void* x, int64_t k, KOrder order) {
  Quantized result{std::vector<int8_t>(static_cast<size_t>(k), 77),
                   std::vector<BlockScale>(static_cast<size_t>(k / kBlock), {-1, -1, -1})};
  quantize(x, k, order, 1, result.q.data(), result.blocks.data());
  return result;
}

void expect_same_bits(const Quantized& actual, const Quantized& expected) {
  EXPECT_EQ(actual.q, expected.q);
  for (size_t i = 0; i < expected.blocks.size(); ++i) {
    EXPECT_EQ(std::bit_cast<uint32_t>(actual.blocks[i].d),
              std::bit_cast<uint32_t>(expected.blocks[i].d));
    EXPECT_EQ(actual.blocks[i].sum, expected.blocks[i].sum);
    EXPECT_EQ(actual.blocks[i].first_sum, expected.blocks[i].first_sum);
  }
}

TEST(QuantizeActivations, FollowsTheDefinition) {
  const std::vector<float> x = awkward_blocks();
  const int64_t k = static_cast<int64_t>(x.size());
  const ReferenceActivations expected = reference_quantize(x.data(), k);
  const Quantized actual = run(quantize_row_kernels({}).float32, x.data(), k, KOrder::Natural);
  for (int64_t i = 0; i < k; ++i) EXPECT_EQ(actual.q[i], expected.q[i]) << i;
  for (int64_t b = 0; b < k / 32; ++b) {
    int halves[2] = {};
    for (int64_t i = 0; i < 32; ++i) halves[i / 16] += actual.q[32 * b + i];
    EXPECT_EQ(actual.blocks[b].sum, static_cast<float>(halves[0] + halves[1]));
    EXPECT_EQ(actual.blocks[b].first_sum, static_cast<float>(halves[0]));
    if (std::isnan(expected.d[b])) {
      EXPECT_TRUE(std::isnan(actual.blocks[b].d)) << b;
    } else {
      EXPECT_EQ(actual.blocks[b].d, expected.d[b]) << b;
    }
  }
  EXPECT_TRUE(std::isnan(actual.blocks[8].d));
  EXPECT_TRUE(std::isnan(actual.blocks[9].d));
  EXPECT_EQ(actual.blocks[1].d, 0.0f);
  EXPECT_EQ(actual.q[3 * 32 + 1], -14);  // −14.5 and −13.5 both round to the even code
  EXPECT_EQ(actual.q[3 * 32 + 2], -14);
}

TEST(QuantizeActivations, EvenOddPutsEvenKFirst) {
  const std::vector<float> x = gaussian(96, 2);
  for (const QuantizeRowKernels* kernel : kernels()) {
    const Quantized natural = run(kernel->float32, x.data(), 96, KOrder::Natural);
    const Quantized split = run(kernel->float32, x.data(), 96, KOrder::EvenOdd);
    for (int block = 0; block < 96; block += 32) {
      for (int i = 0; i < 32; ++i) {
        EXPECT_EQ(split.q[block + i % 2 * 16 + i / 2], natural.q[block + i]) << kernel->name;
      }
    }
  }
}

TEST(QuantizeActivations, AllImplementationsGiveTheSameBits) {
  const std::vector<float> x = awkward_blocks();
  const int64_t k = static_cast<int64_t>(x.size());
  const Tensor half = tensor_of(x, {k}, DType::Float16), brain = tensor_of(x, {k}, DType::BFloat16);
  const QuantizeRowKernels& portable = quantize_row_kernels({});
  for (const KOrder order : {KOrder::Natural, KOrder::EvenOdd}) {
    for (const QuantizeRowKernels* kernel : kernels()) {
      SCOPED_TRACE(kernel->name);
      expect_same_bits(run(kernel->float32, x.data(), k, order),
                       run(portable.float32, x.data(), k, order));
      expect_same_bits(run(kernel->float16, half.raw_data(), k, order),
                       run(portable.float16, half.raw_data(), k, order));
      expect_same_bits(run(kernel->bfloat16, brain.raw_data(), k, order),
                       run(portable.bfloat16, brain.raw_data(), k, order));
    }
  }
}

TEST(QuantizeActivations, ChosenByTheFeatures) {
  EXPECT_STREQ(quantize_row_kernels({}).name, "portable");
#if defined(__x86_64__)
  EXPECT_STREQ(quantize_row_kernels({.avx2 = true}).name, "avx2");
  EXPECT_STREQ(quantize_row_kernels({.avx2 = true, .avx512 = true}).name, "avx512");
#endif
}

TEST(QuantizeActivations, RowsMayBeStridedAndComeInTiles) {
  const int64_t m = 703, k = 64, stride = 71;
  const std::vector<float> x = gaussian(m * stride, 3);
  for (const int64_t tile_rows : {1, 5, 8}) {
    std::vector<int8_t> q(static_cast<size_t>(m * k) + 1, 77);
    std::vector<BlockScale> blocks(static_cast<size_t>(m * 2) + 1, {-1, -1, -1});
    quantize_activations(x.data(), DType::Float32, stride, m, k, KOrder::Natural, tile_rows,
                         q.data(), blocks.data());
    for (int64_t i = 0; i < m; ++i) {
      const Quantized row =
          run(quantize_row_kernels({}).float32, x.data() + i * stride, k, KOrder::Natural);
      const int64_t first = i / tile_rows * tile_rows, rows = std::min(tile_rows, m - first);
      for (int64_t block = 0; block < 2; ++block) {
        const int64_t place = first * 2 + block * rows + i - first;
        EXPECT_TRUE(std::equal(row.q.begin() + 32 * block, row.q.begin() + 32 * (block + 1),
                               q.begin() + 32 * place))
            << i;
        EXPECT_EQ(blocks[place].d, row.blocks[block].d);
        EXPECT_EQ(blocks[place].sum, row.blocks[block].sum);
        EXPECT_EQ(blocks[place].first_sum, row.blocks[block].first_sum);
      }
    }
    EXPECT_EQ(q.back(), 77);
    EXPECT_EQ(blocks.back().d, -1);
  }
}

}  // namespace
}  // namespace aotiny
