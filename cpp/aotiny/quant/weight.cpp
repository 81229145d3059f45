#include "aotiny/quant/weight.h"

#include <cstring>

#include "aotiny/core/parallel.h"
#include "aotiny/core/scratch.h"

namespace aotiny {
namespace {

Weight checked_format(Weight weight, std::string_view name) {
  require(weight.info().name == name, Status::InvalidArgument, "a weight of format ",
          weight.info().name, " is not a ", name);
  return weight;
}

}  // namespace

Weight::Weight(FormatId format, std::vector<Tensor> planes, int64_t group_size)
    : format_(format),
      info_(&format_info(format)),
      group_size_(group_size),
      planes_(std::move(planes)) {
  const std::span<const PlaneSpec> specs = info_->planes;
  require(planes_.size() == specs.size(), Status::InvalidArgument, info_->name, info_->metadata,
          ": ", planes_.size(), " tensors were given, the format has ", specs.size());
  const Tensor& codes = planes_[0];
  require(codes.defined() && codes.ndim() == 2, Status::InvalidArgument, info_->name, ": ",
          specs[0].name, " has ", codes.ndim(), " dimensions, not 2");
  n_ = codes.size(0);
  require(codes.size(1) <= INT64_MAX / specs[0].count, Status::InvalidArgument, info_->name, ": ",
          specs[0].name, " has ", codes.size(1), " columns");
  k_ = codes.size(1) * specs[0].count;
  check_shape(*info_, n_, k_, group_size_);
  for (size_t i = 0; i < specs.size(); ++i) {
    const Tensor& plane = planes_[i];
    require(plane.defined() && plane.dtype() == specs[i].dtype, Status::InvalidType, info_->name,
            ": ", specs[i].name, " has dtype ", plane.dtype(), ", not ", specs[i].dtype);
    const int64_t columns = specs[i].columns(k_, group_size_);
    require(plane.ndim() == 2 && plane.size(0) == n_ && plane.size(1) == columns,
            Status::InvalidArgument, info_->name, ": ", specs[i].name, " has shape ",
            Shape{plane.sizes()}, ", not [", n_, ", ", columns, "], which N = ", n_, ", K = ", k_,
            " and group size ", group_size_, " need");
    require(plane.is_contiguous(), Status::InvalidArgument, info_->name, ": ", specs[i].name,
            " is not contiguous: its strides are ", Shape{plane.strides()});
    require(plane.device() == codes.device(), Status::InvalidArgument, info_->name, ": ",
            specs[i].name, " is on ", plane.device(), ", ", specs[0].name, " on ", codes.device());
  }
}

Weight Weight::empty(FormatId format, int64_t n, int64_t k, int64_t group_size) {
  const FormatInfo& info = format_info(format);
  check_shape(info, n, k, group_size);
  std::vector<Tensor> planes;
  for (const PlaneSpec& spec : info.planes) {
    const int64_t sizes[] = {n, spec.columns(k, group_size)};
    planes.push_back(Tensor::empty(sizes, spec.dtype));
  }
  return Weight(format, std::move(planes), group_size);
}

size_t Weight::nbytes() const noexcept {
  size_t total = 0;
  for (const Tensor& plane : planes_) {
    total += static_cast<size_t>(plane.numel()) * plane.itemsize();
  }
  return total;
}

double Weight::bits_per_weight() const noexcept {
  return 8.0 * static_cast<double>(nbytes()) / (static_cast<double>(n_) * static_cast<double>(k_));
}

WeightRow Weight::row(int64_t n) const noexcept {
  WeightRow row{};
  for (size_t i = 0; i < planes_.size(); ++i) {
    const int64_t stride = planes_[i].sizes()[1] * static_cast<int64_t>(planes_[i].itemsize());
    row.plane[i] = static_cast<uint8_t*>(planes_[i].raw_data()) + n * stride;
  }
  return row;
}

Tensor Weight::dequantize() const {
  require(device() == kCPU, Status::NotImplemented, info_->name, ": dequantize of a weight on ",
          device());
  const int64_t sizes[] = {n_, k_};
  Tensor result = Tensor::empty(sizes, DType::Float32);
  float* out = result.data<float>();
  const int64_t groups = k_ / group_size_;
  visit_format(format_, [&](auto traits) {
    parallel_for(n_, 1 + 16384 / k_, [&](int64_t begin, int64_t end) {
      Scratch<int> codes(k_);
      Scratch<float> scale(groups), zero(groups);
      for (int64_t n = begin; n < end; ++n) {
        traits.unpack_codes(row(n), k_, codes.data());
        traits.decode_params(row(n), groups, group_size_, scale.data(), zero.data());
        for (int64_t k = 0; k < k_; ++k) {
          const int64_t group = k / group_size_;
          out[n * k_ + k] =
              value_of(traits.kInfo.value, static_cast<float>(codes[k]), scale[group], zero[group]);
        }
      }
    });
  });
  return result;
}

bool Weight::operator==(const Weight& other) const {
  if (format_ != other.format_ || n_ != other.n_ || k_ != other.k_ ||
      group_size_ != other.group_size_) {
    return false;
  }
  require(device() == kCPU && other.device() == kCPU, Status::NotImplemented, info_->name,
          ": comparing weights on ", device(), " and ", other.device());
  for (size_t i = 0; i < planes_.size(); ++i) {
    const size_t nbytes = static_cast<size_t>(planes_[i].numel()) * planes_[i].itemsize();
    if (std::memcmp(planes_[i].raw_data(), other.planes_[i].raw_data(), nbytes) != 0) return false;
  }
  return true;
}

CoalescedInt4::CoalescedInt4(Weight weight) : Weight(checked_format(std::move(weight), kName)) {}
ExactInt4::ExactInt4(Weight weight) : Weight(checked_format(std::move(weight), kName)) {}
Int8::Int8(Weight weight) : Weight(checked_format(std::move(weight), kName)) {}

}  // namespace aotiny
