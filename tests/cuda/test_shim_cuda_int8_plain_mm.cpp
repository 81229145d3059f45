// aoti_torch_cuda_int8_plain_mm.
#include "plain_mm_on_cuda.h"

namespace aotiny::cuda {
namespace {

AOTITorchError call(AtenTensorHandle self, const std::vector<AtenTensorHandle>& p,
                    int64_t group_size, AtenTensorHandle* ret0) {
  return aoti_torch_cuda_int8_plain_mm(self, p[0], p[1], p[2], group_size, ret0);
}

const std::vector<FormatId>& formats() {
  static const std::vector<FormatId> formats = {kFormatId<Int8Traits<Metadata::A>>,
                                                kFormatId<Int8Traits<Metadata::H>>};
  return formats;
}

Weight weight_of(FormatId format) {
  return random_weight(format, 35, 512, group_for(format, 64), 30);
}

TEST(CudaInt8PlainMmArguments, AreCheckedWithoutAGpu) {
  for (const FormatId format : formats()) {
    SCOPED_TRACE(format_name(format));
    expect_nulls_refused(call, weight_of(format));
    expect_wrong_dtypes_refused(call, weight_of(format));
    expect_the_cpus_tensors_refused(call, weight_of(format));
  }
}

using CudaInt8PlainMm = GpuTest;

TEST_F(CudaInt8PlainMm, Multiplies) {
  for (const FormatId format : formats()) {
    SCOPED_TRACE(format_name(format));
    expect_products(call, weight_of(format));
  }
}

TEST_F(CudaInt8PlainMm, RefusesBadArguments) {
  for (const FormatId format : formats()) {
    SCOPED_TRACE(format_name(format));
    expect_bad_arguments_refused(call, weight_of(format), {-64, 0, 16, 32, 48, 96, 128});
  }
}

TEST_F(CudaInt8PlainMm, RefusesOtherFormats) { expect_other_formats_refused(call, 3, formats()); }

TEST_F(CudaInt8PlainMm, RunsOutOfMemory) {
  for (const FormatId format : formats()) expect_out_of_memory(call, weight_of(format));
}

TEST_F(CudaInt8PlainMm, IsNotTheCpus) {
  const Weight weight = weight_of(formats()[0]).to(gpu());
  const Tensor x = random_tensor({2, 512}, 31).to(gpu());
  const std::vector<AtenTensorHandle> p = borrowed(weight.planes());
  expect_refused_with_null(
      Status::InvalidArgument, "self is on cuda:0, not on the CPU", [&](AtenTensorHandle* ret0) {
        return aoti_torch_cpu_int8_plain_mm(borrowed(x), p[0], p[1], p[2], 64, ret0);
      });
}

}  // namespace
}  // namespace aotiny::cuda
