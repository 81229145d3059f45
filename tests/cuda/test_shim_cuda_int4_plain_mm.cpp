// aoti_torch_cuda_int4_plain_mm: three numbers of arguments behind one name.
#include "plain_mm_on_cuda.h"

namespace aotiny::cuda {
namespace {

// As a compiled model calls it: with 6 arguments for A and H, 7 for B, 8 for C, and no more.
using CallA = AOTITorchError (*)(AtenTensorHandle, AtenTensorHandle, AtenTensorHandle,
                                 AtenTensorHandle, int64_t, AtenTensorHandle*);
using CallB = AOTITorchError (*)(AtenTensorHandle, AtenTensorHandle, AtenTensorHandle,
                                 AtenTensorHandle, AtenTensorHandle, int64_t, AtenTensorHandle*);
using CallC = AOTITorchError (*)(AtenTensorHandle, AtenTensorHandle, AtenTensorHandle,
                                 AtenTensorHandle, AtenTensorHandle, AtenTensorHandle, int64_t,
                                 AtenTensorHandle*);

template <class Call>
Call shim() {
  return reinterpret_cast<Call>(reinterpret_cast<void*>(&aoti_torch_cuda_int4_plain_mm));
}

AOTITorchError call(AtenTensorHandle self, const std::vector<AtenTensorHandle>& p,
                    int64_t group_size, AtenTensorHandle* ret0) {
  switch (p.size()) {
    case 3:
      return shim<CallA>()(self, p[0], p[1], p[2], group_size, ret0);
    case 4:
      return shim<CallB>()(self, p[0], p[1], p[2], p[3], group_size, ret0);
    default:
      return shim<CallC>()(self, p[0], p[1], p[2], p[3], p[4], group_size, ret0);
  }
}

const std::vector<FormatId>& formats() {
  static const std::vector<FormatId> formats = {
      kFormatId<CoalescedInt4Traits<Metadata::A>>, kFormatId<CoalescedInt4Traits<Metadata::H>>,
      kFormatId<CoalescedInt4Traits<Metadata::B>>, kFormatId<CoalescedInt4Traits<Metadata::C>>};
  return formats;
}

Weight weight_of(FormatId format) {
  return random_weight(format, 35, 512, group_for(format, 64), 30);
}

TEST(CudaInt4PlainMmArguments, AreCheckedWithoutAGpu) {
  for (const FormatId format : formats()) {
    SCOPED_TRACE(format_name(format));
    expect_nulls_refused(call, weight_of(format));
    expect_wrong_dtypes_refused(call, weight_of(format));
    expect_the_cpus_tensors_refused(call, weight_of(format));
  }
}

using CudaInt4PlainMm = GpuTest;

TEST_F(CudaInt4PlainMm, Multiplies) {
  for (const FormatId format : formats()) {
    SCOPED_TRACE(format_name(format));
    expect_products(call, weight_of(format));
  }
}

TEST_F(CudaInt4PlainMm, RefusesBadArguments) {
  for (const FormatId format : formats()) {
    SCOPED_TRACE(format_name(format));
    expect_bad_arguments_refused(call, weight_of(format), {-64, 0, 16, 32, 48, 96, 128});
  }
}

TEST_F(CudaInt4PlainMm, RefusesOtherFormats) { expect_other_formats_refused(call, 3, formats()); }

TEST_F(CudaInt4PlainMm, RunsOutOfMemory) {
  for (const FormatId format : formats()) expect_out_of_memory(call, weight_of(format));
}

// Dtypes of the third and fourth argument decide before any later argument is touched: here those
// are not even pointers.
TEST(CudaInt4PlainMmKinds, AreToldApartByDtype) {
  const Weight weight = random_weight(formats()[2], 8, 64, 32, 31);
  const Tensor x = random_tensor({2, 64}, 32);
  const auto refused = [&](DType third, DType fourth, const char* text) {
    const Tensor scale = weight.planes()[1].to(third), zero = weight.planes()[2].to(fourth);
    expect_refused(aoti_torch_cuda_int4_plain_mm(borrowed(x), borrowed(weight.planes()[0]),
                                                 borrowed(scale), borrowed(zero), 1, 2, 3, 4),
                   Status::InvalidType, text);
  };
  refused(DType::BFloat16, DType::UInt8, "dtypes bfloat16 and uint8");
  refused(DType::UInt8, DType::BFloat16, "dtypes uint8 and bfloat16");
  refused(DType::Float32, DType::Float32, "dtypes float32 and float32");
  refused(DType::Float16, DType::BFloat16, "dtypes float16 and bfloat16");
  refused(DType::UInt8, DType::Float32, "C uint8 and float16");
}

}  // namespace
}  // namespace aotiny::cuda
