#include "aotiny/quant/quantize.h"

#include <atomic>
#include <cmath>

#include "aotiny/core/parallel.h"
#include "aotiny/core/scratch.h"
#include "aotiny/quant/hqq.h"

namespace aotiny {
namespace {

constexpr int64_t kReportElements = int64_t{1} << 22;  // done between two calls of Progress

// Calls body(begin, end) on pieces of the rows in parallel, reporting between stretches of them.
template <class Body>
void for_rows(int64_t rows, int64_t k, const Progress& progress, const Body& body) {
  const int64_t stretch = progress ? 1 + kReportElements / k : rows;
  for (int64_t done = 0; done < rows; done += stretch) {
    const int64_t count = std::min(stretch, rows - done);
    parallel_for(count, 1 + 8192 / k,
                 [&](int64_t begin, int64_t end) { body(done + begin, done + end); });
    if (progress) progress(done + count, rows);
  }
}

// Reads a strided row as fp32; the column of the first value that is not within ±largest, or k.
template <class T>
int64_t read_row(const T* values, int64_t stride, int64_t k, float largest, float* row) {
  int64_t bad = k;
  for (int64_t i = k - 1; i >= 0; --i) {
    row[i] = convert<float>(values[i * stride]);
    if (!(std::fabs(row[i]) <= largest)) bad = i;
  }
  return bad;
}

// Encodes one row after another; what it needs for that is taken once.
template <class Traits>
class RowEncoder {
 public:
  RowEncoder(int64_t k, int64_t group_size)
      : k_(k),
        group_size_(group_size),
        groups_(k / group_size),
        scale_(groups_),
        zero_(groups_),
        codes_(k) {}

  // Stores params and, under what a decoder makes of them, the nearest codes of the values.
  void encode(const float* values, const GroupParams* params, WeightRow row) {
    Traits::encode_params(params, groups_, group_size_, row);
    Traits::decode_params(row, groups_, group_size_, scale_.data(), zero_.data());
    for (int64_t j = 0; j < k_; ++j) {
      const float step = scale_[j / group_size_];
      const float shift = zero_[j / group_size_];
      const float raw = Traits::kInfo.value == Value::Zero ? values[j] / step + shift
                                                           : (values[j] + shift) / step;
      const float code = step == 0 ? 0 : std::nearbyint(raw);
      codes_[j] = static_cast<int>(std::clamp<float>(code, Traits::kMinCode, Traits::kMaxCode));
    }
    Traits::pack_codes(codes_.data(), k_, row);
  }

  // Of every group, the sparse norm of the error that the last row was encoded with.
  void errors(const float* values, float* rest, double* norms) const {
    for (int64_t j = 0; j < k_; ++j) {
      const int64_t group = j / group_size_;
      rest[j] = values[j] - value_of(Traits::kInfo.value, static_cast<float>(codes_[j]),
                                     scale_[group], zero_[group]);
    }
    for (int64_t i = 0; i < groups_; ++i) {
      norms[i] = sparse_norm(rest + i * group_size_, group_size_);
    }
  }

 private:
  int64_t k_, group_size_, groups_;
  Scratch<float> scale_, zero_;
  Scratch<int> codes_;
};

template <class Traits>
GroupParams minmax_params(const float* values, int64_t count, bool symmetric) {
  constexpr int kMiddle = (Traits::kMinCode + Traits::kMaxCode + 1) / 2;
  const auto range = std::minmax_element(values, values + count);
  double lo = *range.first, hi = *range.second;
  if (symmetric) {
    const double step = std::max(-lo, hi) / (Traits::kMaxCode - kMiddle);
    lo = (Traits::kMinCode - kMiddle) * step;
    hi = (Traits::kMaxCode - kMiddle) * step;
  }
  return Traits::params_of_range(lo, hi);
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
      params_[i] = minmax_params<Traits>(values + i * group_size_, group_size_,
                                         method_ == Method::MinMaxSymmetric);
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
  std::atomic<int64_t> first_bad{INT64_MAX};
  visit_format(weight.format(), [&](auto traits) {
    using Traits = decltype(traits);
    for_rows(weight.batch() * n, k, progress, [&](int64_t begin, int64_t end) {
      Scratch<float> row(k);
      RowQuantizer<Traits> quantizer(k, g, method);
      for (int64_t i = begin; i < end; ++i) {
        const T* source = data + i / n * batch_stride + i % n * row_stride;
        const int64_t bad = read_row(source, stride, k, traits.kInfo.largest, row.data());
        if (bad < k) {
          int64_t seen = first_bad.load();
          while (i * k + bad < seen && !first_bad.compare_exchange_weak(seen, i * k + bad)) {
          }
          return;  // the rest of this piece comes later
        }
        quantizer.quantize(row.data(), weight.row(i % n, i / n));
      }
    });
  });
  const int64_t bad = first_bad.load();
  if (bad == INT64_MAX) return;
  const int64_t b = bad / k / n, i = bad / k % n, j = bad % k;
  const float value = convert<float>(data[b * batch_stride + i * row_stride + j * stride]);
  const std::vector<int64_t> place =
      weight.is_stack() ? std::vector<int64_t>{b, i, j} : std::vector<int64_t>{i, j};
  require(!std::isfinite(value), Status::InvalidArgument, "quantize: the value at ", Shape{place},
          " is ", value, "; ", weight.info().name, weight.info().variant,
          " holds magnitudes up to ", weight.info().largest);
  fail(Status::InvalidArgument, "quantize: the value at ", Shape{place}, " is ", value,
       "; weights must be finite");
}

// The parameters in a format of kind To for a group that has these in a format of kind From, so
// that the code q there becomes q + kMinCode of To − kMinCode of From here.
template <class From, class To>
GroupParams convert_params(float scale, float zero, const float* values, int64_t count) {
  const auto of_range = [&] {
    const auto range = std::minmax_element(values, values + count);
    return To::params_of_range(*range.first, *range.second);
  };
  // Where zeros are not negative neither are scales: a group with one is turned around.
  if (scale == 0 || (scale < 0 && To::kInfo.unsigned_zero)) return of_range();
  const double min = From::kInfo.value == Value::Zero ? double{zero} * scale : zero;
  const double shifted = min + double{scale} * (To::kMinCode - From::kMinCode);
  if (To::kInfo.unsigned_zero && shifted < 0) return of_range();
  return {scale, To::kInfo.value == Value::Zero ? shifted / scale : shifted};
}

template <class From, class To>
void convert_rows(const Weight& from, const Weight& to, const Progress& progress) {
  const int64_t n = from.n(), k = from.k(), g = from.group_size(), groups = k / g;
  for_rows(from.batch() * n, k, progress, [&](int64_t begin, int64_t end) {
    Scratch<float> values(k), scale(groups), zero(groups);
    Scratch<GroupParams> params(groups);
    Scratch<int> codes(k);
    RowEncoder<To> encoder(k, g);
    for (int64_t i = begin; i < end; ++i) {
      const WeightRow row = from.row(i % n, i / n);
      From::unpack_codes(row, k, codes.data());
      From::decode_params(row, groups, g, scale.data(), zero.data());
      for (int64_t j = 0; j < k; ++j) {
        values[j] =
            value_of(From::kInfo.value, static_cast<float>(codes[j]), scale[j / g], zero[j / g]);
      }
      for (int64_t j = 0; j < groups; ++j) {
        params[j] = convert_params<From, To>(scale[j], zero[j], values.data() + j * g, g);
      }
      encoder.encode(values.data(), params.data(), to.row(i % n, i / n));
    }
  });
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
          values.device(), ", only the CPU is supported");
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

Weight convert(const Weight& weight, FormatId format, const Progress& progress) {
  require(weight.device() == kCPU, Status::NotImplemented, "convert: the weight is on ",
          weight.device(), ", only the CPU is supported");
  const FormatInfo& info = format_info(format);
  Weight result = Weight::empty(format, weight.n(), weight.k(), weight.group_size(),
                                weight.is_stack() ? std::optional(weight.batch()) : std::nullopt);
  visit_format(weight.format(), [&](auto from) {
    visit_format(format, [&](auto to) {
      using From = decltype(from);
      using To = decltype(to);
      constexpr bool kFits = From::kMaxCode - From::kMinCode == To::kMaxCode - To::kMinCode &&
                             (To::kInfo.value != Value::Scale || From::kInfo.value == Value::Scale);
      if constexpr (kFits) {
        convert_rows<From, To>(weight, result, progress);
      } else {
        fail(Status::InvalidType, "convert: the codes of ", weight.info().name,
             weight.info().variant, " have no place in ", info.name, info.variant,
             "; quantize its dequantized values instead");
      }
    });
  });
  return weight.is_transposed() ? result.transposed() : result;
}

}  // namespace aotiny
