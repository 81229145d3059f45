#include "aotiny/quant/minmax.h"

#include <atomic>

#include "aotiny/core/parallel.h"
#include "aotiny/core/scratch.h"

namespace aotiny {
namespace {

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

template <class Traits>
void quantize_row(const float* values, int64_t k, int64_t group_size, WeightRow row, float* scale,
                  float* zero, int* codes) {
  const int64_t groups = k / group_size;
  for (int64_t i = 0; i < groups; ++i) {  // scale and zero hold the ranges until they are known
    const auto range = std::minmax_element(values + i * group_size, values + (i + 1) * group_size);
    scale[i] = *range.first;
    zero[i] = *range.second;
  }
  Traits::encode_params(scale, zero, groups, group_size, row);
  Traits::decode_params(row, groups, group_size, scale, zero);
  for (int64_t j = 0; j < k; ++j) {
    const float step = scale[j / group_size];
    const float shift = zero[j / group_size];
    const float raw = Traits::kInfo.value == Value::Min ? (values[j] + shift) / step  //
                                                        : values[j] / step + shift;
    const float code = step == 0 ? 0 : std::nearbyint(raw);
    codes[j] = static_cast<int>(std::clamp<float>(code, Traits::kMinCode, Traits::kMaxCode));
  }
  Traits::pack_codes(codes, k, row);
}

template <class T>
void quantize(const Tensor& values, const Weight& weight) {
  const int64_t n = weight.n(), k = weight.k(), groups = k / weight.group_size();
  const T* data = values.data<T>();
  std::atomic<int64_t> first_bad{INT64_MAX};
  visit_format(weight.format(), [&](auto traits) {
    parallel_for(n, 1 + 8192 / k, [&](int64_t begin, int64_t end) {
      Scratch<float> row(k), scale(groups), zero(groups);
      Scratch<int> codes(k);
      for (int64_t i = begin; i < end; ++i) {
        const int64_t bad = read_row(data + i * values.stride(0), values.stride(1), k,
                                     traits.kInfo.largest(), row.data());
        if (bad < k) {
          int64_t seen = first_bad.load();
          while (i * k + bad < seen && !first_bad.compare_exchange_weak(seen, i * k + bad)) {
          }
          return;  // the rest of this piece comes later
        }
        quantize_row<decltype(traits)>(row.data(), k, weight.group_size(), weight.row(i),
                                       scale.data(), zero.data(), codes.data());
      }
    });
  });
  const int64_t bad = first_bad.load();
  if (bad != INT64_MAX) {
    const float value =
        convert<float>(data[bad / k * values.stride(0) + bad % k * values.stride(1)]);
    require(!std::isfinite(value), Status::InvalidArgument, "quantize: the value at [", bad / k,
            ", ", bad % k, "] is ", value, "; ", weight.info().name, weight.info().metadata,
            " holds magnitudes up to ", weight.info().largest());
    fail(Status::InvalidArgument, "quantize: the value at [", bad / k, ", ", bad % k, "] is ",
         value, "; weights must be finite");
  }
}

}  // namespace

Weight quantize_minmax(const Tensor& values, FormatId format, int64_t group_size) {
  require(values.ndim() == 2, Status::InvalidArgument, "quantize: a weight has 2 dimensions, not ",
          values.ndim(), " (shape ", Shape{values.sizes()}, ")");
  require(values.device() == kCPU, Status::NotImplemented, "quantize: the array is on ",
          values.device(), ", only the CPU is supported");
  Weight weight = Weight::empty(format, values.size(0), values.size(1), group_size);
  switch (values.dtype()) {
    case DType::Float32:
      quantize<float>(values, weight);
      break;
    case DType::Float16:
      quantize<Float16>(values, weight);
      break;
    case DType::BFloat16:
      quantize<BFloat16>(values, weight);
      break;
    default:
      fail(Status::InvalidType, "quantize: dtype ", values.dtype(),
           " is not float32, float16 or bfloat16");
  }
  return weight;
}

}  // namespace aotiny
