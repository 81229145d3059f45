#include "aotiny/quant/weight.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "aotiny/core/parallel.h"
#include "aotiny/core/scratch.h"
#include "aotiny/quant/weight_kernels.h"

namespace aotiny {
namespace {

std::vector<int64_t> with_batch(std::vector<int64_t> sizes, std::optional<int64_t> batch) {
  if (batch) sizes.insert(sizes.begin(), *batch);
  return sizes;
}

// Fails on the first element that is not finite or, for steps, not above 0.
template <class T>
void check_plane(const FormatInfo& info, const PlaneSpec& spec, const Tensor& given) {
  const Tensor plane = given.to(kCPU).contiguous();
  const T* values = plane.data<T>();
  const bool is_step = spec.per == Per::Row || spec.per == Per::SuperBlock;
  for (int64_t i = 0; i < plane.numel(); ++i) {
    const float value = static_cast<float>(values[i]);
    if (std::isfinite(value) && (value > 0 || !is_step || !info.positive_steps)) continue;
    std::vector<int64_t> place;
    int64_t rest = i;
    for (int64_t dim = plane.ndim() - 1; dim >= 0; --dim) {
      place.insert(place.begin(), rest % plane.size(dim));
      rest /= plane.size(dim);
    }
    fail(Status::InvalidArgument, info.name, info.variant, ": ", spec.name, " at ", Shape{place},
         " is ", value, std::isfinite(value) ? ", steps are above 0" : ", not finite");
  }
}

}  // namespace

bool is_aligned(const Tensor& plane) {
  return reinterpret_cast<uintptr_t>(plane.raw_data()) % plane.itemsize() == 0;
}

bool has_same_bytes(const Tensor& a, const Tensor& b) {
  const Tensor x = a.to(kCPU).contiguous(), y = b.to(kCPU).contiguous();
  return std::memcmp(x.raw_data(), y.raw_data(), static_cast<size_t>(x.numel()) * x.itemsize()) ==
         0;
}

bool has_dense_rows(const PlaneSpec& spec, const Tensor& plane) {
  const auto steps = [&plane](int64_t dim, int64_t stride) {
    return plane.size(dim) == 1 || plane.stride(dim) == stride;
  };
  switch (spec.layout) {
    case Layout::Tiles:
      return steps(-1, 1) && steps(-2, spec.count);
    case Layout::Groups:
      return steps(-1, 1) && (spec.count == 1 || steps(-2, spec.count));
    default:
      return steps(-1, 1) && (spec.per != Per::Row || steps(-2, spec.count));
  }
}

Weight::Weight(FormatId format, std::vector<Tensor> planes, int64_t group_size, bool readonly)
    : format_(format),
      info_(&format_info(format)),
      group_size_(group_size),
      is_readonly_(readonly),
      planes_(std::move(planes)) {
  const std::span<const PlaneSpec> specs = info_->planes;
  require(planes_.size() == specs.size(), Status::InvalidArgument, info_->name, info_->variant,
          ": ", planes_.size(), " tensors were given, the format has ", specs.size());
  const PlaneSpec& first = specs[0];
  const Tensor& codes = planes_[0];
  require(codes.defined() && (codes.ndim() == first.ndim() || codes.ndim() == first.ndim() + 1),
          Status::InvalidArgument, info_->name, ": ", first.name, " has ", codes.ndim(),
          " dimensions, not ", first.ndim(), " (or ", first.ndim() + 1, " for a stack of weights)");
  is_stack_ = codes.ndim() > first.ndim();
  batch_ = is_stack_ ? codes.size(0) : 1;
  const int64_t rows = codes.size(is_stack_), columns = codes.size(is_stack_ + 1);
  const bool tiles = first.layout == Layout::Tiles;
  const int64_t per_row = tiles ? 8 : 1, per_column = tiles ? 32 * first.count : first.count;
  require(rows <= INT64_MAX / per_row && columns <= INT64_MAX / per_column, Status::InvalidArgument,
          info_->name, ": ", first.name, " has shape ", Shape{codes.sizes()});
  n_ = rows * per_row;
  k_ = columns * per_column;
  check_shape(*info_, n_, k_, group_size_);
  require(batch_ >= 1, Status::InvalidArgument, info_->name, ": a stack of ", batch_, " weights");
  for (size_t i = 0; i < specs.size(); ++i) {
    const Tensor& plane = planes_[i];
    require(plane.defined() && plane.dtype() == specs[i].dtype, Status::InvalidType, info_->name,
            ": ", specs[i].name, " has dtype ", plane.dtype(), ", not ", specs[i].dtype);
    const std::vector<int64_t> sizes = with_batch(specs[i].sizes(n_, k_, group_size_),
                                                  is_stack_ ? std::optional(batch_) : std::nullopt);
    require(std::ranges::equal(plane.sizes(), sizes), Status::InvalidArgument, info_->name, ": ",
            specs[i].name, " has shape ", Shape{plane.sizes()}, ", not ", Shape{sizes},
            ", which N = ", n_, ", K = ", k_, " and group size ", group_size_, " need");
    require(has_dense_rows(specs[i], plane), Status::InvalidArgument, info_->name, ": ",
            specs[i].name, " has strides ", Shape{plane.strides()},
            "; what belongs to a row must lie together");
    require(is_aligned(plane), Status::InvalidArgument, info_->name, ": ", specs[i].name,
            " lies at an address that is no multiple of ", plane.itemsize());
    require(plane.device() == codes.device(), Status::InvalidArgument, info_->name, ": ",
            specs[i].name, " is on ", plane.device(), ", ", specs[0].name, " on ", codes.device());
  }
}

Weight Weight::empty(FormatId format, int64_t n, int64_t k, int64_t group_size,
                     std::optional<int64_t> batch, Device device) {
  const FormatInfo& info = format_info(format);
  check_shape(info, n, k, group_size);
  std::vector<Tensor> planes;
  for (const PlaneSpec& spec : info.planes) {
    planes.push_back(
        Tensor::empty(with_batch(spec.sizes(n, k, group_size), batch), spec.dtype, device));
  }
  return Weight(format, std::move(planes), group_size);
}

std::vector<int64_t> Weight::sizes() const {
  return with_batch(is_transposed_ ? std::vector<int64_t>{k_, n_} : std::vector<int64_t>{n_, k_},
                    is_stack_ ? std::optional(batch_) : std::nullopt);
}

Weight Weight::transposed() const {
  Weight result = *this;
  result.is_transposed_ = !is_transposed_;
  return result;
}

void Weight::check_not_transposed(const char* what) const {
  require(!is_transposed_, Status::InvalidArgument, what, ": the weight is a transposed view ",
          Shape{sizes()}, "; its transpose (mT) ", Shape{transposed().sizes()}, " is what packs K");
}

bool Weight::is_contiguous() const noexcept {
  return std::ranges::all_of(planes_, [](const Tensor& plane) { return plane.is_contiguous(); });
}

size_t Weight::nbytes() const noexcept {
  size_t total = 0;
  for (const Tensor& plane : planes_) {
    total += static_cast<size_t>(plane.numel()) * plane.itemsize();
  }
  return total;
}

double Weight::bits_per_weight() const noexcept {
  return 8.0 * static_cast<double>(nbytes()) /
         (static_cast<double>(batch_) * static_cast<double>(n_) * static_cast<double>(k_));
}

WeightRow Weight::row(int64_t n, int64_t b) const noexcept {
  WeightRow row{};
  for (size_t i = 0; i < planes_.size(); ++i) {
    const PlaneSpec& spec = info_->planes[i];
    const IntSpan strides = planes_[i].strides();
    const int64_t n_stride = strides[is_stack_ + spec.n_dim()];
    int64_t offset = is_stack_ ? b * strides[0] : 0;
    if (spec.layout == Layout::Tiles) {
      offset += n / 8 * n_stride + n % 8 * 4 * spec.count;
    } else {
      offset += n * n_stride;
    }
    row.plane[i] = static_cast<uint8_t*>(planes_[i].raw_data()) +
                   offset * static_cast<int64_t>(planes_[i].itemsize());
    row.step[i] = spec.layout == Layout::Rows ? 1 : strides[is_stack_ + spec.k_dim()];
  }
  return row;
}

int64_t Weight::row_stride(int plane) const noexcept {
  const Tensor& tensor = planes_[plane];
  return tensor.strides()[is_stack_] * static_cast<int64_t>(tensor.itemsize());
}

Weight Weight::to(Device device) const {
  if (device == this->device()) return *this;
  const Weight copy =
      empty(format_, n_, k_, group_size_, is_stack_ ? std::optional(batch_) : std::nullopt, device);
  for (size_t i = 0; i < planes_.size(); ++i) copy.planes_[i].copy_(planes_[i]);
  return is_transposed_ ? copy.transposed() : copy;
}

Tensor Weight::dequantize() const {
  Tensor result =
      Tensor::empty(with_batch({n_, k_}, is_stack_ ? std::optional(batch_) : std::nullopt),
                    DType::Float32, device());
  if (device() != kCPU) {
    const DeviceWeight weight(*this);
    WeightKernels& kernels = device_interface(device().type).weight_kernels();
    for (int64_t b = 0; b < batch_; ++b) {
      kernels.gather({weight, b, nullptr, n_, DType::Float32, result.data<float>() + b * n_ * k_},
                     device());
    }
    return is_transposed_ ? result.transpose(-2, -1).contiguous() : result;
  }
  float* out = result.data<float>();
  const int64_t groups = k_ / group_size_;
  visit_format(format_, [&](auto traits) {
    parallel_for(batch_ * n_, 1 + 16384 / k_, [&](int64_t begin, int64_t end) {
      Scratch<int> codes(k_);
      Scratch<float> scale(groups), zero(groups);
      for (int64_t i = begin; i < end; ++i) {
        const WeightRow from = row(i % n_, i / n_);
        traits.unpack_codes(from, k_, codes.data());
        traits.decode_params(from, groups, group_size_, scale.data(), zero.data());
        for (int64_t k = 0; k < k_; ++k) {
          const int64_t group = k / group_size_;
          out[i * k_ + k] =
              value_of(traits.kInfo.value, static_cast<float>(codes[k]), scale[group], zero[group]);
        }
      }
    });
  });
  return is_transposed_ ? result.transpose(-2, -1).contiguous() : result;
}

void Weight::check_values() const {
  for (size_t i = 0; i < planes_.size(); ++i) {
    const PlaneSpec& spec = info_->planes[i];
    if (spec.dtype == DType::BFloat16) check_plane<BFloat16>(*info_, spec, planes_[i]);
    if (spec.dtype == DType::Float16) check_plane<Float16>(*info_, spec, planes_[i]);
    if (spec.dtype == DType::Float32) check_plane<float>(*info_, spec, planes_[i]);
  }
}

bool Weight::operator==(const Weight& other) const {
  if (format_ != other.format_ || sizes() != other.sizes() || group_size_ != other.group_size_ ||
      is_transposed_ != other.is_transposed_) {
    return false;
  }
  for (size_t i = 0; i < planes_.size(); ++i) {
    if (!has_same_bytes(planes_[i], other.planes_[i])) return false;
  }
  return true;
}

}  // namespace aotiny
