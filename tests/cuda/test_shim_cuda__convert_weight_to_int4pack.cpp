// aoti_torch_cuda__convert_weight_to_int4pack: what it returns and refuses; its bytes are compared
// in test_cuda_pack_tiles.cpp, and with torch's in the Python tests.
#include "aotiny/abi/aoti_torch_cuda.h"
#include "cuda_weights.h"

namespace aotiny::cuda {
namespace {

using ConvertWeightToInt4Pack = GpuTest;

void expect_refused_codes(Status status, const char* text, const Tensor& self, int64_t t) {
  const Handle handle(self);
  expect_refused_with_null(status, text, [&](AtenTensorHandle* ret) {
    return aoti_torch_cuda__convert_weight_to_int4pack(handle, t, ret);
  });
}

TEST(ConvertWeightToInt4PackArguments, NullsAndOtherDevicesAreRefused) {
  expect_refused_with_null(Status::InvalidArgument, "self is null", [](AtenTensorHandle* ret) {
    return aoti_torch_cuda__convert_weight_to_int4pack(nullptr, 8, ret);
  });
  const Tensor host = Tensor::empty(Ints{8, 64}, DType::UInt8);
  const Handle self(host);
  expect_refused(aoti_torch_cuda__convert_weight_to_int4pack(self, 8, nullptr),
                 Status::InvalidArgument, "ret0 is null");
  expect_refused_codes(Status::InvalidArgument, "self is undefined", Tensor(), 8);
  expect_refused_codes(Status::InvalidArgument, "self is on cpu, not on a CUDA device", host, 8);
}

TEST_F(ConvertWeightToInt4Pack, ReturnsANewTensorOnTheSameDevice) {
  for (const DType dtype : {DType::UInt8, DType::Int32}) {
    const Tensor codes = Tensor::empty(Ints{20, dtype == DType::UInt8 ? 64 : 128}, dtype, gpu());
    codes.zero_();
    const Handle self(codes);
    Handle result;
    ASSERT_EQ(aoti_torch_cuda__convert_weight_to_int4pack(self, 4, result.out()), kOk)
        << last_error();
    EXPECT_EQ(ints(result.tensor().sizes()), (Ints{3, 2, 32, 2}));
    EXPECT_EQ(result.tensor().dtype(), DType::Int32);
    EXPECT_EQ(result.tensor().device(), gpu());
    EXPECT_EQ(values_of<int32_t>(result.tensor().to(kCPU)), std::vector<int32_t>(384, 0));
  }
}

TEST_F(ConvertWeightToInt4Pack, RefusesWhatDoesNotFit) {
  const auto codes = [](const Ints& sizes, DType dtype) {
    return Tensor::empty(sizes, dtype, gpu());
  };
  expect_refused_codes(Status::InvalidType, "int8", codes({8, 64}, DType::Int8), 8);
  expect_refused_codes(Status::InvalidArgument, "not [N, K/2]", codes({8}, DType::UInt8), 8);
  expect_refused_codes(Status::InvalidArgument, "5 inner k-tiles", codes({8, 64}, DType::UInt8), 5);
  expect_refused_codes(Status::InvalidArgument, "K = 32", codes({8, 16}, DType::UInt8), 4);
  const Tensor seventeen = tensor_of<int32_t>({1, 32}, std::vector<int32_t>(32, 17)).to(gpu());
  expect_refused_codes(Status::InvalidArgument, "[0, 0] is 17", seventeen, 2);
}

TEST_F(ConvertWeightToInt4Pack, OnTheSecondDevice) {
  if (device_count() < 2) GTEST_SKIP() << "there is one GPU";
  const Tensor codes = testing::tensor_of(std::vector<float>(8 * 32, 9), {8, 32}, DType::Int32);
  const Handle self(codes.to(gpu(1)));
  Handle result;
  ASSERT_EQ(aoti_torch_cuda__convert_weight_to_int4pack(self, 2, result.out()), kOk)
      << last_error();
  EXPECT_EQ(result.tensor().device(), gpu(1));
  EXPECT_EQ(values_of<int32_t>(result.tensor().to(kCPU)),
            std::vector<int32_t>(32, static_cast<int32_t>(0x99999999)));
}

}  // namespace
}  // namespace aotiny::cuda
