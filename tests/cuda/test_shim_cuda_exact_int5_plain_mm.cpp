// aoti_torch_cuda_exact_int5_plain_mm.
#include "plain_mm_on_cuda.h"

namespace aotiny::cuda {
namespace {

struct ExactInt5PlainMm {
  static AOTITorchError call(AtenTensorHandle self, const std::vector<AtenTensorHandle>& p,
                             int64_t group_size, AtenTensorHandle* ret0) {
    return aoti_torch_cuda_exact_int5_plain_mm(self, p[0], p[1], p[2], p[3], p[4], p[5], group_size,
                                               ret0);
  }
  static std::vector<FormatId> formats() { return {kFormatId<ExactInt5Traits>}; }
  static constexpr size_t kNumPlanes = 6;
  static constexpr int64_t kWrongGroupSizes[] = {-32, 0, 16, 64, 256};
};

INSTANTIATE_TYPED_TEST_SUITE_P(ExactInt5, CudaPlainMmArguments, ExactInt5PlainMm);
INSTANTIATE_TYPED_TEST_SUITE_P(ExactInt5, CudaPlainMm, ExactInt5PlainMm);

}  // namespace
}  // namespace aotiny::cuda
