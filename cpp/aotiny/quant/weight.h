// A quantized weight: the planes of one format, as tensors.
#pragma once

#include <vector>

#include "aotiny/core/tensor.h"
#include "aotiny/quant/formats.h"

namespace aotiny {

// Whether what belongs to a row (Layout::Rows), a group (Groups) or a tile (Tiles) lies together,
// and elements counted per row are dense, in a plane with at least the dimensions that `spec` has.
bool has_dense_rows(const PlaneSpec& spec, const Tensor& plane);

// Whether a plane's elements lie at multiples of their size, as typed loads want them.
bool is_aligned(const Tensor& plane);

// The bytes in row-major order are the same, whatever the strides and the devices; the shapes and
// dtypes are.
bool has_same_bytes(const Tensor& a, const Tensor& b);

// W [N, K], or a stack of B such [B, N, K]. Copying shares the planes, and so do the views that
// views.h makes: a plane need not be contiguous.
//
// A transposed weight has the same planes and reads as [K, N] or [B, K, N]: only sizes() and
// dequantize() differ, while n(), k(), row() and the planes remain those of [N, K].
class Weight {
 public:
  // Takes the planes in the order of the format's list. Fails with InvalidArgument or InvalidType,
  // naming the plane and giving the numbers, unless all are on one device, of the format's dtypes
  // and of the shapes that the first plane's and the group size imply, with dense rows.
  // `readonly` says that the memory of one of them must not be written to.
  Weight(FormatId format, std::vector<Tensor> planes, int64_t group_size, bool readonly = false);

  // Uninitialised planes for [n, k], or [batch, n, k] if `batch` is given; fails as check_shape.
  static Weight empty(FormatId format, int64_t n, int64_t k, int64_t group_size,
                      std::optional<int64_t> batch = std::nullopt, Device device = kCPU);

  FormatId format() const noexcept { return format_; }
  const FormatInfo& info() const noexcept { return *info_; }
  int64_t n() const noexcept { return n_; }
  int64_t k() const noexcept { return k_; }
  bool is_stack() const noexcept { return is_stack_; }
  int64_t batch() const noexcept { return batch_; }  // 1 if it is no stack
  int64_t group_size() const noexcept { return group_size_; }
  const std::vector<Tensor>& planes() const noexcept { return planes_; }
  Device device() const noexcept { return planes_[0].device(); }
  std::vector<int64_t> sizes() const;  // [N, K] or [B, N, K]; transposed [K, N] or [B, K, N]
  bool is_contiguous() const noexcept;
  bool is_readonly() const noexcept { return is_readonly_; }
  bool is_transposed() const noexcept { return is_transposed_; }
  Weight transposed() const;  // shares the planes; twice is the weight itself
  // Fails with InvalidArgument, beginning with `what` and saying what to give instead.
  void check_not_transposed(const char* what) const;

  size_t nbytes() const noexcept;           // of all planes
  double bits_per_weight() const noexcept;  // metadata included
  WeightRow row(int64_t n, int64_t b = 0) const noexcept;
  // Bytes from one row to the next in a plane of Layout::Rows.
  int64_t row_stride(int plane) const noexcept;

  // Itself if it is on this device. Otherwise a copy in memory of its own, every plane contiguous,
  // not read-only; it is there when this returns, unless it went from one GPU to another, which
  // takes its place in their current streams.
  Weight to(Device device) const;

  // fp32, of this shape, contiguous, on this device.
  Tensor dequantize() const;

  // Fails with InvalidArgument, naming the first one's plane, place and value, if a number of the
  // metadata is NaN or infinite, or a step not above 0 where the format says so: what no quantizer
  // makes and every product would pass on. From another device the metadata is copied to look at
  // it, which fails with InvalidState while a stream is captured into a graph.
  void check_values() const;

  // The same format, shape, orientation and group size, and the same bytes, whatever the strides
  // and the devices. What is elsewhere is copied to the CPU to be compared.
  bool operator==(const Weight& other) const;

 private:
  FormatId format_;
  const FormatInfo* info_;
  int64_t n_, k_, batch_, group_size_;
  bool is_stack_, is_readonly_, is_transposed_ = false;
  std::vector<Tensor> planes_;
};

// The formats as types: a weight packed one way cannot be taken for another.
template <class Self>
class WeightOf : public Weight {
 public:
  explicit WeightOf(Weight weight) : Weight(std::move(weight)) {
    require(info().name == std::string_view(Self::kName), Status::InvalidArgument,
            "a weight of format ", info().name, " is not a ", Self::kName);
  }
};

struct CoalescedInt4 : WeightOf<CoalescedInt4> {
  static constexpr const char* kName = "CoalescedInt4";
  using WeightOf::WeightOf;
};
struct ExactInt4 : WeightOf<ExactInt4> {
  static constexpr const char* kName = "ExactInt4";
  using WeightOf::WeightOf;
};
struct ExactInt5 : WeightOf<ExactInt5> {
  static constexpr const char* kName = "ExactInt5";
  using WeightOf::WeightOf;
};
struct PlanarInt6 : WeightOf<PlanarInt6> {
  static constexpr const char* kName = "PlanarInt6";
  using WeightOf::WeightOf;
};
struct Int8 : WeightOf<Int8> {
  static constexpr const char* kName = "Int8";
  using WeightOf::WeightOf;
};
struct Int4Plain : WeightOf<Int4Plain> {
  static constexpr const char* kName = "Int4Plain";
  using WeightOf::WeightOf;
};
struct Int4TilePacked : WeightOf<Int4TilePacked> {
  static constexpr const char* kName = "Int4TilePacked";
  using WeightOf::WeightOf;
};

template <class... Types>
struct WeightTypeList {};
using WeightTypes = WeightTypeList<CoalescedInt4, ExactInt4, ExactInt5, PlanarInt6, Int8, Int4Plain,
                                   Int4TilePacked>;

}  // namespace aotiny
