// aoti_torch_cuda_weight_matmul. The oracle of products is the CPU's function of the same name.
#include "aotiny/quant/views.h"
#include "cuda_weights.h"

namespace aotiny::cuda {
namespace {

using namespace aotiny::testing;

constexpr int64_t kN = 24, kK = 256;
constexpr Status kInvalid = Status::InvalidArgument;
using Ret = AtenTensorHandle*;

AOTITorchError matmul_of(AtenTensorHandle x, const WeightHandles& w, AtenTensorHandle* bias,
                         Ret ret) {
  return aoti_torch_cuda_weight_matmul(x, w.planes.data(), w.count, w.format, w.variant,
                                       w.group_size, bias, ret);
}

// Without a GPU: the tensors only say that they are on one.
TEST(CudaWeightMatmulArguments, BadOnesAreRefused) {
  const FormatId format = kFormatId<CoalescedInt4Traits<Metadata::B>>;
  const Weight weight = random_weight(format, kN, kK, 32, 8);
  const WeightHandles w(as_if_on_gpu(weight)), on_cpu(weight);
  const Tensor values = testing::tensor_of(gaussian(kK, 9), {1, kK});
  const Handle x(as_if_on_gpu(values)), cpu_x(values), undefined(Tensor{});
  const Tensor integers = Tensor::empty(Ints{1, kK}, DType::Int64);
  const Handle wrong_dtype(as_if_on_gpu(integers)),
      narrow(as_if_on_gpu(values.slice(1, 0, 64).contiguous()));
  const auto refused = [](Status status, const std::string& text, AtenTensorHandle activations,
                          const WeightHandles& handles, AtenTensorHandle* bias = nullptr) {
    expect_refused_with_null(status, text,
                             [&](Ret ret) { return matmul_of(activations, handles, bias, ret); });
  };
  expect_refused(matmul_of(x, w, nullptr, nullptr), kInvalid, "ret0 is null");
  refused(kInvalid, "x is null", nullptr, w);
  refused(kInvalid, "x is undefined", undefined, w);
  refused(kInvalid, "x is on cpu, not on a CUDA device", cpu_x, w);
  refused(kInvalid, "qdata is on cpu, not on a CUDA device", x, on_cpu);
  refused(Status::InvalidType, "int64", wrong_dtype, w);
  refused(kInvalid, "K = 256", narrow, w);

  const Tensor row = Tensor::empty(Ints{kN - 1}, DType::Float32);
  const Handle bias(as_if_on_gpu(row)), cpu_bias(row);
  AtenTensorHandle bias_handle = bias, cpu_bias_handle = cpu_bias, null = nullptr;
  refused(kInvalid, "bias is null", x, w, &null);
  refused(kInvalid, "bias is on cpu, not on a CUDA device", x, w, &cpu_bias_handle);
  refused(kInvalid, "[23]", x, w, &bias_handle);

  const auto changed = [&](Status status, const std::string& text, const auto& change) {
    WeightHandles handles(as_if_on_gpu(weight));
    change(handles);
    refused(status, text, x, handles);
  };
  changed(kInvalid, "format is null", [](auto& h) { h.format = nullptr; });
  changed(kInvalid, "variant is null", [](auto& h) { h.variant = nullptr; });
  changed(kInvalid, "Int3", [](auto& h) { h.format = "Int3"; });
  changed(kInvalid, "3 tensors were given, the format has 4", [](auto& h) { h.count = 3; });
  changed(kInvalid, "zero is null", [](auto& h) { h.planes[2] = nullptr; });
  changed(kInvalid, "48", [](auto& h) { h.group_size = 48; });
  changed(Status::InvalidType, "scale has dtype int64",
          [&](auto& h) { h.tensors[1] = as_if_on_gpu(integers); });
  changed(kInvalid, "zero is on cpu, not on a CUDA device",
          [&](auto& h) { h.tensors[2] = weight.planes()[2]; });
  changed(kInvalid, "[1, 24, 256]", [](auto& h) {
    for (Tensor& plane : h.tensors) {
      const Ints sizes = {1, plane.size(0), plane.size(1)};
      plane = plane.view(sizes);
    }
  });
}

TEST(CudaWeightMatmulArguments, TheCpusFunctionRefusesDevices) {
  const Weight weight = random_weight(FormatId{0}, kN, kK, 32, 8);
  const Tensor values = testing::tensor_of(gaussian(kK, 9), {1, kK});
  const Handle x(as_if_on_gpu(values)), cpu_x(values);
  const WeightHandles w(as_if_on_gpu(weight)), cpu_w(weight);
  const auto call = [](AtenTensorHandle activations, const WeightHandles& h, Ret ret) {
    return aoti_torch_cpu_weight_matmul(activations, h.planes.data(), h.count, h.format, h.variant,
                                        h.group_size, nullptr, ret);
  };
  expect_refused_with_null(kInvalid, "x is on cuda:0, not on the CPU",
                           [&](Ret ret) { return call(x, w, ret); });
  expect_refused_with_null(kInvalid, "qdata is on cuda:0, not on the CPU",
                           [&](Ret ret) { return call(cpu_x, w, ret); });
}

using CudaWeightMatmul = GpuTest;

// x W^T + bias by the CPU.
std::vector<float> expected_of(const Tensor& x, const Weight& weight, const Tensor* bias) {
  const WeightHandles w(weight);
  const Handle activations(x);
  Handle y;
  Handle added(bias != nullptr ? *bias : Tensor{});
  AtenTensorHandle bias_handle = added;
  EXPECT_EQ(
      aoti_torch_cpu_weight_matmul(activations, w.planes.data(), w.count, w.format, w.variant,
                                   w.group_size, bias != nullptr ? &bias_handle : nullptr, y.out()),
      kOk)
      << last_error();
  return floats_of(y.tensor());
}

// x and W are on the CPU, and go to the GPU here.
void compare(const Tensor& x, const Weight& weight, const Tensor* bias, Device device = gpu()) {
  const WeightHandles w(weight.to(device));
  const Handle activations(x.to(device)), added(bias != nullptr ? bias->to(device) : Tensor{});
  AtenTensorHandle bias_handle = added;
  Handle y;
  ASSERT_EQ(matmul_of(activations, w, bias != nullptr ? &bias_handle : nullptr, y.out()), kOk)
      << last_error();
  EXPECT_EQ(y.tensor().device(), device);
  EXPECT_EQ(y.tensor().dtype(), x.dtype());
  Ints sizes = ints(x.sizes());
  sizes.back() = weight.n();
  ASSERT_EQ(ints(y.tensor().sizes()), sizes);
  EXPECT_LT(relative_error(floats_of(y.tensor().to(kCPU)), expected_of(x, weight, bias)),
            tolerance_of(x.dtype()))
      << weight.info().name << weight.info().variant << " x " << x;
}

TEST_F(CudaWeightMatmul, EveryFormatAndDtype) {
  for (const FormatId format : all_formats()) {
    const Weight weight = random_weight(format, n_for(format, 37), kK, group_for(format, 64), 3);
    const Tensor bias = testing::tensor_of(gaussian(weight.n(), 5), {weight.n()}, DType::BFloat16);
    for (const DType dtype : {DType::Float32, DType::Float16, DType::BFloat16}) {
      for (const int64_t m : {1, 5, 33}) {
        const Tensor x = testing::tensor_of(gaussian(m * kK, 4), {m, kK}, dtype);
        compare(x, weight, nullptr);
        compare(x, weight, &bias);
      }
    }
  }
}

TEST_F(CudaWeightMatmul, StridedActivationsAndViewsOfWeights) {
  for (const FormatId format : all_formats()) {
    const Weight whole = random_stack(format, 2, 48, 2 * kK, group_for(format, 32), 6);
    const Weight part = slice(slice(select(whole, 0, 1), 0, 8, 40), 1, kK, 2 * kK);
    const Tensor memory = testing::tensor_of(gaussian(3 * 4 * 2 * kK, 7), {3, 4, 2 * kK});
    compare(memory.slice(2, 0, kK), part, nullptr);
    compare(memory.slice(2, 0, 2 * kK, 2), part, nullptr);
    compare(memory.select(1, 2).slice(1, 0, kK), part, nullptr);
    compare(memory.slice(0, 0, 0).slice(2, 0, kK), part, nullptr);
    compare(memory.select(0, 0).select(0, 1).slice(0, 0, kK), part, nullptr);  // [K] -> [N]
  }
}

TEST_F(CudaWeightMatmul, OnAnotherDevice) {
  if (device_count() < 2) GTEST_SKIP() << "there is one GPU";
  for (const FormatId format : all_formats()) {
    const Weight weight = random_weight(format, kN, kK, 32, 3);
    const Tensor x = testing::tensor_of(gaussian(3 * kK, 4), {3, kK});
    compare(x, weight, nullptr, gpu(1));
    const WeightHandles w(weight.to(gpu(1)));
    const Handle elsewhere(x.to(gpu(0)));
    expect_refused_with_null(kInvalid, "x is on cuda:0, the weight on cuda:1",
                             [&](Ret ret) { return matmul_of(elsewhere, w, nullptr, ret); });
  }
}

TEST_F(CudaWeightMatmul, InAGraph) {
  for (const FormatId format : all_formats()) {
    const Weight weight = random_weight(format, kN, kK, 32, 3);
    const WeightHandles w(weight.to(gpu()));
    const Tensor first = testing::tensor_of(gaussian(3 * kK, 4), {3, kK});
    const Tensor second = testing::tensor_of(gaussian(3 * kK, 5), {3, kK});
    const Handle x(first.to(gpu()));
    const Tensor result = Tensor::empty(Ints{3, kN}, DType::Float32, gpu());
    Captured graph([&] {
      Handle y;
      ASSERT_EQ(matmul_of(x, w, nullptr, y.out()), kOk) << last_error();
      result.copy_(y.tensor());
    });
    for (const Tensor& values : {first, second}) {
      x.tensor().copy_(values);
      graph.run();
      EXPECT_LT(relative_error(floats_of(result.to(kCPU)), expected_of(values, weight, nullptr)),
                tolerance_of(DType::Float32))
          << format_name(format);
    }
  }
}

TEST_F(CudaWeightMatmul, APlaneThatKernelsCannotLoadIsRefused) {
  const Weight weight = random_weight(FormatId{0}, kN, kK, 32, 3).to(gpu());
  WeightHandles w(weight);
  const Tensor memory = Tensor::empty(Ints{kN * kK / 2 + 8}, DType::UInt8, gpu());
  w.tensors[0] = memory.as_strided(Ints{kN, kK / 2}, Ints{kK / 2, 1}, 8);
  const Handle x(Tensor::empty(Ints{1, kK}, DType::Float32, gpu()));
  expect_refused_with_null(kInvalid, "qdata begins at address",
                           [&](Ret ret) { return matmul_of(x, w, nullptr, ret); });
}

}  // namespace
}  // namespace aotiny::cuda
