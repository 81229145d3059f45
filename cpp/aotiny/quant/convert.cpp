#include <algorithm>

#include "aotiny/quant/row_encoder.h"

namespace aotiny {
namespace {

// The parameters in a format of kind To for a group that has these in a format of kind From, so
// that the code q there becomes q + kMinCode of To − kMinCode of From here.
template <class From, class To>
GroupParams convert_params(float scale, float zero, const float* values, int64_t count) {
  const auto of_range = [&] {
    const auto range = std::minmax_element(values, values + count);
    return To::params_of_range(*range.first, *range.second);
  };
  const double min = From::kInfo.value == Value::Zero ? double{zero} * scale : zero;
  const double shifted = min + double{scale} * (To::kMinCode - From::kMinCode);
  const GroupParams params{scale, To::kInfo.value == Value::Zero ? shifted / scale : shifted};
  if (scale == 0 || std::fabs(params.scale) > To::kInfo.largest ||
      std::fabs(params.zero) > To::kInfo.largest) {
    return of_range();
  }
  if constexpr (To::kInfo.unsigned_zero) {
    // There scales are not negative either, and a group with one is turned around. A zero beyond
    // the codes would coarsen the step of those beside it.
    constexpr bool kIsCode = To::kInfo.value == Value::Zero;
    if (scale < 0 || params.zero < 0 || (kIsCode && params.zero > To::kMaxCode)) return of_range();
  }
  return params;
}

template <class From, class To>
void convert_rows(const Weight& from, const Weight& to, const Progress& progress) {
  const int64_t n = from.n(), k = from.k(), g = from.group_size(), groups = k / g;
  FirstBad bad;
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
      if (bad.in_row(values.data(), k, i, To::kInfo.largest)) return;
      for (int64_t j = 0; j < groups; ++j) {
        params[j] = convert_params<From, To>(scale[j], zero[j], values.data() + j * g, g);
      }
      encoder.encode(values.data(), params.data(), to.row(i % n, i / n));
    }
  });
  bad.check("convert", to);
}

}  // namespace

Weight convert(const Weight& weight, FormatId format, const Progress& progress) {
  require(weight.device() == kCPU, Status::NotImplemented, "convert: the weight is on ",
          weight.device(), ", and weights are converted on the CPU: .to(\"cpu\") copies it there");
  if (weight.format() == format) return weight;
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
