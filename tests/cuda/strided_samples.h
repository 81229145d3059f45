// Tensors of many shapes and strides, with values that are hard to order.
#pragma once

#include <limits>

#include "gpu_test.h"

namespace aotiny::cuda {

inline constexpr DType kRealDtypes[] = {
    DType::UInt8,   DType::Int8,    DType::Int16,   DType::Int32, DType::Int64,
    DType::Float16, DType::Float32, DType::Float64, DType::Bool,  DType::BFloat16,
    DType::UInt16,  DType::UInt32,  DType::UInt64};

// A fixed sequence of pseudo-random numbers below `limit`.
class Numbers {
 public:
  explicit Numbers(uint64_t seed) : state_(seed * 2 + 1) {}
  uint32_t below(uint32_t limit) {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<uint32_t>(state_ >> 33) % limit;
  }

 private:
  uint64_t state_;
};

// Contiguous, each element one of the table's.
inline Tensor drawn_from(const std::vector<double>& table, const Ints& sizes, DType dtype,
                         uint64_t seed = 1) {
  const Tensor values = Tensor::empty(sizes, DType::Float64);
  Numbers numbers(seed);
  for (int64_t i = 0; i < values.numel(); ++i) {
    values.data<double>()[i] = table[numbers.below(static_cast<uint32_t>(table.size()))];
  }
  return values.to(dtype);
}

// Few values, so that many are equal; NaN, infinities and both zeros among the floats.
inline Tensor ties(const Ints& sizes, DType dtype, uint64_t seed = 1) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  if (is_floating_point(dtype)) {
    return drawn_from({kNan, kInfinity, -kInfinity, 0.0, -0.0, 1.5, -1.5, 2.0, 0.25}, sizes, dtype,
                      seed);
  }
  const bool is_signed = dtype == DType::Int8 || dtype == DType::Int16 || dtype == DType::Int32 ||
                         dtype == DType::Int64;
  const double lowest = is_signed ? -128 : 0;
  return drawn_from({lowest, 1, 0, 3, 127, 5, 2}, sizes, dtype, seed);
}

// Calls f(host, dim) for the same kind of values with different shapes and strides and every
// dimension of them; `make(sizes, seed)` gives the values.
template <class Make, class F>
void for_every_layout(Make&& make, F&& f) {
  const Tensor layouts[] = {
      make(Ints{5, 37, 6}, 1),
      make(Ints{5, 37, 6}, 2).transpose(0, 2),
      make(Ints{10, 37, 13}, 3).slice(0, 1, 10, 2).slice(2, 3, 11, 2),
      make(Ints{8, 74, 6}, 4).slice(0, 0, 5).slice(1, 0, 74, 2).permute(Ints{2, 1, 0}),
      make(Ints{1, 37, 1}, 5).expand(Ints{3, 37, 4}),
      make(Ints{37}, 6),
      make(Ints{1, 1}, 7),
      make(Ints{}, 8),
      make(Ints{0, 37}, 9),
      make(Ints{3, 0}, 10),
      make(Ints{301, 130}, 11),
      make(Ints{2, 40001}, 12),
  };
  for (const Tensor& host : layouts) {
    f(host, -1);
    for (int64_t dim = 0; dim < host.ndim(); ++dim) f(host, dim);
  }
}

// The bytes of the elements in row-major order.
inline std::vector<uint8_t> bytes_of(const Tensor& tensor) {
  const Tensor dense = tensor.to(kCPU).contiguous();
  const auto* begin = static_cast<const uint8_t*>(dense.raw_data());
  return {begin, begin + dense.numel() * static_cast<int64_t>(dense.itemsize())};
}

// Equal dtypes, shapes, strides and elements, bit by bit, but for the device.
inline void expect_same(const Tensor& got, const Tensor& expected) {
  EXPECT_EQ(got.device().type, DeviceType::CUDA);
  EXPECT_EQ(got.dtype(), expected.dtype());
  EXPECT_EQ(ints(got.sizes()), ints(expected.sizes()));
  EXPECT_EQ(ints(got.strides()), ints(expected.strides()));
  EXPECT_TRUE(bytes_of(got) == bytes_of(expected)) << "the elements differ";
}

}  // namespace aotiny::cuda
