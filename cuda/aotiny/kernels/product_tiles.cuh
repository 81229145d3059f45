// A tile of y = x Wᵀ that a thread block keeps in registers, while tiles of x and W pass through
// shared memory.
//
// The elements of y are sums over k in ascending order, 16 at a time on tensor cores, one at a time
// otherwise, whatever the size of the tile and the place in it. So a row of y does not depend on
// how many other rows there are.
#pragma once

#include "aotiny/kernels/ptx.cuh"

namespace aotiny::cuda {

inline constexpr int kTileK = 64;

// Rows of x or W in shared memory. The 16 bytes between rows keep them out of each other's banks.
template <class T, int kRows>
struct SharedTile {
  static constexpr int kColumns = kTileK + 16 / static_cast<int>(sizeof(T));
  alignas(16) T rows[kRows][kColumns];
};

// fp16 and bf16, on tensor cores. The warps lie in kWarpsM rows and kWarpsN columns.
template <class T, int kRows, int kColumns, int kWarpsM, int kWarpsN>
class MmaTile {
 public:
  using Element = T;
  static constexpr int kM = kRows, kN = kColumns;
  static constexpr int kThreads = 32 * kWarpsM * kWarpsN;

  __device__ void add_product(const SharedTile<T, kM>& x, const SharedTile<T, kN>& w) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int k = 0; k < kTileK; k += 16) {
      uint32_t a[kStepsM][4];
#pragma unroll
      for (int i = 0; i < kStepsM; ++i) {
        load_matrices(a[i], &x.rows[row_of_warp() + 16 * i + lane % 16][k + lane / 16 * 8]);
      }
#pragma unroll
      for (int j = 0; j < kStepsN; j += 2) {
        uint32_t b[4];  // for 8 columns of y, and for the next 8
        const int row = column_of_warp() + 8 * j + lane / 16 * 8 + lane % 8;
        load_matrices(b, &w.rows[row][k + lane / 8 % 2 * 8]);
#pragma unroll
        for (int i = 0; i < kStepsM; ++i) {
          multiply_matrices(sums_[i][j], a[i], b[0], b[1], T());
          multiply_matrices(sums_[i][j + 1], a[i], b[2], b[3], T());
        }
      }
    }
  }

  // Calls f(row, column, sum) for every element that the thread has.
  template <class F>
  __device__ void for_each(const F& f) const {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < kStepsM; ++i) {
#pragma unroll
      for (int j = 0; j < kStepsN; ++j) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          f(row_of_warp() + 16 * i + lane / 4 + e / 2 * 8,
            column_of_warp() + 8 * j + lane % 4 * 2 + e % 2, sums_[i][j][e]);
        }
      }
    }
  }

 private:
  static constexpr int kStepsM = kM / kWarpsM / 16, kStepsN = kN / kWarpsN / 8;
  static_assert(kStepsM * kWarpsM * 16 == kM && kStepsN * kWarpsN * 8 == kN && kStepsN % 2 == 0);

  __device__ static int row_of_warp() { return threadIdx.x / 32 / kWarpsN * (kM / kWarpsM); }
  __device__ static int column_of_warp() { return threadIdx.x / 32 % kWarpsN * (kN / kWarpsN); }

  float sums_[kStepsM][kStepsN][4] = {};
};

// fp32, with fused multiplications and additions. A thread has every 8th row and every 16th column.
template <int kRows, int kColumns>
class FmaTile {
  static constexpr int kThreadsM = 8, kThreadsN = 16;

 public:
  using Element = float;
  static constexpr int kM = kRows, kN = kColumns;
  static constexpr int kThreads = kThreadsM * kThreadsN;

  __device__ void add_product(const SharedTile<float, kM>& x, const SharedTile<float, kN>& w) {
    for (int k = 0; k < kTileK; k += 4) {
      float4 b[kStepsN];
#pragma unroll
      for (int j = 0; j < kStepsN; ++j)
        b[j] = four_at(&w.rows[column_of_thread() + j * kThreadsN][k]);
#pragma unroll
      for (int i = 0; i < kStepsM; ++i) {
        const float4 a = four_at(&x.rows[row_of_thread() + i * kThreadsM][k]);
#pragma unroll
        for (int j = 0; j < kStepsN; ++j) {
          float& sum = sums_[i][j];
          sum = fmaf(a.x, b[j].x, sum);
          sum = fmaf(a.y, b[j].y, sum);
          sum = fmaf(a.z, b[j].z, sum);
          sum = fmaf(a.w, b[j].w, sum);
        }
      }
    }
  }

  // Calls f(row, column, sum) for every element that the thread has.
  template <class F>
  __device__ void for_each(const F& f) const {
#pragma unroll
    for (int i = 0; i < kStepsM; ++i) {
#pragma unroll
      for (int j = 0; j < kStepsN; ++j) {
        f(row_of_thread() + i * kThreadsM, column_of_thread() + j * kThreadsN, sums_[i][j]);
      }
    }
  }

 private:
  static constexpr int kStepsM = kM / kThreadsM, kStepsN = kN / kThreadsN;
  static_assert(kStepsM * kThreadsM == kM && kStepsN * kThreadsN == kN);

  __device__ static int row_of_thread() { return threadIdx.x / kThreadsN; }
  __device__ static int column_of_thread() { return threadIdx.x % kThreadsN; }
  __device__ static float4 four_at(const float* p) { return *reinterpret_cast<const float4*>(p); }

  float sums_[kStepsM][kStepsN] = {};
};

// The tiles for few rows and for many.
template <class T>
struct ProductTiles {
  using Small = MmaTile<T, 16, 64, 1, 4>;
  using Large = MmaTile<T, 64, 128, 2, 4>;
};
template <>
struct ProductTiles<float> {
  using Small = FmaTile<16, 64>;
  using Large = FmaTile<64, 64>;
};

}  // namespace aotiny::cuda
