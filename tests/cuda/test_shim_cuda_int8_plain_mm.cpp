// aoti_torch_cuda_int8_plain_mm.
#include "plain_mm_on_cuda.h"

namespace aotiny::cuda {
namespace {

struct Int8PlainMm {
  static AOTITorchError call(AtenTensorHandle self, const std::vector<AtenTensorHandle>& p,
                             int64_t group_size, AtenTensorHandle* ret0) {
    return aoti_torch_cuda_int8_plain_mm(self, p[0], p[1], p[2], group_size, ret0);
  }
  static std::vector<FormatId> formats() {
    return {kFormatId<Int8Traits<Metadata::A>>, kFormatId<Int8Traits<Metadata::H>>};
  }
  static constexpr size_t kNumPlanes = 3;
  static constexpr int64_t kWrongGroupSizes[] = {-64, 0, 16, 32, 48, 96, 128};
};

INSTANTIATE_TYPED_TEST_SUITE_P(Int8, CudaPlainMmArguments, Int8PlainMm);
INSTANTIATE_TYPED_TEST_SUITE_P(Int8, CudaPlainMm, Int8PlainMm);

using CudaInt8PlainMm = GpuTest;

TEST_F(CudaInt8PlainMm, IsNotTheCpus) {
  const Weight weight = plain_weight(Int8PlainMm::formats()[0]).to(gpu());
  const Tensor x = random_tensor({2, 512}, 31).to(gpu());
  const std::vector<AtenTensorHandle> p = borrowed(weight.planes());
  expect_refused_with_null(
      Status::InvalidArgument, "self is on cuda:0, not on the CPU", [&](AtenTensorHandle* ret0) {
        return aoti_torch_cpu_int8_plain_mm(borrowed(x), p[0], p[1], p[2], 64, ret0);
      });
}

}  // namespace
}  // namespace aotiny::cuda
