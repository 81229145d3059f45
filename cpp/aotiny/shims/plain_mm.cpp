// int4_plain_mm, exact_int4_plain_mm, int8_plain_mm: products with quantized weights and
// activations.
#include "aotiny/shims/handle.h"
#include "aotiny/shims/weight_ops.h"

namespace aotiny {
namespace {

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
  result = matmul(x, Weight(format, std::move(planes), group_size), Activation::Int8);
}

}  // namespace

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
