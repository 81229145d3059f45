#include "aotiny/kernels/scan.h"

#include <algorithm>
#include <type_traits>

#include "aotiny/core/parallel.h"

namespace aotiny {
namespace {

constexpr int64_t kGrain = 16384;  // elements worth a thread

// Unsigned for all integers: overflow wraps, and the low bits are those of the signed result.
template <class T>
using Accumulator =
    std::conditional_t<kIsFloat16<T>, float,
                       std::conditional_t<std::is_floating_point_v<T>, double, uint64_t>>;

template <class T, ScanOp kOp>
void scan_row(const T* in, T* out, int64_t length) {
  Accumulator<T> sum = kOp == ScanOp::Sum ? 0 : 1;
  for (int64_t i = 0; i < length; ++i) {
    const auto value = convert<Accumulator<T>>(in[i]);
    sum = kOp == ScanOp::Sum ? sum + value : sum * value;
    out[i] = convert<T>(sum);
  }
}

}  // namespace

void scan_rows(DType dtype, ScanOp op, const void* in, void* out, int64_t rows, int64_t length) {
  const char* what = op == ScanOp::Sum ? "cumsum" : "cumprod";
  require(dtype != DType::Bool, Status::InvalidType, what, ": dtype ", dtype,
          " is not supported for the result");
  visit_dtype(dtype, what, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto scan = op == ScanOp::Sum ? scan_row<T, ScanOp::Sum> : scan_row<T, ScanOp::Product>;
    parallel_for(rows, std::max<int64_t>(1, kGrain / std::max<int64_t>(length, 1)),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t row = begin; row < end; ++row) {
                     scan(static_cast<const T*>(in) + row * length,
                          static_cast<T*>(out) + row * length, length);
                   }
                 });
  });
}

}  // namespace aotiny
