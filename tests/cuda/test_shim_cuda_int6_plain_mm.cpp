// aoti_torch_cuda_int6_plain_mm: two numbers of arguments behind one name.
#include "plain_mm_on_cuda.h"

namespace aotiny::cuda {
namespace {

// As a compiled model calls it: with 6 arguments for A, 7 for B and C.
using CallA = AOTITorchError (*)(AtenTensorHandle, AtenTensorHandle, AtenTensorHandle,
                                 AtenTensorHandle, int64_t, AtenTensorHandle*);
using CallB = AOTITorchError (*)(AtenTensorHandle, AtenTensorHandle, AtenTensorHandle,
                                 AtenTensorHandle, AtenTensorHandle, int64_t, AtenTensorHandle*);

template <class Call>
Call shim() {
  return reinterpret_cast<Call>(reinterpret_cast<void*>(&aoti_torch_cuda_int6_plain_mm));
}

AOTITorchError call(AtenTensorHandle self, const std::vector<AtenTensorHandle>& p,
                    int64_t group_size, AtenTensorHandle* ret0) {
  if (p.size() == 3) return shim<CallA>()(self, p[0], p[1], p[2], group_size, ret0);
  return shim<CallB>()(self, p[0], p[1], p[2], p[3], group_size, ret0);
}

const std::vector<FormatId>& formats() {
  static const std::vector<FormatId> formats = {kFormatId<PlanarInt6Traits<Metadata::A>>,
                                                kFormatId<PlanarInt6Traits<Metadata::B>>,
                                                kFormatId<PlanarInt6Traits<Metadata::C>>};
  return formats;
}

Weight weight_of(FormatId format) {
  return random_weight(format, 35, 512, group_for(format, 64), 30);
}

TEST(CudaInt6PlainMmArguments, AreCheckedWithoutAGpu) {
  for (const FormatId format : formats()) {
    SCOPED_TRACE(format_name(format));
    expect_nulls_refused(call, weight_of(format));
    expect_wrong_dtypes_refused(call, weight_of(format));
    expect_the_cpus_tensors_refused(call, weight_of(format));
  }
}

using CudaInt6PlainMm = GpuTest;

TEST_F(CudaInt6PlainMm, Multiplies) {
  for (const FormatId format : formats()) {
    SCOPED_TRACE(format_name(format));
    expect_products(call, weight_of(format));
  }
}

TEST_F(CudaInt6PlainMm, RefusesBadArguments) {
  for (const FormatId format : formats()) {
    SCOPED_TRACE(format_name(format));
    expect_bad_arguments_refused(call, weight_of(format), {-64, 0, 8, 24, 32, 48, 96, 128});
  }
}

TEST_F(CudaInt6PlainMm, RefusesOtherFormats) { expect_other_formats_refused(call, 3, formats()); }

TEST_F(CudaInt6PlainMm, RunsOutOfMemory) {
  for (const FormatId format : formats()) expect_out_of_memory(call, weight_of(format));
}

// Groups of 16 end in the middle of the blocks in which activations are quantized.
TEST_F(CudaInt6PlainMm, TakesGroupsOfSixteen) {
  for (const FormatId format : formats()) {
    SCOPED_TRACE(format_name(format));
    expect_products(call, random_weight(format, 35, 512, 16, 33));
  }
}

}  // namespace
}  // namespace aotiny::cuda
