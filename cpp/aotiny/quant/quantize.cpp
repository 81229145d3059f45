#include "aotiny/quant/quantize.h"

#include <algorithm>

#include "aotiny/quant/row_encoder.h"

namespace aotiny {
namespace {

template <class Traits>
GroupParams minmax_params(const float* values, int64_t count) {
  const auto range = std::minmax_element(values, values + count);
  return Traits::params_of_range(*range.first, *range.second);
}

// The middle code stands for 0, the largest for the largest magnitude.
template <class Traits>
GroupParams symmetric_params(const float* values, int64_t count) {
  constexpr int kMiddle = (Traits::kMinCode + Traits::kMaxCode + 1) / 2;
  const auto range = std::minmax_element(values, values + count);
  const double largest = std::max<double>(-*range.first, *range.second);
  const double scale = largest / (Traits::kMaxCode - kMiddle);
  return {scale, Traits::kInfo.value == Value::Min ? kMiddle * scale : kMiddle};
}

// Quantizes rows by one method.
template <class Traits>
class RowQuantizer {
 public:
  RowQuantizer(int64_t k, int64_t group_size, Method method)
      : group_size_(group_size),
        groups_(k / group_size),
        method_(method),
        encoder_(k, group_size),
        params_(groups_),
        rest_(method == Method::Hqq ? k : 0),
        better_(method == Method::Hqq ? groups_ : 0),
        norms_(method == Method::Hqq ? 2 * groups_ : 0) {}

  void quantize(const float* values, WeightRow row) {
    for (int64_t i = 0; i < groups_; ++i) {
      const float* group = values + i * group_size_;
      params_[i] = method_ == Method::MinMaxSymmetric ? symmetric_params<Traits>(group, group_size_)
                                                      : minmax_params<Traits>(group, group_size_);
    }
    encoder_.encode(values, params_.data(), row);
    if (method_ == Method::Hqq) improve(values, row);
  }

 private:
  // Takes the parameters of HQQ for the groups where the errors are smaller with them also when
  // rounded as they are stored.
  void improve(const float* values, WeightRow row) {
    double* before = norms_.data();
    double* after = before + groups_;
    encoder_.errors(values, rest_.data(), before);
    for (int64_t i = 0; i < groups_; ++i) {
      better_[i] = hqq_params(values + i * group_size_, group_size_, Traits::kInfo,
                              Traits::kMinCode, Traits::kMaxCode, params_[i]);
    }
    encoder_.encode(values, better_.data(), row);
    encoder_.errors(values, rest_.data(), after);
    bool all_better = true;
    for (int64_t i = 0; i < groups_; ++i) {
      if (after[i] <= before[i]) continue;
      better_[i] = params_[i];
      all_better = false;
    }
    if (!all_better) encoder_.encode(values, better_.data(), row);
  }

  int64_t group_size_, groups_;
  Method method_;
  RowEncoder<Traits> encoder_;
  Scratch<GroupParams> params_;
  Scratch<float> rest_;
  Scratch<GroupParams> better_;
  Scratch<double> norms_;
};

template <class T>
void quantize(const Tensor& values, const Weight& weight, Method method, const Progress& progress) {
  const int64_t n = weight.n(), k = weight.k(), g = weight.group_size();
  const int64_t row_stride = values.stride(-2), stride = values.stride(-1);
  const int64_t batch_stride = weight.is_stack() ? values.stride(0) : 0;
  const T* data = values.data<T>();
  FirstBad bad;
  visit_format(weight.format(), [&](auto traits) {
    using Traits = decltype(traits);
    for_rows(weight.batch() * n, k, progress, [&](int64_t begin, int64_t end) {
      Scratch<float> row(k);
      RowQuantizer<Traits> quantizer(k, g, method);
      for (int64_t i = begin; i < end; ++i) {
        const T* source = data + i / n * batch_stride + i % n * row_stride;
        for (int64_t j = 0; j < k; ++j) row[j] = convert<float>(source[j * stride]);
        if (bad.in_row(row.data(), k, i, traits.kInfo.largest)) return;  // the rest comes later
        quantizer.quantize(row.data(), weight.row(i % n, i / n));
      }
    });
  });
  bad.check("quantize", weight);
}

}  // namespace

Method find_method(std::string_view name) {
  if (name == "minmax") return Method::MinMax;
  if (name == "minmax_symmetric") return Method::MinMaxSymmetric;
  if (name == "hqq") return Method::Hqq;
  fail(Status::InvalidArgument, "quantize: method \"", name,
       "\" is not \"minmax\", \"minmax_symmetric\" or \"hqq\"");
}

Weight quantize(const Tensor& values, FormatId format, int64_t group_size, Method method,
                const Progress& progress) {
  require(values.ndim() == 2 || values.ndim() == 3, Status::InvalidArgument,
          "quantize: a weight has 2 dimensions, a stack of them 3, not ", values.ndim(), " (shape ",
          Shape{values.sizes()}, ")");
  require(values.device() == kCPU, Status::NotImplemented, "quantize: the array is on ",
          values.device(), ", and weights are quantized on the CPU: .to(\"cpu\") copies it there");
  Weight weight = Weight::empty(format, values.size(-2), values.size(-1), group_size,
                                values.ndim() == 3 ? std::optional(values.size(0)) : std::nullopt);
  switch (values.dtype()) {
    case DType::Float32:
      quantize<float>(values, weight, method, progress);
      break;
    case DType::Float16:
      quantize<Float16>(values, weight, method, progress);
      break;
    case DType::BFloat16:
      quantize<BFloat16>(values, weight, method, progress);
      break;
    default:
      fail(Status::InvalidType, "quantize: dtype ", values.dtype(),
           " is not float32, float16 or bfloat16");
  }
  return weight;
}

}  // namespace aotiny
