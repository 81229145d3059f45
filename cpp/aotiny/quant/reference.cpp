#include "aotiny/quant/reference.h"

#include <limits>

namespace aotiny {

ReferenceActivations reference_quantize(const float* x, int64_t k) {
  ReferenceActivations result;
  for (int64_t block = 0; block < k; block += kBlock) {
    float largest = 0;
    bool finite = true;
    for (int64_t i = block; i < block + kBlock; ++i) {
      largest = std::max(largest, std::fabs(x[i]));
      finite = finite && std::isfinite(x[i]);
    }
    const float d = largest / 127;
    for (int64_t i = block; i < block + kBlock; ++i) {
      const float code = finite && d > 0 ? std::nearbyint(x[i] / d) : 0;
      result.q.push_back(static_cast<int>(std::clamp(code, -127.0f, 127.0f)));
    }
    result.d.push_back(finite ? d : std::numeric_limits<float>::quiet_NaN());
  }
  return result;
}

std::vector<double> reference_plain_mm(const float* x, int64_t m, const Weight& weight,
                                       const float* bias) {
  const int64_t n = weight.n(), k = weight.k(), groups = k / weight.group_size();
  std::vector<double> y(static_cast<size_t>(m * n));
  std::vector<int> codes(static_cast<size_t>(k));
  std::vector<float> scale(static_cast<size_t>(groups)), zero(scale);
  std::vector<ReferenceActivations> rows;
  for (int64_t i = 0; i < m; ++i) rows.push_back(reference_quantize(x + i * k, k));
  for (int64_t j = 0; j < n; ++j) {
    visit_format(weight.format(), [&](auto traits) {
      traits.unpack_codes(weight.row(j), k, codes.data());
      traits.decode_params(weight.row(j), groups, weight.group_size(), scale.data(), zero.data());
    });
    for (int64_t i = 0; i < m; ++i) {
      double total = bias == nullptr ? 0 : bias[j];
      for (int64_t block = 0; block < k / kBlock; ++block) {
        double sum = 0;
        for (int64_t l = block * kBlock; l < (block + 1) * kBlock; ++l) {
          const double s = scale[l / weight.group_size()], z = zero[l / weight.group_size()];
          const double value =
              weight.info().value == Value::Zero ? (codes[l] - z) * s : codes[l] * s - z;
          sum += value * rows[i].q[l];
        }
        total += rows[i].d[block] * sum;
      }
      y[i * n + j] = total;
    }
  }
  return y;
}

}  // namespace aotiny
