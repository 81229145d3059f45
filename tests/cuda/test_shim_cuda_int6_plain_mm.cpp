// aoti_torch_cuda_int6_plain_mm: two numbers of arguments behind one name.
#include "plain_mm_on_cuda.h"

namespace aotiny::cuda {
namespace {

struct Int6PlainMm {
  static AOTITorchError call(AtenTensorHandle self, const std::vector<AtenTensorHandle>& p,
                             int64_t group_size, AtenTensorHandle* ret0) {
    return call_with_planes(aoti_torch_cuda_int6_plain_mm, self, p, group_size, ret0);
  }
  static std::vector<FormatId> formats() {
    return {kFormatId<PlanarInt6Traits<Metadata::A>>, kFormatId<PlanarInt6Traits<Metadata::B>>,
            kFormatId<PlanarInt6Traits<Metadata::C>>};
  }
  static constexpr size_t kNumPlanes = 3;
  static constexpr int64_t kWrongGroupSizes[] = {-64, 0, 8, 24, 32, 48, 96, 128};
};

INSTANTIATE_TYPED_TEST_SUITE_P(Int6, CudaPlainMmArguments, Int6PlainMm);
INSTANTIATE_TYPED_TEST_SUITE_P(Int6, CudaPlainMm, Int6PlainMm);

using CudaInt6PlainMm = GpuTest;

// Groups of 16 end in the middle of the blocks in which activations are quantized.
TEST_F(CudaInt6PlainMm, TakesGroupsOfSixteen) {
  for (const FormatId format : Int6PlainMm::formats()) {
    SCOPED_TRACE(format_name(format));
    expect_products(Int6PlainMm::call, plain_weight(format, 16));
  }
}

}  // namespace
}  // namespace aotiny::cuda
