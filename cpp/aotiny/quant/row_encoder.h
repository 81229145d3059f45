// What quantize and convert share: rows in parallel, encoded under given parameters.
#pragma once

#include <cmath>
#include <mutex>

#include "aotiny/core/parallel.h"
#include "aotiny/core/scratch.h"
#include "aotiny/quant/hqq.h"
#include "aotiny/quant/quantize.h"

namespace aotiny {

inline constexpr int64_t kReportElements = int64_t{1} << 22;  // done between two calls of Progress

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

// The first value of a weight, in the order of its elements, that a format cannot hold. Rows may be
// looked at in any order, by any thread.
class FirstBad {
 public:
  // Looks at row `i` (of all in the stack); true if it has such a value.
  bool in_row(const float* values, int64_t k, int64_t i, float largest) {
    int64_t bad = k;
    for (int64_t j = k - 1; j >= 0; --j) {
      if (!(std::fabs(values[j]) <= largest)) bad = j;
    }
    if (bad == k) return false;
    const std::lock_guard lock(mutex_);
    if (index_ < 0 || i * k + bad < index_) {
      index_ = i * k + bad;
      value_ = values[bad];
    }
    return true;
  }

  // Fails with its place and value, if there is one.
  void check(const char* name, const Weight& weight) const {
    if (index_ < 0) return;
    const int64_t n = weight.n(), k = weight.k();
    std::vector<int64_t> place{index_ / k % n, index_ % k};
    if (weight.is_stack()) place.insert(place.begin(), index_ / k / n);
    require(!std::isfinite(value_), Status::InvalidArgument, name, ": the value at ", Shape{place},
            " is ", value_, "; ", weight.info().name, weight.info().variant,
            " holds magnitudes up to ", weight.info().largest);
    fail(Status::InvalidArgument, name, ": the value at ", Shape{place}, " is ", value_,
         "; weights must be finite");
  }

 private:
  std::mutex mutex_;
  int64_t index_ = -1;
  float value_ = 0;
};

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

}  // namespace aotiny
