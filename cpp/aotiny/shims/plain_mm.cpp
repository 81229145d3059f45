// int4_plain_mm, exact_int4_plain_mm, int8_plain_mm: products with quantized weights and
// activations.
#include "aotiny/shims/plain_mm.h"

#include "aotiny/core/scratch.h"
#include "aotiny/kernels/plain_mm_launch.h"
#include "aotiny/shims/handle.h"

namespace aotiny {
namespace {

bool is_activation_dtype(DType dtype) {
  return dtype == DType::Float32 || dtype == DType::Float16 || dtype == DType::BFloat16;
}

std::vector<int64_t> result_sizes(const Tensor& x, const Weight& weight) {
  require(weight.device() == kCPU, Status::NotImplemented, "plain_mm: the weight is on ",
          weight.device(), ", this is the CPU's product");
  require(x.defined() && x.device() == kCPU, Status::InvalidArgument, "plain_mm: self is on ",
          x.device(), ", the weight on cpu");
  require(is_activation_dtype(x.dtype()), Status::InvalidType, "plain_mm: self has dtype ",
          x.dtype(), ", not float32, float16 or bfloat16");
  require(weight.info().plain, Status::InvalidType, "plain_mm: ", weight.info().name,
          " has no product with int8 activations");
  require(!weight.is_stack(), Status::InvalidArgument, "plain_mm: the weight has shape ",
          Shape{weight.sizes()}, "; a stack of weights takes a batched product");
  require(x.ndim() >= 1 && x.size(-1) == weight.k(), Status::InvalidArgument,
          "plain_mm: self has shape ", Shape{x.sizes()},
          ", its last size must be K = ", weight.k());
  std::vector<int64_t> sizes(x.sizes().begin(), x.sizes().end());
  sizes.back() = weight.n();
  return sizes;
}

// x as [rows, K] with unit stride along K: a view where there is one.
Tensor as_rows(const Tensor& x, int64_t k) {
  const int64_t rows = x.numel() / k;
  const int64_t sizes[] = {rows, k};
  if (x.ndim() == 2 && x.stride(1) == 1) return x;
  return x.contiguous().view(sizes);
}

void check_bias(const Tensor& bias, const Weight& weight) {
  require(bias.defined() && bias.device() == kCPU, Status::InvalidArgument, "plain_mm: bias is on ",
          bias.device(), ", the weight on cpu");
  require(is_activation_dtype(bias.dtype()), Status::InvalidType, "plain_mm: bias has dtype ",
          bias.dtype(), ", not float32, float16 or bfloat16");
  require(bias.ndim() == 1 && bias.size(0) == weight.n(), Status::InvalidArgument,
          "plain_mm: bias has shape ", Shape{bias.sizes()}, ", not [", weight.n(), "]");
}

void check_out(const Tensor& out, const Tensor& x, IntSpan sizes) {
  require(out.defined() && out.device() == kCPU, Status::InvalidArgument, "plain_mm: out is on ",
          out.device(), ", the weight on cpu");
  require(out.dtype() == x.dtype(), Status::InvalidType, "plain_mm: out has dtype ", out.dtype(),
          ", self ", x.dtype());
  require(std::equal(sizes.begin(), sizes.end(), out.sizes().begin(), out.sizes().end()),
          Status::InvalidArgument, "plain_mm: out has shape ", Shape{out.sizes()}, ", not ",
          Shape{sizes});
  require(out.is_contiguous(), Status::InvalidArgument,
          "plain_mm: out is not contiguous: its strides are ", Shape{out.strides()});
}

// The shims' common body: ret0 = self W^T, W from the handles of its planes.
void plain_mm_shim(AtenTensorHandle self, FormatId format,
                   std::initializer_list<AtenTensorHandle> handles, int64_t group_size,
                   AtenTensorHandle* ret0) {
  NewHandle result(ret0, "ret0");
  const Tensor& x = in(self, "self");
  std::vector<Tensor> planes;
  for (const AtenTensorHandle handle : handles) {
    planes.push_back(in(handle, format_info(format).planes[planes.size()].name));
  }
  result = plain_mm(x, Weight(format, std::move(planes), group_size));
}

}  // namespace

Tensor plain_mm(const Tensor& x, const Weight& weight, const Tensor* bias, const Tensor* out) {
  const std::vector<int64_t> sizes = result_sizes(x, weight);
  if (bias != nullptr) check_bias(*bias, weight);
  if (out != nullptr) check_out(*out, x, sizes);
  const Tensor y = out != nullptr ? *out : Tensor::empty(sizes, x.dtype());
  const Tensor rows = as_rows(x, weight.k());
  // A copy where `out` is given: writing it must not change a bias that lies in the same memory. (x
  // may lie there too: it is read whole, by quantizing it, before anything is written.)
  Tensor wide_bias = bias != nullptr ? bias->to(DType::Float32).contiguous() : Tensor();
  if (bias != nullptr && out != nullptr) wide_bias = wide_bias.clone();
  PlainMmArgs args{};
  args.format = weight.format();
  args.m = rows.size(0);
  args.n = weight.n();
  args.k = weight.k();
  args.group_size = weight.group_size();
  args.dtype = x.dtype();
  args.x = rows.raw_data();
  args.x_stride = rows.stride(0);
  const WeightRow first = weight.row(0);
  for (size_t i = 0; i < weight.planes().size(); ++i) {
    args.plane[i] = first.plane[i];
    args.stride[i] = weight.row_stride(static_cast<int>(i));
  }
  args.bias = bias != nullptr ? wide_bias.data<float>() : nullptr;
  args.y = y.raw_data();
  plain_mm(args);
  return y;
}

}  // namespace aotiny

using namespace aotiny;

AOTITorchError aoti_torch_cpu_int4_plain_mm(AtenTensorHandle self, AtenTensorHandle qdata,
                                            AtenTensorHandle scale, AtenTensorHandle fourth,
                                            intptr_t fifth, intptr_t sixth, intptr_t seventh,
                                            intptr_t eighth) {
  return guarded([&] {
    const auto tensor = [](intptr_t argument) {
      return reinterpret_cast<AtenTensorHandle>(argument);
    };
    const DType third = in(scale, "scale").dtype();
    const DType kind = in(fourth, "the fourth argument").dtype();
    if (third == DType::BFloat16 && kind == DType::BFloat16) {  // A: group_size, ret0
      plain_mm_shim(self, kFormatId<CoalescedInt4Traits<Metadata::A>>, {qdata, scale, fourth},
                    fifth, reinterpret_cast<AtenTensorHandle*>(sixth));
    } else if (third == DType::UInt8 && kind == DType::UInt8) {  // B: steps, group_size, ret0
      // ExactInt4's arguments begin alike; its later ones must not be taken for size and pointer.
      const DType steps = in(tensor(fifth), "steps").dtype();
      require(steps == DType::BFloat16, Status::InvalidType, "int4_plain_mm: steps has dtype ",
              steps, ", not bfloat16");
      plain_mm_shim(self, kFormatId<CoalescedInt4Traits<Metadata::B>>,
                    {qdata, scale, fourth, tensor(fifth)}, sixth,
                    reinterpret_cast<AtenTensorHandle*>(seventh));
    } else if (third == DType::UInt8 && kind == DType::Float16) {
      // C: zero, zero_point_step, group_size, ret0
      plain_mm_shim(self, kFormatId<CoalescedInt4Traits<Metadata::C>>,
                    {qdata, scale, fourth, tensor(fifth), tensor(sixth)}, seventh,
                    reinterpret_cast<AtenTensorHandle*>(eighth));
    } else {
      fail(Status::InvalidArgument, "int4_plain_mm: the third and fourth arguments have dtypes ",
           third, " and ", kind,
           ", which no metadata has: A is bfloat16 and bfloat16, B uint8 and uint8, C uint8 and "
           "float16");
    }
  });
}

AOTITorchError aoti_torch_cpu_exact_int4_plain_mm(AtenTensorHandle self, AtenTensorHandle qdata,
                                                  AtenTensorHandle scale, AtenTensorHandle min,
                                                  AtenTensorHandle d, AtenTensorHandle dmin,
                                                  int64_t group_size, AtenTensorHandle* ret0) {
  return guarded([&] {
    plain_mm_shim(self, kFormatId<ExactInt4Traits>, {qdata, scale, min, d, dmin}, group_size, ret0);
  });
}

AOTITorchError aoti_torch_cpu_int8_plain_mm(AtenTensorHandle self, AtenTensorHandle qdata,
                                            AtenTensorHandle scale, AtenTensorHandle zero,
                                            int64_t group_size, AtenTensorHandle* ret0) {
  return guarded([&] {
    plain_mm_shim(self, kFormatId<Int8Traits<Metadata::A>>, {qdata, scale, zero}, group_size, ret0);
  });
}
