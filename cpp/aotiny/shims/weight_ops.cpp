#include "aotiny/shims/weight_ops.h"

#include <algorithm>

#include "aotiny/core/overlap.h"
#include "aotiny/core/parallel.h"
#include "aotiny/core/scratch.h"
#include "aotiny/kernels/dequantize.h"
#include "aotiny/kernels/dequantized_mm.h"
#include "aotiny/kernels/gemm_floats.h"
#include "aotiny/kernels/plain_mm_launch.h"
#include "aotiny/kernels/tile_packed_mm.h"
#include "aotiny/quant/weight_kernels.h"

namespace aotiny {
namespace {

// --- checks: `op` is the operator's name, for the message ---------------------------------------

void check_float(const char* op, const char* name, DType dtype) {
  require(dtype == DType::Float32 || dtype == DType::Float16 || dtype == DType::BFloat16,
          Status::InvalidType, op, ": ", name, dtype, ", not float32, float16 or bfloat16");
}

void check_weight(const char* op, const Weight& weight, bool stack) {
  require(weight.is_stack() == stack, Status::InvalidArgument, op, ": the weight has shape ",
          Shape{weight.sizes()},
          stack ? "; a single weight takes matmul" : "; a stack of weights takes bmm");
  weight.check_not_transposed(op);
}

void check_device(const char* op, const char* name, const Tensor& tensor, const Weight& weight) {
  require(tensor.defined(), Status::InvalidArgument, op, ": ", name, " is undefined");
  require(tensor.device() == weight.device(), Status::InvalidArgument, op, ": ", name, " is on ",
          tensor.device(), ", the weight on ", weight.device());
}

void check_x(const char* op, const Tensor& x, const Weight& weight) {
  check_device(op, "x", x, weight);
  check_float(op, "x has dtype ", x.dtype());
}

void check_bias(const Tensor& bias, const Weight& weight) {
  check_device("matmul", "bias", bias, weight);
  check_float("matmul", "bias has dtype ", bias.dtype());
  require(bias.ndim() == 1 && bias.size(0) == weight.n(), Status::InvalidArgument,
          "matmul: bias has shape ", Shape{bias.sizes()}, ", not [", weight.n(), "]");
}

void check_out(const char* op, const Tensor& out, const Weight& weight, DType dtype,
               IntSpan sizes) {
  check_device(op, "out", out, weight);
  require(out.dtype() == dtype, Status::InvalidType, op, ": out has dtype ", out.dtype(), ", x ",
          dtype);
  require(std::ranges::equal(sizes, out.sizes()), Status::InvalidArgument, op, ": out has shape ",
          Shape{out.sizes()}, ", not ", Shape{sizes});
  require(out.is_contiguous(), Status::InvalidArgument, op,
          ": out is not contiguous: its strides are ", Shape{out.strides()});
  for (size_t i = 0; i < weight.planes().size(); ++i) {
    const Tensor& plane = weight.planes()[i];
    require(!may_overlap(out, plane), Status::InvalidArgument, op, ": out, ", out, " at address ",
            reinterpret_cast<uintptr_t>(out.raw_data()), ", lies in the memory of the weight's ",
            weight.info().planes[i].name, ", ", plane, " at address ",
            reinterpret_cast<uintptr_t>(plane.raw_data()));
  }
}

// --- products -----------------------------------------------------------------------------------

// x [B, M, K] with unit stride along K, and where the result goes.
struct Product {
  const Weight& weight;
  Tensor x;
  const float* bias;  // [N], or null
  Tensor y;           // [B, M, N], contiguous, of x's dtype
};

// x where writing y does not change it. A copy is contiguous: a clone of windows that overlap would
// have other strides, and kernels want the unit stride along K.
Tensor apart(const Tensor& x, const Tensor& y) {
  if (!may_overlap(x, y)) return x;
  const Tensor copy = Tensor::empty(x.sizes(), x.dtype(), x.device());
  copy.copy_(x);
  return copy;
}

void int8_product(const Product& p) {
  for (int64_t b = 0; b < p.x.size(0); ++b) {
    PlainMmArgs args{};
    args.format = p.weight.format();
    args.m = p.x.size(1);
    args.n = p.weight.n();
    args.k = p.weight.k();
    args.group_size = p.weight.group_size();
    args.dtype = p.x.dtype();
    args.x = p.x.select(0, b).raw_data();
    args.x_stride = p.x.stride(1);
    const WeightRow first = p.weight.row(0, b);
    for (size_t i = 0; i < p.weight.planes().size(); ++i) {
      args.plane[i] = first.plane[i];
      args.stride[i] = p.weight.row_stride(static_cast<int>(i));
    }
    args.bias = p.bias;
    args.y = p.y.select(0, b).raw_data();
    plain_mm(args);
  }
}

void tile_packed_product(const Product& p) {
  const Tensor x = apart(p.x, p.y);
  for (int64_t b = 0; b < x.size(0); ++b) {
    tile_packed_mm(p.weight, b,
                   {.m = x.size(1),
                    .x = x.select(0, b).data<BFloat16>(),
                    .x_row = x.stride(1),
                    .bias = p.bias,
                    .y = p.y.select(0, b).data<BFloat16>()});
  }
}

void native_product(const Product& p) {
  if (has_tile_packed_mm(p.weight.format(), p.x.dtype(), cpu_features())) {
    return tile_packed_product(p);
  }
  const bool wide = p.x.dtype() == DType::Float32;
  const bool in_place = wide && !may_overlap(p.x, p.y);
  const Tensor x = wide ? p.x : p.x.to(DType::Float32).contiguous();
  const Tensor y = in_place ? p.y : Tensor::empty(p.y.sizes(), DType::Float32);
  dequantized_mm(p.weight, {.m = x.size(1),
                            .x = x.data<float>(),
                            .x_batch = x.stride(0),
                            .x_row = x.stride(1),
                            .bias = p.bias,
                            .y = y.data<float>()});
  if (!in_place) p.y.copy_(y);
}

void device_product(const Product& p, bool int8) {
  // Rows of the result are written while others' x is still read.
  const Tensor x = apart(p.x, p.y);
  const WeightProduct product{.weight = DeviceWeight(p.weight),
                              .m = x.size(1),
                              .dtype = x.dtype(),
                              .x = x.raw_data(),
                              .x_batch = x.stride(0),
                              .x_row = x.stride(1),
                              .bias = p.bias,
                              .y = p.y.raw_data()};
  WeightKernels& kernels = device_interface(x.device().type).weight_kernels();
  int8 ? kernels.plain_product(product, x.device()) : kernels.native_product(product, x.device());
}

void product(const Product& p, Activation activation) {
  const bool int8 = choose_activation({p.weight.format(), activation}) == Activation::Int8;
  if (p.y.numel() == 0) return;
  if (p.x.device() != kCPU) return device_product(p, int8);
  if (!int8) return native_product(p);
  // A single matrix is quantized before anything is written. Of several, the first one's result
  // must not change what the next one reads.
  int8_product({p.weight, p.x.size(0) > 1 ? apart(p.x, p.y) : p.x, p.bias, p.y});
}

// x with unit stride along its last dimension: itself where it has that.
Tensor dense_along_k(const Tensor& x) { return x.stride(-1) == 1 ? x : x.contiguous(); }

// `indices` are contiguous int64.
void check_indices(const Tensor& indices, int64_t n) {
  const int64_t* values = indices.data<int64_t>();
  for (int64_t i = 0; i < indices.numel(); ++i) {
    if (values[i] >= 0 && values[i] < n) continue;
    std::vector<int64_t> place;
    int64_t rest = i;
    for (int64_t dim = indices.ndim() - 1; dim >= 0; --dim) {
      place.insert(place.begin(), rest % indices.size(dim));
      rest /= indices.size(dim);
    }
    fail(Status::InvalidArgument, "embedding: the index at ", Shape{place}, " is ", values[i],
         ", the weight has N = ", n, " rows");
  }
}

// `rows` are contiguous int64. An index that cannot be checked, since the stream must not be waited
// for while it is captured, gives a row of NaN.
void device_embedding(const Tensor& rows, const Weight& weight, const Tensor& result) {
  if (result.numel() == 0) return;
  const Device device = weight.device();
  DeviceInterface& interface = device_interface(device.type);
  WeightKernels& kernels = interface.weight_kernels();
  const int64_t count = rows.numel();
  if (!interface.is_capturing(device)) {
    const auto [least, greatest] =
        kernels.index_range(rows.raw_data(), DType::Int64, count, device);
    if (least < 0 || greatest >= weight.n()) check_indices(rows.to(kCPU), weight.n());
  }
  kernels.gather({.weight = DeviceWeight(weight),
                  .indices = rows.data<int64_t>(),
                  .count = count,
                  .dtype = result.dtype(),
                  .out = result.raw_data()},
                 device);
}

}  // namespace

Tensor matmul(const Tensor& x, const Weight& weight, Activation activation, const Tensor* bias,
              const Tensor* out) {
  check_weight("matmul", weight, false);
  check_x("matmul", x, weight);
  require(x.ndim() >= 1 && x.size(-1) == weight.k(), Status::InvalidArgument,
          "matmul: x has shape ", Shape{x.sizes()}, ", its last size must be K = ", weight.k());
  std::vector<int64_t> sizes(x.sizes().begin(), x.sizes().end());
  sizes.back() = weight.n();
  if (bias != nullptr) check_bias(*bias, weight);
  if (out != nullptr) check_out("matmul", *out, weight, x.dtype(), sizes);
  const Tensor y = out != nullptr ? *out : Tensor::empty(sizes, x.dtype(), x.device());
  // A copy where `out` is given: writing it must not change a bias that lies in the same memory.
  Tensor wide_bias = bias != nullptr ? bias->to(DType::Float32).contiguous() : Tensor();
  if (bias != nullptr && out != nullptr) wide_bias = wide_bias.clone();
  const int64_t m = x.numel() / weight.k();
  const int64_t x_sizes[] = {1, m, weight.k()}, y_sizes[] = {1, m, weight.n()};
  // A view where x is a matrix with unit stride along K.
  const Tensor rows = x.ndim() == 2 ? dense_along_k(x) : x.contiguous();
  product({weight, rows.view(x_sizes), bias != nullptr ? wide_bias.data<float>() : nullptr,
           y.view(y_sizes)},
          activation);
  return y;
}

Tensor bmm(const Tensor& x, const Weight& weight, Activation activation, const Tensor* out) {
  check_weight("bmm", weight, true);
  check_x("bmm", x, weight);
  require(x.ndim() == 3 && x.size(0) == weight.batch() && x.size(2) == weight.k(),
          Status::InvalidArgument, "bmm: x has shape ", Shape{x.sizes()},
          ", not [B = ", weight.batch(), ", M, K = ", weight.k(), "]");
  const int64_t sizes[] = {x.size(0), x.size(1), weight.n()};
  if (out != nullptr) check_out("bmm", *out, weight, x.dtype(), sizes);
  const Tensor y = out != nullptr ? *out : Tensor::empty(sizes, x.dtype(), x.device());
  product({weight, dense_along_k(x), nullptr, y}, activation);
  return y;
}

Tensor embedding(const Tensor& indices, const Weight& weight, DType dtype) {
  check_weight("embedding", weight, false);
  check_float("embedding", "the result's dtype is ", dtype);
  check_device("embedding", "the tensor of indices", indices, weight);
  require(indices.dtype() == DType::Int64 || indices.dtype() == DType::Int32, Status::InvalidType,
          "embedding: indices have dtype ", indices.dtype(), ", not int64 or int32");
  const Tensor rows = indices.to(DType::Int64).contiguous();
  std::vector<int64_t> sizes(rows.sizes().begin(), rows.sizes().end());
  sizes.push_back(weight.k());
  const Tensor result = Tensor::empty(sizes, dtype, weight.device());
  if (weight.device() != kCPU) {
    device_embedding(rows, weight, result);
    return result;
  }
  check_indices(rows, weight.n());
  const int64_t k = weight.k();
  const int64_t* index = rows.data<int64_t>();
  const GemmKernels& kernels = gemm_kernels(cpu_features());
  constexpr int64_t kGrain = 1 << 16;  // values that outweigh a thread's start
  parallel_for(rows.numel(), (kGrain + k - 1) / k, [&](int64_t begin, int64_t end) {
    const bool in_place = dtype == DType::Float32;
    const Scratch<float> room(in_place ? 0 : k);
    for (int64_t i = begin; i < end; ++i) {
      char* to =
          static_cast<char*>(result.raw_data()) + i * k * static_cast<int64_t>(result.itemsize());
      float* values = in_place ? reinterpret_cast<float*>(to) : room.data();
      dequantize_rows(weight, 0, index[i], index[i] + 1, values);
      if (!in_place) store_floats(kernels, dtype, k, values, to, 1);
    }
  });
  return result;
}

}  // namespace aotiny
