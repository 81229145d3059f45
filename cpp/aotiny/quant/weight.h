// A quantized weight: the planes of one format, as tensors.
#pragma once

#include <array>
#include <vector>

#include "aotiny/core/tensor.h"
#include "aotiny/quant/formats.h"

namespace aotiny {

// Immutable; copying shares the planes.
class Weight {
 public:
  // Takes the planes in the order of the format's list. Fails with InvalidArgument or InvalidType,
  // naming the plane and giving the numbers, unless all are on one device, contiguous, of the
  // format's dtypes and of the shapes that the first plane's and the group size imply.
  Weight(FormatId format, std::vector<Tensor> planes, int64_t group_size);

  // Uninitialised planes for [n, k]; fails as check_shape.
  static Weight empty(FormatId format, int64_t n, int64_t k, int64_t group_size);

  FormatId format() const noexcept { return format_; }
  const FormatInfo& info() const noexcept { return *info_; }
  int64_t n() const noexcept { return n_; }
  int64_t k() const noexcept { return k_; }
  int64_t group_size() const noexcept { return group_size_; }
  const std::vector<Tensor>& planes() const noexcept { return planes_; }
  Device device() const noexcept { return planes_[0].device(); }

  size_t nbytes() const noexcept;           // of all planes
  double bits_per_weight() const noexcept;  // metadata included
  WeightRow row(int64_t n) const noexcept;

  // fp32 [N, K], contiguous.
  Tensor dequantize() const;

  // The same format, shape and group size, and the same bytes.
  bool operator==(const Weight& other) const;

 private:
  FormatId format_;
  const FormatInfo* info_;
  int64_t n_, k_, group_size_;
  std::vector<Tensor> planes_;
};

// The formats as types: a weight packed one way cannot be taken for another.
class CoalescedInt4 : public Weight {
 public:
  static constexpr const char* kName = "CoalescedInt4";
  explicit CoalescedInt4(Weight weight);
};

class ExactInt4 : public Weight {
 public:
  static constexpr const char* kName = "ExactInt4";
  explicit ExactInt4(Weight weight);
};

class Int8 : public Weight {
 public:
  static constexpr const char* kName = "Int8";
  explicit Int8(Weight weight);
};

}  // namespace aotiny
