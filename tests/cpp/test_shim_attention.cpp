// aoti_torch_cpu__scaled_dot_product_flash_attention_for_cpu against three loops in double
// precision, on every instruction set, and what it refuses.
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "aotiny/kernels/attention.h"
#include "aotiny/kernels/attention_kernels.h"
#include "aotiny/shims/handle.h"

namespace aotiny {
namespace {

using Ints = std::vector<int64_t>;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

AtenTensorHandle handle(Tensor& tensor) { return reinterpret_cast<AtenTensorHandle>(&tensor); }

Tensor owned(AtenTensorHandle handle) {
  Tensor tensor = in(handle, "result");
  aoti_torch_delete_tensor_object(handle);
  return tensor;
}

// Normally distributed values in memory that is NaN between them.
Tensor randn(std::mt19937& random, const Ints& sizes, int64_t padding = 0) {
  Ints padded = sizes;
  padded.back() += padding;
  Tensor memory = Tensor::empty(padded, DType::Float32);
  std::fill_n(memory.data<float>(), memory.numel(), NAN);
  Tensor view = memory.slice(-1, 0, sizes.back());
  std::normal_distribution<float> normal;
  Tensor values = Tensor::empty(sizes, DType::Float32);
  for (int64_t i = 0; i < values.numel(); ++i) values.data<float>()[i] = normal(random);
  view.copy_(values);
  return view;
}

float at(const Tensor& t, int64_t a, int64_t b, int64_t c, int64_t d) {
  return t.data<float>()[a * t.stride(0) + b * t.stride(1) + c * t.stride(2) + d * t.stride(3)];
}

struct Expected {
  std::vector<double> out;
  double logsumexp;
};

Expected row(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor* mask, bool causal,
             double scale, int64_t b, int64_t h, int64_t t) {
  const int64_t kv = h / (q.size(1) / k.size(1)), depth = q.size(3);
  std::vector<double> scores;
  double maximum = -INFINITY, sum = 0;
  for (int64_t j = 0; j < k.size(2) && (!causal || j <= t); ++j) {
    double score = 0;
    for (int64_t d = 0; d < depth; ++d) {
      score += static_cast<double>(at(q, b, h, t, d)) * at(k, b, kv, j, d);
    }
    score = score * scale + (mask != nullptr ? at(*mask, b, h, t, j) : 0.0);
    scores.push_back(score);
    maximum = std::max(maximum, score);
  }
  Expected expected{std::vector<double>(static_cast<size_t>(depth), 0.0), 0.0};
  if (maximum == -INFINITY) return expected;
  for (const double score : scores) sum += std::exp(score - maximum);
  for (size_t j = 0; j < scores.size(); ++j) {
    for (int64_t d = 0; d < depth; ++d) {
      expected.out[static_cast<size_t>(d)] +=
          std::exp(scores[j] - maximum) / sum * at(v, b, kv, static_cast<int64_t>(j), d);
    }
  }
  expected.logsumexp = maximum + std::log(sum);
  return expected;
}

struct Result {
  Tensor out;
  Tensor logsumexp;
  int32_t code;
};

Result call(Tensor& q, Tensor& k, Tensor& v, Tensor* mask = nullptr, bool causal = false,
            double* scale = nullptr, double dropout = 0.0) {
  AtenTensorHandle out = handle(q), logsumexp = handle(q);  // must be null after a failure
  AtenTensorHandle mask_handle = reinterpret_cast<AtenTensorHandle>(mask);
  const int32_t code = aoti_torch_cpu__scaled_dot_product_flash_attention_for_cpu(
      handle(q), handle(k), handle(v), dropout, causal, mask != nullptr ? &mask_handle : nullptr,
      scale, &out, &logsumexp);
  if (code == 0) return {owned(out), owned(logsumexp), code};
  EXPECT_EQ(out, nullptr);
  EXPECT_EQ(logsumexp, nullptr);
  return {{}, {}, code};
}

void expect_matches(const Result& result, const Tensor& q, const Tensor& k, const Tensor& v,
                    const Tensor* mask, bool causal, double scale) {
  ASSERT_EQ(result.code, 0) << last_error();
  for (int64_t b = 0; b < q.size(0); ++b) {
    for (int64_t h = 0; h < q.size(1); ++h) {
      for (int64_t t = 0; t < q.size(2); ++t) {
        const Expected expected = row(q, k, v, mask, causal, scale, b, h, t);
        for (int64_t d = 0; d < q.size(3); ++d) {
          ASSERT_NEAR(at(result.out, b, h, t, d), expected.out[static_cast<size_t>(d)], 3e-6)
              << b << " " << h << " " << t << " " << d;
        }
        const Tensor& lse = result.logsumexp;
        ASSERT_NEAR(lse.data<float>()[b * lse.stride(0) + h * lse.stride(1) + t * lse.stride(2)],
                    expected.logsumexp, 3e-6);
      }
    }
  }
}

TEST(Attention, GroupedHeadsStridesMasksAndCausality) {
  std::mt19937 random(5);
  const int64_t shapes[][6] = {{1, 1, 1, 1, 1, 1},
                               {2, 4, 2, 5, 7, 8},
                               {1, 8, 2, 1, 300, 32},
                               {2, 3, 3, 70, 133, 17},
                               {1, 6, 1, 13, 129, 40}};
  for (const auto& [batch, heads, kv_heads, queries, keys, depth] : shapes) {
    // [B, T, H, D] seen as [B, H, T, D], the rows padded with NaN.
    Tensor q = randn(random, {batch, queries, heads, depth}, 3).transpose(1, 2);
    Tensor k = randn(random, {batch, kv_heads, keys, depth}, 1);
    Tensor v = randn(random, {batch, kv_heads, depth, keys}).transpose(2, 3);
    for (const bool causal : {false, true}) {
      const double scale = 1 / std::sqrt(static_cast<double>(depth));
      const Result plain = call(q, k, v, nullptr, causal);
      expect_matches(plain, q, k, v, nullptr, causal, scale);
      EXPECT_EQ(Ints(plain.out.strides().begin(), plain.out.strides().end()),
                preserved_strides(q.sizes(), q.strides()));
      EXPECT_EQ(Ints(plain.logsumexp.strides().begin(), plain.logsumexp.strides().end()),
                (Ints{heads * queries, 1, heads}));

      Tensor full = randn(random, {batch, heads, queries, keys}, 2);
      expect_matches(call(q, k, v, &full, causal), q, k, v, &full, causal, scale);
      Tensor matrix = randn(random, {queries, keys});
      const Tensor expanded = matrix.expand(Ints{batch, heads, queries, keys});
      double own_scale = 0.3;
      expect_matches(call(q, k, v, &matrix, causal, &own_scale), q, k, v, &expanded, causal, 0.3);
      Tensor row_mask = randn(random, {batch, 1, 1, keys});
      const Tensor expanded_rows = row_mask.expand(Ints{batch, heads, queries, keys});
      expect_matches(call(q, k, v, &row_mask, causal), q, k, v, &expanded_rows, causal, scale);
      if (HasFatalFailure()) return;
    }
  }
}

TEST(Attention, EveryInstructionSetComputesTheSame) {
  std::mt19937 random(6);
  Tensor q = randn(random, {1, 4, 37, 24}), k = randn(random, {1, 2, 200, 24}),
         v = randn(random, {1, 2, 200, 24});
  const Tensor best = call(q, k, v).out;
  AttentionProblem problem;
  problem.batch = 1;
  problem.heads = 4;
  problem.kv_heads = 2;
  problem.queries = 37;
  problem.keys = 200;
  problem.depth = 24;
  problem.scale = 1 / std::sqrt(24.0);
  problem.q = problem.out = {0, 37 * 24, 24, 1};
  problem.k = problem.v = {0, 200 * 24, 24, 1};
  for (const CpuFeatures features : {CpuFeatures{}, CpuFeatures{.avx2 = true}}) {
    if (features.avx2 && !cpu_features().avx2) continue;
    Tensor out = Tensor::empty(q.sizes(), DType::Float32);
    AttentionOperands operands;
    operands.q = q.raw_data();
    operands.k = k.raw_data();
    operands.v = v.raw_data();
    operands.out = out.raw_data();
    attention(problem, operands, features);
    for (int64_t i = 0; i < out.numel(); ++i) {
      ASSERT_NEAR(out.data<float>()[i], best.data<float>()[i], 2e-6);
    }
  }
}

TEST(Attention, ExponentialsAreAccurate) {
  std::vector<const AttentionKernels*> tables = {&attention_kernels_portable()};
#if defined(__x86_64__)
  if (cpu_features().avx2) tables.push_back(&attention_kernels_avx2());
  if (cpu_features().avx512) tables.push_back(&attention_kernels_avx512());
#endif
  for (const AttentionKernels* table : tables) {
    SCOPED_TRACE(table->name);
    std::vector<float> scores = {0.0f};  // the maximum, so the others become their exponentials
    for (float x = -1e-6f; x > -86.0f; x = x * 1.001f - 1e-5f) scores.push_back(x);
    std::vector<float> powers = scores;
    SoftmaxState state{-kInfinity, 0.0f};
    EXPECT_EQ(table->softmax(static_cast<int64_t>(powers.size()), powers.data(), &state), 0.0f);
    double sum = 0;
    for (size_t i = 0; i < scores.size(); ++i) {
      const double exact = std::exp(static_cast<double>(scores[i]));
      sum += exact;
      ASSERT_NEAR(powers[i], exact, exact * 2 * 0x1p-23) << scores[i];
    }
    EXPECT_NEAR(state.sum, sum, sum * 1e-5);
    float low[3] = {-200.0f, -kInfinity, -104.5f};
    state = {0.0f, 1.0f};
    EXPECT_EQ(table->softmax(3, low, &state), 1.0f);
    for (const float power : low) EXPECT_EQ(power, 0.0f);
  }
}

TEST(Attention, AFullyMaskedRowIsZero) {
  std::mt19937 random(7);
  Tensor q = randn(random, {1, 2, 20, 16}), k = randn(random, {1, 2, 300, 16}),
         v = randn(random, {1, 2, 300, 16});
  Tensor mask = Tensor::empty(Ints{20, 300}, DType::Float32);
  for (int64_t i = 0; i < mask.numel(); ++i) {
    // Row 3 sees nothing, row 4 nothing before its last key.
    const int64_t t = i / 300, j = i % 300;
    mask.data<float>()[i] = t == 3 || (t == 4 && j < 299) ? -kInfinity : 0.0f;
  }
  const Tensor expanded = mask.expand(Ints{1, 2, 20, 300});
  const Result result = call(q, k, v, &mask);
  expect_matches(result, q, k, v, &expanded, false, 0.25);
  for (int64_t d = 0; d < 16; ++d) EXPECT_EQ(at(result.out, 0, 1, 3, d), 0.0f);
}

TEST(Attention, NaNStaysInItsRow) {
  std::mt19937 random(8);
  Tensor q = randn(random, {1, 1, 12, 16}), k = randn(random, {1, 1, 40, 16}),
         v = randn(random, {1, 1, 40, 16});
  q.data<float>()[5 * 16 + 2] = NAN;
  const Result result = call(q, k, v);
  ASSERT_EQ(result.code, 0);
  for (int64_t t = 0; t < 12; ++t) EXPECT_EQ(std::isnan(at(result.out, 0, 0, t, 7)), t == 5);
}

TEST(Attention, EmptyInputs) {
  std::mt19937 random(9);
  Tensor q = randn(random, {1, 2, 3, 4}), none = Tensor::empty(Ints{1, 2, 0, 4}, DType::Float32);
  const Result no_keys = call(q, none, none);
  ASSERT_EQ(no_keys.code, 0) << last_error();
  for (int64_t i = 0; i < 24; ++i) EXPECT_EQ(no_keys.out.data<float>()[i], 0.0f);
  EXPECT_EQ(call(none, q, q).out.numel(), 0);
}

TEST(Attention, RefusesWhatDoesNotFit) {
  std::mt19937 random(10);
  Tensor q = randn(random, {1, 4, 3, 8}), k = randn(random, {1, 2, 5, 8});
  const auto expect_refused = [&](const Result& result, Status status, const char* text) {
    EXPECT_EQ(result.code, static_cast<int32_t>(status));
    EXPECT_NE(std::string(last_error()).find(text), std::string::npos) << last_error();
  };
  const auto with = [&](const Ints& sizes, DType dtype = DType::Float32) {
    return Tensor::empty(sizes, dtype);
  };
  expect_refused(call(q, k, k, nullptr, false, nullptr, 0.1), Status::NotSupported, "dropout 0.1");
  Tensor three = with({4, 3, 8}), deep = with({1, 2, 5, 7}), heads = with({1, 3, 5, 8}),
         batch = with({2, 2, 5, 8}), bf16 = with({1, 2, 5, 8}, DType::BFloat16),
         ints = with({1, 4, 3, 8}, DType::Int32);
  expect_refused(call(three, k, k), Status::InvalidArgument, "query has 3 dimensions");
  expect_refused(call(q, deep, deep), Status::InvalidArgument, "[1, 2, 5, 7]");
  expect_refused(call(q, heads, heads), Status::InvalidArgument, "4 query heads");
  expect_refused(call(q, batch, batch), Status::InvalidArgument, "[2, 2, 5, 8]");
  expect_refused(call(q, k, heads), Status::InvalidArgument, "[1, 3, 5, 8]");
  expect_refused(call(q, k, bf16), Status::InvalidType, "bfloat16");
  expect_refused(call(ints, ints, ints), Status::InvalidType, "int32");
  Tensor mask3 = with({4, 3, 5}), mask_bool = with({3, 5}, DType::Bool), mask_wide = with({3, 6});
  expect_refused(call(q, k, k, &mask3), Status::InvalidArgument, "3 dimensions");
  expect_refused(call(q, k, k, &mask_bool), Status::InvalidType, "bool");
  expect_refused(call(q, k, k, &mask_wide), Status::InvalidArgument, "6");
  AtenTensorHandle out = handle(q), logsumexp = handle(q);
  EXPECT_NE(aoti_torch_cpu__scaled_dot_product_flash_attention_for_cpu(
                nullptr, handle(k), handle(k), 0, 0, nullptr, nullptr, &out, &logsumexp),
            0);
  EXPECT_EQ(out, nullptr);
  EXPECT_NE(aoti_torch_cpu__scaled_dot_product_flash_attention_for_cpu(
                handle(q), handle(k), handle(k), 0, 0, nullptr, nullptr, nullptr, &logsumexp),
            0);
  EXPECT_STREQ(last_error(), "ret0 is null");
}

}  // namespace
}  // namespace aotiny
