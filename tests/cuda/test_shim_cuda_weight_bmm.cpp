// aoti_torch_cuda_weight_bmm. The oracle of products is the CPU's function of the same name.
#include "aotiny/quant/views.h"
#include "cuda_weights.h"

namespace aotiny::cuda {
namespace {

using namespace aotiny::testing;

constexpr int64_t kN = 24, kK = 256;
constexpr Status kInvalid = Status::InvalidArgument;
using Ret = AtenTensorHandle*;

AOTITorchError bmm_of(AtenTensorHandle x, const WeightHandles& w, Ret ret) {
  return aoti_torch_cuda_weight_bmm(x, w.planes.data(), w.count, w.format, w.variant, w.group_size,
                                    ret);
}

AOTITorchError cpu_bmm_of(AtenTensorHandle x, const WeightHandles& w, Ret ret) {
  return aoti_torch_cpu_weight_bmm(x, w.planes.data(), w.count, w.format, w.variant, w.group_size,
                                   ret);
}

// Without a GPU: the tensors only say that they are on one.
TEST(CudaWeightBmmArguments, BadOnesAreRefused) {
  const Weight weight = random_stack(FormatId{0}, 2, kN, kK, 32, 8);
  const Weight single = random_weight(FormatId{0}, kN, kK, 32, 8);
  const WeightHandles w(as_if_on_gpu(weight)), cpu_w(weight), single_w(as_if_on_gpu(single));
  const Tensor values = testing::tensor_of(gaussian(3 * kK, 9), {3, 1, kK});
  const Handle three(as_if_on_gpu(values)), two(as_if_on_gpu(values.slice(0, 0, 2)));
  const Handle cpu_x(values.slice(0, 0, 2)), elsewhere(as_if_on_gpu(values.slice(0, 0, 2), 1));
  const Handle flat(as_if_on_gpu(values.select(1, 0)));
  const auto refused = [](const std::string& text, AtenTensorHandle x, const WeightHandles& h) {
    expect_refused_with_null(kInvalid, text, [&](Ret ret) { return bmm_of(x, h, ret); });
  };
  expect_refused(bmm_of(two, w, nullptr), kInvalid, "ret0 is null");
  refused("x is null", nullptr, w);
  refused("x is on cpu, not on a CUDA device", cpu_x, w);
  refused("qdata is on cpu, not on a CUDA device", two, cpu_w);
  refused("x is on cuda:1, the weight on cuda:0", elsewhere, w);
  refused("[3, 1, 256], not [B = 2", three, w);
  refused("[3, 256]", flat, w);
  refused("[24, 256]", two, single_w);
  expect_refused_with_null(kInvalid, "x is on cuda:0, not on the CPU",
                           [&](Ret ret) { return cpu_bmm_of(two, w, ret); });
}

using CudaWeightBmm = GpuTest;

void compare(const Tensor& x, const Weight& weight, Device device = gpu()) {
  const WeightHandles w(weight.to(device)), cpu_w(weight);
  const Handle activations(x.to(device)), cpu_activations(x);
  Handle y, expected;
  ASSERT_EQ(bmm_of(activations, w, y.out()), kOk) << last_error();
  ASSERT_EQ(cpu_bmm_of(cpu_activations, cpu_w, expected.out()), kOk) << last_error();
  EXPECT_EQ(y.tensor().device(), device);
  EXPECT_EQ(y.tensor().dtype(), x.dtype());
  ASSERT_EQ(ints(y.tensor().sizes()), ints(expected.tensor().sizes()));
  EXPECT_LT(relative_error(floats_of(y.tensor().to(kCPU)), floats_of(expected.tensor())),
            tolerance_of(x.dtype()))
      << weight.info().name << weight.info().variant << " x " << x;
}

TEST_F(CudaWeightBmm, EveryFormatAndDtype) {
  for (const FormatId format : all_formats()) {
    const Weight weight = random_stack(format, 3, n_for(format, 37), kK, group_for(format, 64), 3);
    for (const DType dtype : {DType::Float32, DType::Float16, DType::BFloat16}) {
      for (const int64_t m : {1, 7}) {
        compare(testing::tensor_of(gaussian(3 * m * kK, 4), {3, m, kK}, dtype), weight);
      }
    }
  }
}

TEST_F(CudaWeightBmm, StridedActivationsAndViewsOfStacks) {
  for (const FormatId format : all_formats()) {
    const Weight whole = random_stack(format, 4, 48, 2 * kK, group_for(format, 32), 6);
    const Weight part = slice(slice(slice(whole, 0, 1, 4), 1, 8, 40), 2, kK, 2 * kK);
    const Tensor memory = testing::tensor_of(gaussian(5 * 3 * 2 * kK, 7), {5, 3, 2 * kK});
    compare(memory.slice(0, 1, 4).slice(2, 0, kK), part);
    compare(memory.transpose(0, 1).slice(2, kK, 2 * kK), part);  // x[b] every third row
    compare(memory.slice(0, 0, 3).slice(1, 0, 0).slice(2, 0, kK), part);
  }
}

TEST_F(CudaWeightBmm, OnAnotherDevice) {
  if (device_count() < 2) GTEST_SKIP() << "there is one GPU";
  for (const FormatId format : all_formats()) {
    const Weight weight = random_stack(format, 2, kN, kK, 32, 3);
    compare(testing::tensor_of(gaussian(2 * 3 * kK, 4), {2, 3, kK}), weight, gpu(1));
  }
}

}  // namespace
}  // namespace aotiny::cuda
