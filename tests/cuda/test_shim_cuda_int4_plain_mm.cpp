// aoti_torch_cuda_int4_plain_mm: three numbers of arguments behind one name.
#include "plain_mm_on_cuda.h"

namespace aotiny::cuda {
namespace {

struct Int4PlainMm {
  static AOTITorchError call(AtenTensorHandle self, const std::vector<AtenTensorHandle>& p,
                             int64_t group_size, AtenTensorHandle* ret0) {
    return call_with_planes(aoti_torch_cuda_int4_plain_mm, self, p, group_size, ret0);
  }
  static std::vector<FormatId> formats() {
    return {
        kFormatId<CoalescedInt4Traits<Metadata::A>>, kFormatId<CoalescedInt4Traits<Metadata::H>>,
        kFormatId<CoalescedInt4Traits<Metadata::B>>, kFormatId<CoalescedInt4Traits<Metadata::C>>};
  }
  static constexpr size_t kNumPlanes = 3;
  static constexpr int64_t kWrongGroupSizes[] = {-64, 0, 16, 32, 48, 96, 128};
};

INSTANTIATE_TYPED_TEST_SUITE_P(Int4, CudaPlainMmArguments, Int4PlainMm);
INSTANTIATE_TYPED_TEST_SUITE_P(Int4, CudaPlainMm, Int4PlainMm);

// Dtypes of the third and fourth argument decide before any later argument is touched: here those
// are not even pointers.
TEST(CudaInt4PlainMmKinds, AreToldApartByDtype) {
  const Weight weight = random_weight(Int4PlainMm::formats()[2], 8, 64, 32, 31);
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
