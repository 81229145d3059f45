#include "aotiny/shims/plain_mm.h"

#include "aotiny/shims/handle.h"
#include "aotiny/shims/weight_ops.h"

namespace aotiny {
namespace {

// Where the number of arguments depends on the dtypes of some, the later ones are integers.
AtenTensorHandle handle_of(intptr_t argument) {
  return reinterpret_cast<AtenTensorHandle>(argument);
}
AtenTensorHandle* result_of(intptr_t argument) {
  return reinterpret_cast<AtenTensorHandle*>(argument);
}

// The tensor of a handle that is to be this plane of a format; undefined, or of its dtype.
const Tensor& plane_in(AtenTensorHandle handle, FormatId format, size_t index) {
  const FormatInfo& info = format_info(format);
  const PlaneSpec& spec = info.planes[index];
  const Tensor& plane = in(handle, spec.name);
  require(!plane.defined() || plane.dtype() == spec.dtype, Status::InvalidType, info.name, ": ",
          spec.name, " has dtype ", plane.dtype(), ", not ", spec.dtype);
  return plane;
}

// The common body: ret0 = self W^T, W from the handles of its planes.
void product(DeviceType served, AtenTensorHandle self, FormatId format,
             std::initializer_list<AtenTensorHandle> handles, int64_t group_size,
             AtenTensorHandle* ret0) {
  NewHandle result(ret0, "ret0");
  const Tensor& x = in(self, "self");
  std::vector<Tensor> planes;
  for (const AtenTensorHandle handle : handles) {
    planes.push_back(plane_in(handle, format, planes.size()));
  }
  check_device_type(served, x, "self");
  for (size_t i = 0; i < planes.size(); ++i) {
    check_device_type(served, planes[i], format_info(format).planes[i].name);
  }
  result = matmul(x, Weight(format, std::move(planes), group_size), Activation::Int8);
}

template <Metadata kMetadata>
constexpr FormatId kInt4 = kFormatId<CoalescedInt4Traits<kMetadata>>;
template <Metadata kMetadata>
constexpr FormatId kInt6 = kFormatId<PlanarInt6Traits<kMetadata>>;
template <Metadata kMetadata>
constexpr FormatId kInt8 = kFormatId<Int8Traits<kMetadata>>;

}  // namespace

AOTITorchError int4_plain_mm(DeviceType served, AtenTensorHandle self, AtenTensorHandle qdata,
                             AtenTensorHandle scale, AtenTensorHandle fourth, intptr_t fifth,
                             intptr_t sixth, intptr_t seventh, intptr_t eighth) {
  return guarded([&] {
    plane_in(qdata, kInt4<Metadata::A>, 0);
    const DType third = in(scale, "scale").dtype();
    const DType kind = in(fourth, "the fourth argument").dtype();
    if (third == DType::BFloat16 && kind == DType::BFloat16) {
      product(served, self, kInt4<Metadata::A>, {qdata, scale, fourth}, fifth, result_of(sixth));
    } else if (third == DType::Float16 && kind == DType::Float16) {
      product(served, self, kInt4<Metadata::H>, {qdata, scale, fourth}, fifth, result_of(sixth));
    } else if (third == DType::UInt8 && kind == DType::UInt8) {
      // ExactInt4's and ExactInt5's arguments begin alike; their later ones must not be taken for
      // size and pointer.
      plane_in(handle_of(fifth), kInt4<Metadata::B>, 3);
      product(served, self, kInt4<Metadata::B>, {qdata, scale, fourth, handle_of(fifth)}, sixth,
              result_of(seventh));
    } else if (third == DType::UInt8 && kind == DType::Float16) {
      product(served, self, kInt4<Metadata::C>,
              {qdata, scale, fourth, handle_of(fifth), handle_of(sixth)}, seventh,
              result_of(eighth));
    } else {
      fail(Status::InvalidType, "int4_plain_mm: the third and fourth arguments have dtypes ", third,
           " and ", kind,
           ", which no variant has: A is bfloat16 and bfloat16, H float16 and float16, B uint8 and "
           "uint8, C uint8 and float16");
    }
  });
}

AOTITorchError exact_int4_plain_mm(DeviceType served, AtenTensorHandle self, AtenTensorHandle qdata,
                                   AtenTensorHandle scale, AtenTensorHandle min, AtenTensorHandle d,
                                   AtenTensorHandle dmin, int64_t group_size,
                                   AtenTensorHandle* ret0) {
  return guarded([&] {
    product(served, self, kFormatId<ExactInt4Traits>, {qdata, scale, min, d, dmin}, group_size,
            ret0);
  });
}

AOTITorchError exact_int5_plain_mm(DeviceType served, AtenTensorHandle self, AtenTensorHandle ql,
                                   AtenTensorHandle qh, AtenTensorHandle scale,
                                   AtenTensorHandle min, AtenTensorHandle d, AtenTensorHandle dmin,
                                   int64_t group_size, AtenTensorHandle* ret0) {
  return guarded([&] {
    product(served, self, kFormatId<ExactInt5Traits>, {ql, qh, scale, min, d, dmin}, group_size,
            ret0);
  });
}

AOTITorchError int6_plain_mm(DeviceType served, AtenTensorHandle self, AtenTensorHandle ql,
                             AtenTensorHandle qh, AtenTensorHandle scale, intptr_t fifth,
                             intptr_t sixth, intptr_t seventh) {
  return guarded([&] {
    plane_in(ql, kInt6<Metadata::B>, 0);
    plane_in(qh, kInt6<Metadata::B>, 1);
    const DType kind = in(scale, "scale").dtype();
    if (kind == DType::BFloat16) {
      product(served, self, kInt6<Metadata::A>, {ql, qh, scale}, fifth, result_of(sixth));
      return;
    }
    require(kind == DType::Int8, Status::InvalidType, "int6_plain_mm: scale has dtype ", kind,
            ", which no variant has: A is bfloat16, B and C int8");
    const DType steps = in(handle_of(fifth), "steps").dtype();
    require(steps == DType::BFloat16 || steps == DType::Float16, Status::InvalidType,
            "int6_plain_mm: steps has dtype ", steps,
            ", which no variant has: B is bfloat16, C float16");
    product(served, self, steps == DType::BFloat16 ? kInt6<Metadata::B> : kInt6<Metadata::C>,
            {ql, qh, scale, handle_of(fifth)}, sixth, result_of(seventh));
  });
}

AOTITorchError int8_plain_mm(DeviceType served, AtenTensorHandle self, AtenTensorHandle qdata,
                             AtenTensorHandle scale, AtenTensorHandle zero, int64_t group_size,
                             AtenTensorHandle* ret0) {
  return guarded([&] {
    out(ret0, "ret0") = nullptr;
    plane_in(qdata, kInt8<Metadata::A>, 0);
    const bool half = in(scale, "scale").dtype() == DType::Float16;
    product(served, self, half ? kInt8<Metadata::H> : kInt8<Metadata::A>, {qdata, scale, zero},
            group_size, ret0);
  });
}

}  // namespace aotiny

using namespace aotiny;

AOTITorchError aoti_torch_cpu_int4_plain_mm(AtenTensorHandle self, AtenTensorHandle qdata,
                                            AtenTensorHandle scale, AtenTensorHandle fourth,
                                            intptr_t fifth, intptr_t sixth, intptr_t seventh,
                                            intptr_t eighth) {
  return int4_plain_mm(DeviceType::CPU, self, qdata, scale, fourth, fifth, sixth, seventh, eighth);
}

AOTITorchError aoti_torch_cpu_exact_int4_plain_mm(AtenTensorHandle self, AtenTensorHandle qdata,
                                                  AtenTensorHandle scale, AtenTensorHandle min,
                                                  AtenTensorHandle d, AtenTensorHandle dmin,
                                                  int64_t group_size, AtenTensorHandle* ret0) {
  return exact_int4_plain_mm(DeviceType::CPU, self, qdata, scale, min, d, dmin, group_size, ret0);
}

AOTITorchError aoti_torch_cpu_exact_int5_plain_mm(AtenTensorHandle self, AtenTensorHandle ql,
                                                  AtenTensorHandle qh, AtenTensorHandle scale,
                                                  AtenTensorHandle min, AtenTensorHandle d,
                                                  AtenTensorHandle dmin, int64_t group_size,
                                                  AtenTensorHandle* ret0) {
  return exact_int5_plain_mm(DeviceType::CPU, self, ql, qh, scale, min, d, dmin, group_size, ret0);
}

AOTITorchError aoti_torch_cpu_int6_plain_mm(AtenTensorHandle self, AtenTensorHandle ql,
                                            AtenTensorHandle qh, AtenTensorHandle scale,
                                            intptr_t fifth, intptr_t sixth, intptr_t seventh) {
  return int6_plain_mm(DeviceType::CPU, self, ql, qh, scale, fifth, sixth, seventh);
}

AOTITorchError aoti_torch_cpu_int8_plain_mm(AtenTensorHandle self, AtenTensorHandle qdata,
                                            AtenTensorHandle scale, AtenTensorHandle zero,
                                            int64_t group_size, AtenTensorHandle* ret0) {
  return int8_plain_mm(DeviceType::CPU, self, qdata, scale, zero, group_size, ret0);
}
