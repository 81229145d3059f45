// aoti_torch_cuda_exact_int4_plain_mm.
#include "plain_mm_on_cuda.h"

namespace aotiny::cuda {
namespace {

AOTITorchError call(AtenTensorHandle self, const std::vector<AtenTensorHandle>& p,
                    int64_t group_size, AtenTensorHandle* ret0) {
  return aoti_torch_cuda_exact_int4_plain_mm(self, p[0], p[1], p[2], p[3], p[4], group_size, ret0);
}

const std::vector<FormatId>& formats() {
  static const std::vector<FormatId> formats = {kFormatId<ExactInt4Traits>};
  return formats;
}

Weight weight_of(FormatId format) {
  return random_weight(format, 35, 512, group_for(format, 64), 30);
}

TEST(CudaExactInt4PlainMmArguments, AreCheckedWithoutAGpu) {
  for (const FormatId format : formats()) {
    SCOPED_TRACE(format_name(format));
    expect_nulls_refused(call, weight_of(format));
    expect_wrong_dtypes_refused(call, weight_of(format));
    expect_the_cpus_tensors_refused(call, weight_of(format));
  }
}

using CudaExactInt4PlainMm = GpuTest;

TEST_F(CudaExactInt4PlainMm, Multiplies) {
  for (const FormatId format : formats()) {
    SCOPED_TRACE(format_name(format));
    expect_products(call, weight_of(format));
  }
}

TEST_F(CudaExactInt4PlainMm, RefusesBadArguments) {
  for (const FormatId format : formats()) {
    SCOPED_TRACE(format_name(format));
    expect_bad_arguments_refused(call, weight_of(format), {-32, 0, 16, 64, 256});
  }
}

TEST_F(CudaExactInt4PlainMm, RefusesOtherFormats) {
  expect_other_formats_refused(call, 5, formats());
}

TEST_F(CudaExactInt4PlainMm, RunsOutOfMemory) {
  for (const FormatId format : formats()) expect_out_of_memory(call, weight_of(format));
}

}  // namespace
}  // namespace aotiny::cuda
