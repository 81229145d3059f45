#include "aotiny/kernels/int4pack.h"

#include <algorithm>
#include <cstdlib>
#include <ostream>
#include <string_view>
#include <tuple>

#include "aotiny/core/parallel.h"
#include "aotiny/core/scratch.h"

namespace aotiny {
namespace {

constexpr int64_t kMaxBlockRows = 64;
constexpr int64_t kGrain = 1 << 16;  // multiplications worth a thread

// A block's row that is in each nibble of a byte.
struct Nibbles {
  Nibbles(Int4PackLayout layout, int64_t rows)
      : halves(layout != Int4PackLayout::Pairs && rows == block_rows(layout)), half(rows / 2) {}
  int64_t low(int64_t byte) const { return halves ? byte : 2 * byte; }
  int64_t high(int64_t byte) const { return halves ? byte + half : 2 * byte + 1; }
  bool halves;
  int64_t half;
};

// scales and zeros of `rows` rows, from interleaved pairs.
void load_scales(const Int4PackProblem& problem, int64_t group, int64_t row, int64_t rows,
                 float* scales, float* zeros) {
  visit_dtype(problem.scale_dtype, "int4pack", [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* pairs =
        static_cast<const T*>(problem.scales_and_zeros) + (group * problem.n + row) * 2;
    for (int64_t i = 0; i < rows; ++i) {
      scales[i] = convert<float>(pairs[2 * i]);
      zeros[i] = convert<float>(pairs[2 * i + 1]);
    }
  });
}

Int4PackBlock block_function(Int4PackKernel kernel) {
#if defined(__x86_64__)
  if (kernel == Int4PackKernel::Avx512) return int4pack_block_avx512;
  if (kernel == Int4PackKernel::Avx2) return int4pack_block_avx2;
#endif
  static_cast<void>(kernel);
  return int4pack_block;
}

}  // namespace

std::ostream& operator<<(std::ostream& out, Int4PackLayout layout) {
  constexpr const char* kNames[] = {"halves64", "halves32", "pairs"};
  return out << kNames[static_cast<int>(layout)];
}

std::ostream& operator<<(std::ostream& out, Int4PackKernel kernel) {
  constexpr const char* kNames[] = {"portable", "avx2", "avx512"};
  return out << kNames[static_cast<int>(kernel)];
}

Int4PackLayout int4pack_layout() {
  const char* variable = std::getenv("ATEN_CPU_CAPABILITY");
  const std::string_view capability = variable != nullptr ? variable : "";
  if (capability == "avx512") return Int4PackLayout::Halves64;
  if (capability == "avx2") return Int4PackLayout::Halves32;
  if (capability == "default") return Int4PackLayout::Pairs;
  const CpuFeatures& features = processor_features();
  if (features.avx512) return Int4PackLayout::Halves64;
  return features.avx2 ? Int4PackLayout::Halves32 : Int4PackLayout::Pairs;
}

Int4PackKernel choose_int4pack_kernel(Int4PackLayout layout, const CpuFeatures& features) {
  if (layout == Int4PackLayout::Halves64 && features.avx512) return Int4PackKernel::Avx512;
  if (layout == Int4PackLayout::Halves32 && features.avx2) return Int4PackKernel::Avx2;
  return Int4PackKernel::Portable;
}

void int4pack_block(const Int4PackProblem& problem, int64_t block) {
  const auto& [m, n, k, group_size, layout, x, x_sums, weights, pairs, dtype, y] = problem;
  const int64_t first = block * block_rows(layout);
  const int64_t rows = std::min(block_rows(layout), n - first);
  const Nibbles nibbles(layout, rows);
  const int64_t num_groups = k / group_size;
  Scratch<float> decoded(group_size * rows);  // q − 8, [group_size, rows]
  float scales[kMaxBlockRows], zeros[kMaxBlockRows], sums[kMaxBlockRows];
  for (int64_t group = 0; group < num_groups; ++group) {
    load_scales(problem, group, first, rows, scales, zeros);
    const uint8_t* bytes = weights + first * (k / 2) + group * group_size * (rows / 2);
    for (int64_t i = 0; i < group_size; ++i) {
      for (int64_t byte = 0; byte < rows / 2; ++byte) {
        const int value = bytes[i * (rows / 2) + byte];
        decoded[i * rows + nibbles.low(byte)] = static_cast<float>((value & 15) - 8);
        decoded[i * rows + nibbles.high(byte)] = static_cast<float>((value >> 4) - 8);
      }
    }
    for (int64_t row = 0; row < m; ++row) {
      const float* x_row = x + row * k + group * group_size;
      std::fill_n(sums, rows, 0.0f);
      for (int64_t i = 0; i < group_size; ++i) {
        for (int64_t j = 0; j < rows; ++j) sums[j] += decoded[i * rows + j] * x_row[i];
      }
      float* y_row = y + row * n + first;
      const float x_sum = x_sums[row * num_groups + group];
      for (int64_t j = 0; j < rows; ++j) {
        const float before = group == 0 ? 0.0f : y_row[j];
        y_row[j] = before + (scales[j] * sums[j] + zeros[j] * x_sum);
      }
    }
  }
}

void int4pack_mm(const Int4PackProblem& given, const CpuFeatures& features) {
  const auto [m, n, k, group_size, layout] =
      std::tuple(given.m, given.n, given.k, given.group_size, given.layout);
  const int64_t num_groups = k / group_size;
  if (num_groups == 0) std::fill_n(given.y, m * n, 0.0f);
  if (m * n == 0 || num_groups == 0) return;
  Scratch<float> sums(m * num_groups);
  parallel_for(m * num_groups, kGrain / group_size, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {  // groups of x lie one after the other
      float sum = 0;
      for (int64_t j = 0; j < group_size; ++j) sum += given.x[i * group_size + j];
      sums[i] = sum;
    }
  });
  Int4PackProblem problem = given;
  problem.x_sums = sums.data();
  const int64_t rows = block_rows(layout);
  const Int4PackBlock full_block = block_function(choose_int4pack_kernel(layout, features));
  parallel_for((n + rows - 1) / rows, std::max<int64_t>(1, kGrain / (m * k * rows)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t block = begin; block < end; ++block) {
                   const bool is_full = (block + 1) * rows <= n;
                   (is_full ? full_block : int4pack_block)(problem, block);
                 }
               });
}

}  // namespace aotiny
