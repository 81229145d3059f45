#include "aotiny/kernels/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <ostream>
#include <vector>

#include "aotiny/core/parallel.h"
#include "aotiny/core/scratch.h"
#include "aotiny/kernels/attention_kernels.h"
#include "aotiny/kernels/gemm_floats.h"
#include "aotiny/kernels/gemm_kernels.h"

namespace aotiny {
namespace {

constexpr int64_t kRows = 64;   // rows of scores held at once
constexpr int64_t kKeys = 128;  // and columns
// Up to this many rows the keys are read as they lie; for more it pays to pack them.
constexpr int64_t kDotRows = 8;

int64_t round_up(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

// The work of one thread: blocks of rows of one batch and one key head. All query heads that read
// the same keys count as rows, so that grouped heads share what is loaded.
class Worker {
 public:
  Worker(const AttentionProblem& problem, const AttentionOperands& operands,
         const CpuFeatures& features)
      : p_(problem),
        o_(operands),
        gemm_(gemm_kernels(features)),
        softmax_(attention_kernels(features)),
        itemsize_(static_cast<int64_t>(itemsize(problem.dtype))),
        group_(problem.heads / problem.kv_heads),
        padded_depth_(round_up(problem.depth, gemm_.lanes)),
        q_(kRows * problem.depth),
        k_(kKeys * padded_depth_),
        v_(kKeys * padded_depth_),
        converted_(kKeys * padded_depth_),
        scores_(kRows * kKeys),
        sums_(kRows * padded_depth_) {}

  // Rows begin..end-1 of the queries of every head that reads this one.
  void run(int64_t batch, int64_t kv_head, int64_t begin, int64_t end) {
    batch_ = batch;
    kv_head_ = kv_head;
    begin_ = begin;
    rows_ = end - begin;
    load_queries();
    std::fill_n(states_, rows_, SoftmaxState{-std::numeric_limits<float>::infinity(), 0.0f});
    if (visible_keys() == 0) std::fill_n(sums_.data(), rows_ * padded_depth_, 0.0f);
    for (int64_t key = 0; key < visible_keys(); key += kKeys) {
      const int64_t keys = std::min(kKeys, visible_keys() - key);
      score(key, keys);
      normalize(key, keys);
      accumulate(key, keys);
    }
    store();
  }

 private:
  int64_t head(int64_t row) const { return kv_head_ * group_ + (begin_ + row) / p_.queries; }
  int64_t query(int64_t row) const { return (begin_ + row) % p_.queries; }

  // Keys that any of the rows sees.
  int64_t visible_keys() const {
    if (!p_.causal) return p_.keys;
    int64_t last = 0;
    for (int64_t r = 0; r < rows_; ++r) last = std::max(last, query(r));
    return std::min(p_.keys, last + 1);
  }

  template <class T>
  static T* at(T* base, int64_t size, const Strides4& s, int64_t batch, int64_t head, int64_t row) {
    return base + (batch * s.batch + head * s.head + row * s.row) * size;
  }

  void load_queries() {
    for (int64_t r = 0; r < rows_; ++r) {
      const char* query_row =
          at(static_cast<const char*>(o_.q), itemsize_, p_.q, batch_, head(r), query(r));
      float* row = q_.data() + r * p_.depth;
      const float* values = reinterpret_cast<const float*>(query_row);
      if (p_.dtype != DType::Float32 || p_.q.column != 1) {
        load_floats(gemm_, p_.dtype, p_.depth, query_row, p_.q.column, row);
        values = row;
      }
      gemm_.finish(p_.depth, static_cast<float>(p_.scale), values, 0.0f, nullptr, 0, row);
    }
  }

  // Floats of a block of keys or values, with the strides between rows and columns.
  struct Floats {
    const float* data;
    int64_t row;
    int64_t column;
  };

  Floats floats(const void* base, const Strides4& strides, int64_t key, int64_t keys,
                bool unit_columns) {
    const char* data =
        at(static_cast<const char*>(base), itemsize_, strides, batch_, kv_head_, key);
    if (p_.dtype == DType::Float32 && (strides.column == 1 || !unit_columns)) {
      return {reinterpret_cast<const float*>(data), strides.row, strides.column};
    }
    for (int64_t i = 0; i < keys; ++i) {
      load_floats(gemm_, p_.dtype, p_.depth, data + i * strides.row * itemsize_, strides.column,
                  converted_.data() + i * p_.depth);
    }
    return {converted_.data(), p_.depth, 1};
  }

  // Scores of all rows with keys key..key+keys-1.
  void score(int64_t key, int64_t keys) {
    if (rows_ <= kDotRows) {
      const Floats k = floats(o_.k, p_.k, key, keys, true);
      for (int64_t j = 0; j < keys; j += 4) {
        for (int64_t r = 0; r < rows_; r += gemm_.dot_rows) {
          gemm_.dot(std::min(gemm_.dot_rows, rows_ - r), std::min<int64_t>(4, keys - j), p_.depth,
                    q_.data() + r * p_.depth, p_.depth, k.data + j * k.row, k.row,
                    scores_.data() + r * kKeys + j, kKeys);
        }
      }
      return;
    }
    const Floats k = floats(o_.k, p_.k, key, keys, false);
    const int64_t width = round_up(keys, gemm_.lanes);
    gemm_.pack(p_.depth, keys, width, k.data, k.column, k.row, k_.data());
    tiles(width, p_.depth, q_.data(), p_.depth, k_.data(), width, scores_.data(), kKeys, false);
  }

  // c [rows, width] (+)= s [rows, k] x v [k, width].
  void tiles(int64_t width, int64_t k, const float* s, int64_t s_row, const float* v, int64_t v_k,
             float* c, int64_t c_row, bool accumulate) const {
    const int64_t panel = kGemmVectors * gemm_.lanes;
    for (int64_t c0 = 0; c0 < width; c0 += panel) {
      const int64_t vectors = std::min(panel, width - c0) / gemm_.lanes;
      for (int64_t r = 0; r < rows_; r += gemm_.tile_rows) {
        gemm_.tile(std::min(gemm_.tile_rows, rows_ - r), vectors, k, s + r * s_row, s_row, 1,
                   v + c0, v_k, c + r * c_row + c0, c_row, accumulate);
      }
    }
  }

  // Masks the scores and makes them exponentials; scales down the sums where the maximum grew.
  void normalize(int64_t key, int64_t keys) {
    for (int64_t r = 0; r < rows_; ++r) {
      float* scores = scores_.data() + r * kKeys;
      const int64_t seen = p_.causal ? std::clamp<int64_t>(query(r) + 1 - key, 0, keys) : keys;
      if (o_.mask != nullptr) add_mask(r, key, seen, scores);
      const float correction = softmax_.softmax(seen, scores, &states_[r]);
      std::fill_n(scores + seen, keys - seen, 0.0f);
      if (correction != 1.0f && key > 0) {
        float* sums = sums_.data() + r * padded_depth_;
        gemm_.finish(padded_depth_, correction, sums, 0.0f, nullptr, 0, sums);
      }
    }
  }

  void add_mask(int64_t row, int64_t key, int64_t count, float* scores) const {
    const int64_t size = static_cast<int64_t>(itemsize(p_.mask_dtype));
    const char* mask =
        at(static_cast<const char*>(o_.mask), size, p_.mask, batch_, head(row), query(row)) +
        key * p_.mask.column * size;
    if (p_.mask_dtype == DType::Float32) {
      gemm_.finish(count, 1.0f, scores, 1.0f, reinterpret_cast<const float*>(mask), p_.mask.column,
                   scores);
      return;
    }
    float values[kKeys];
    load_floats(gemm_, p_.mask_dtype, count, mask, p_.mask.column, values);
    gemm_.finish(count, 1.0f, scores, 1.0f, values, 1, scores);
  }

  void accumulate(int64_t key, int64_t keys) {
    Floats v = floats(o_.v, p_.v, key, keys, false);
    if (v.column != 1 || padded_depth_ != p_.depth) {
      gemm_.pack(keys, p_.depth, padded_depth_, v.data, v.row, v.column, v_.data());
      v = {v_.data(), padded_depth_, 1};
    }
    tiles(padded_depth_, keys, scores_.data(), kKeys, v.data, v.row, sums_.data(), padded_depth_,
          key > 0);
  }

  void store() {
    for (int64_t r = 0; r < rows_; ++r) {
      const SoftmaxState& state = states_[r];
      float* sums = sums_.data() + r * padded_depth_;
      const float scale = state.sum == 0.0f ? 0.0f : 1.0f / state.sum;
      char* out = at(static_cast<char*>(o_.out), itemsize_, p_.out, batch_, head(r), query(r));
      if (p_.dtype == DType::Float32 && p_.out.column == 1) {
        gemm_.finish(p_.depth, scale, sums, 0.0f, nullptr, 0, reinterpret_cast<float*>(out));
      } else {
        gemm_.finish(p_.depth, scale, sums, 0.0f, nullptr, 0, sums);
        store_floats(gemm_, p_.dtype, p_.depth, sums, out, p_.out.column);
      }
      if (o_.logsumexp == nullptr) continue;
      *at(static_cast<float*>(o_.logsumexp), 1, p_.logsumexp, batch_, head(r), query(r)) =
          state.sum == 0.0f ? 0.0f : state.maximum + std::log(state.sum);
    }
  }

  const AttentionProblem& p_;
  const AttentionOperands& o_;
  const GemmKernels& gemm_;
  const AttentionKernels& softmax_;
  const int64_t itemsize_, group_, padded_depth_;
  Scratch<float> q_, k_, v_, converted_, scores_, sums_;
  SoftmaxState states_[kRows];
  int64_t batch_ = 0, kv_head_ = 0, begin_ = 0, rows_ = 0;
};

// fp64, row by row.
void attention_plain(const AttentionProblem& p, const AttentionOperands& o) {
  const auto element = [](const void* base, const Strides4& s, int64_t b, int64_t h, int64_t row) {
    return static_cast<const double*>(base) + b * s.batch + h * s.head + row * s.row;
  };
  parallel_for(p.batch * p.heads * p.queries, 1, [&](int64_t begin, int64_t end) {
    std::vector<double> scores(static_cast<size_t>(p.keys));
    for (int64_t index = begin; index < end; ++index) {
      const int64_t t = index % p.queries, h = index / p.queries % p.heads;
      const int64_t b = index / p.queries / p.heads, kv = h / (p.heads / p.kv_heads);
      const int64_t keys = p.causal ? std::min(p.keys, t + 1) : p.keys;
      const double* q = element(o.q, p.q, b, h, t);
      double maximum = -std::numeric_limits<double>::infinity(), sum = 0.0;
      for (int64_t j = 0; j < keys; ++j) {
        const double* k = element(o.k, p.k, b, kv, j);
        double score = 0.0;
        for (int64_t d = 0; d < p.depth; ++d) score += q[d * p.q.column] * k[d * p.k.column];
        score *= p.scale;
        if (o.mask != nullptr) {
          const int64_t at =
              b * p.mask.batch + h * p.mask.head + t * p.mask.row + j * p.mask.column;
          score += p.mask_dtype == DType::Float32
                       ? static_cast<double>(static_cast<const float*>(o.mask)[at])
                       : static_cast<const double*>(o.mask)[at];
        }
        scores[j] = score;
        maximum = std::isnan(score) || score > maximum ? score : maximum;
      }
      const bool masked = maximum == -std::numeric_limits<double>::infinity();
      for (int64_t j = 0; j < keys; ++j) {
        scores[j] = masked ? 0.0 : std::exp(scores[j] - maximum);
        sum += scores[j];
      }
      double* out = const_cast<double*>(element(o.out, p.out, b, h, t));
      for (int64_t d = 0; d < p.depth; ++d) {
        double value = 0.0;
        for (int64_t j = 0; j < keys; ++j) {
          value += scores[j] * element(o.v, p.v, b, kv, j)[d * p.v.column];
        }
        out[d * p.out.column] = masked ? 0.0 : value / sum;
      }
      if (o.logsumexp == nullptr) continue;
      *const_cast<double*>(element(o.logsumexp, p.logsumexp, b, h, t)) =
          masked ? 0.0 : maximum + std::log(sum);
    }
  });
}

}  // namespace

void attention(const AttentionProblem& problem, const AttentionOperands& operands,
               const CpuFeatures& features) {
  if (problem.batch == 0 || problem.heads == 0 || problem.queries == 0) return;
  if (problem.dtype == DType::Float64) return attention_plain(problem, operands);
  const int64_t rows = problem.heads / problem.kv_heads * problem.queries;
  const int64_t blocks = (rows + kRows - 1) / kRows;
  const int64_t rows_per_block = (rows + blocks - 1) / blocks;
  constexpr int64_t kWorkPerThread = 1 << 18;  // multiply-adds worth waking a thread for
  const int64_t work = rows_per_block * std::max<int64_t>(problem.keys, 1) * problem.depth * 2;
  parallel_for(problem.batch * problem.kv_heads * blocks,
               kWorkPerThread / std::max<int64_t>(work, 1) + 1, [&](int64_t begin, int64_t end) {
                 Worker worker(problem, operands, features);
                 for (int64_t task = begin; task < end; ++task) {
                   const int64_t first = task % blocks * rows_per_block;
                   const int64_t pair = task / blocks;
                   worker.run(pair / problem.kv_heads, pair % problem.kv_heads, first,
                              std::min(rows, first + rows_per_block));
                 }
               });
}

std::ostream& operator<<(std::ostream& out, const AttentionProblem& p) {
  return out << p.dtype << " batch " << p.batch << " heads " << p.heads << "/" << p.kv_heads
             << " queries " << p.queries << " keys " << p.keys << " depth " << p.depth
             << (p.causal ? ", causal" : "");
}

}  // namespace aotiny
