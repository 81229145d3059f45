// The launch of plain_mm: which kernels, how the work is cut, and the loop over the pieces.
#pragma once

#include <iosfwd>

#include "aotiny/kernels/plain_mm.h"

namespace aotiny {

struct PlainMmProblem {
  FormatId format;
  int64_t m, n, k, group_size;
  int threads;
};

enum class PlainMmIsa : uint8_t { Portable, Avx2, Avx512Vnni };

struct PlainMmPlan {
  PlainMmIsa isa;
  int64_t chunk_rows;  // rows of x that one visit of a panel, or of some, serves
  int64_t tile_rows;   // rows of a tile, at most what the kernels take
  bool direct;         // read the packed codes in the tile, instead of unpacking panels first
  int64_t stretch;     // of k, in whole groups, that a visit goes through at once
  int64_t grain;       // panel visits that are worth a thread's start

  bool operator==(const PlainMmPlan&) const = default;
};

const PlainMmKernels& plain_mm_kernels(PlainMmIsa isa);
PlainMmPlan plan_plain_mm(const PlainMmProblem& problem, const CpuFeatures& features);
std::ostream& operator<<(std::ostream& out, const PlainMmProblem& problem);
std::ostream& operator<<(std::ostream& out, const PlainMmPlan& plan);

struct PlainMmArgs {
  FormatId format;
  int64_t m, n, k, group_size;
  DType dtype;                       // of x and y: float32, float16 or bfloat16
  const void* x;                     // [m, k], unit stride along k
  int64_t x_stride;                  // elements from row to row
  const uint8_t* plane[kMaxPlanes];  // all in Layout::Rows, the elements of a row dense
  int64_t stride[kMaxPlanes];        // bytes from row to row
  const float* bias;                 // [n], or null
  void* y;                           // [m, n], contiguous
};

// Quantizes x, then multiplies. Returns the name of the kernels that ran.
const char* plain_mm(const PlainMmArgs& args, const CpuFeatures& features = cpu_features());

}  // namespace aotiny
