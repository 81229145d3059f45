// aoti_torch_cuda_weight_embedding: rows that equal the CPU's bit for bit.
#include "cuda_weights.h"

namespace aotiny::cuda {
namespace {

using namespace aotiny::testing;

constexpr int64_t kN = 24, kK = 256;
constexpr Status kInvalid = Status::InvalidArgument;
using Ret = AtenTensorHandle*;

AOTITorchError embedding_of(AtenTensorHandle indices, const WeightHandles& w, int32_t dtype,
                            Ret ret) {
  return aoti_torch_cuda_weight_embedding(indices, w.planes.data(), w.count, w.format, w.variant,
                                          w.group_size, dtype, ret);
}

AOTITorchError cpu_embedding_of(AtenTensorHandle indices, const WeightHandles& w, int32_t dtype,
                                Ret ret) {
  return aoti_torch_cpu_weight_embedding(indices, w.planes.data(), w.count, w.format, w.variant,
                                         w.group_size, dtype, ret);
}

constexpr int32_t code_of(DType dtype) { return static_cast<int32_t>(dtype); }

// Without a GPU: the tensors only say that they are on one.
TEST(CudaWeightEmbeddingArguments, BadOnesAreRefused) {
  const Weight weight = random_weight(FormatId{0}, kN, kK, 32, 8);
  const Weight stack = random_stack(FormatId{0}, 2, kN, kK, 32, 8);
  const WeightHandles w(as_if_on_gpu(weight)), cpu_w(weight), stack_w(as_if_on_gpu(stack));
  const Tensor zeros = aotiny::tensor_of<int64_t>({2}, {0, 0});
  const Tensor floats = aotiny::tensor_of<float>({2}, {0, 0});
  const Handle indices(as_if_on_gpu(zeros)), on_cpu(zeros), no_integers(as_if_on_gpu(floats));
  constexpr int32_t kFloat = code_of(DType::Float32);
  const auto refused = [](Status status, const std::string& text, AtenTensorHandle rows,
                          const WeightHandles& h, int32_t dtype) {
    expect_refused_with_null(status, text,
                             [&](Ret ret) { return embedding_of(rows, h, dtype, ret); });
  };
  expect_refused(embedding_of(indices, w, kFloat, nullptr), kInvalid, "ret0 is null");
  refused(kInvalid, "indices is null", nullptr, w, kFloat);
  refused(kInvalid, "indices is on cpu, not on a CUDA device", on_cpu, w, kFloat);
  refused(kInvalid, "qdata is on cpu, not on a CUDA device", indices, cpu_w, kFloat);
  refused(kInvalid, "[2, 24, 256]", indices, stack_w, kFloat);
  refused(Status::InvalidType, "float32", no_integers, w, kFloat);
  refused(Status::InvalidType, "999", indices, w, 999);
  refused(Status::InvalidType, "int64", indices, w, code_of(DType::Int64));
  expect_refused_with_null(kInvalid, "indices is on cuda:0, not on the CPU",
                           [&](Ret ret) { return cpu_embedding_of(indices, w, kFloat, ret); });
}

using CudaWeightEmbedding = GpuTest;

void compare(const Tensor& indices, const Weight& weight, DType dtype, Device device = gpu()) {
  const WeightHandles w(weight.to(device)), cpu_w(weight);
  const Handle rows(indices.to(device)), cpu_rows(indices);
  Handle found, expected;
  ASSERT_EQ(embedding_of(rows, w, code_of(dtype), found.out()), kOk) << last_error();
  ASSERT_EQ(cpu_embedding_of(cpu_rows, cpu_w, code_of(dtype), expected.out()), kOk);
  EXPECT_EQ(found.tensor().device(), device);
  EXPECT_EQ(found.tensor().dtype(), dtype);
  ASSERT_EQ(ints(found.tensor().sizes()), ints(expected.tensor().sizes()));
  EXPECT_EQ(bytes_of(found.tensor()), bytes_of(expected.tensor()))
      << weight.info().name << weight.info().variant << ' ' << dtype << " rows " << indices;
}

TEST_F(CudaWeightEmbedding, EveryFormatAndDtype) {
  const Tensor wide = aotiny::tensor_of<int64_t>({2, 3}, {23, 0, 5, 5, 17, 8});
  for (const FormatId format : all_formats()) {
    const Weight weight = random_weight(format, kN, kK, group_for(format, 64), 3);
    for (const DType dtype : {DType::Float32, DType::Float16, DType::BFloat16}) {
      compare(wide, weight, dtype);
      compare(wide.to(DType::Int32), weight, dtype);
    }
    compare(wide.transpose(0, 1), weight, DType::Float32);
    compare(wide.slice(1, 0, 3, 2), weight, DType::Float32);
    compare(wide.slice(1, 0, 0), weight, DType::Float32);
    compare(wide.select(0, 1).select(0, 1), weight, DType::Float32);  // [] -> [K]
  }
}

TEST_F(CudaWeightEmbedding, IndicesOutsideAreRefusedWithTheirPlace) {
  const WeightHandles w(random_weight(FormatId{0}, kN, kK, 32, 8).to(gpu()));
  for (const int64_t wrong : {int64_t{-1}, kN, INT64_MAX, INT64_MIN, int64_t{1} << 32}) {
    const Handle indices(aotiny::tensor_of<int64_t>({2, 2}, {0, 1, wrong, 2}).to(gpu()));
    const std::string text = "the index at [1, 0] is " + std::to_string(wrong);
    expect_refused_with_null(kInvalid, text, [&](Ret ret) {
      return embedding_of(indices, w, code_of(DType::Float32), ret);
    });
  }
}

TEST_F(CudaWeightEmbedding, InAGraphABadIndexGivesNan) {
  const Weight weight = random_weight(FormatId{0}, kN, kK, 32, 8);
  const WeightHandles w(weight.to(gpu()));
  const Handle indices(aotiny::tensor_of<int64_t>({2}, {0, 1}).to(gpu()));
  const Tensor result = Tensor::empty(Ints{2, kK}, DType::Float32, gpu());
  Captured graph([&] {
    Handle rows;
    ASSERT_EQ(embedding_of(indices, w, code_of(DType::Float32), rows.out()), kOk) << last_error();
    result.copy_(rows.tensor());
  });
  const Tensor all = weight.dequantize();
  for (const int64_t row : {int64_t{7}, kN, int64_t{-1}}) {
    indices.tensor().copy_(aotiny::tensor_of<int64_t>({2}, {3, row}));
    graph.run();
    const Tensor found = result.to(kCPU);
    EXPECT_EQ(bytes_of(found.select(0, 0)), bytes_of(all.select(0, 3)));
    if (row == 7) {
      EXPECT_EQ(bytes_of(found.select(0, 1)), bytes_of(all.select(0, row)));
    } else {
      const auto values = floats_of(found.select(0, 1));
      EXPECT_TRUE(std::ranges::all_of(values, [](float v) { return std::isnan(v); })) << row;
    }
  }
}

TEST_F(CudaWeightEmbedding, OnAnotherDevice) {
  if (device_count() < 2) GTEST_SKIP() << "there is one GPU";
  const Weight weight = random_weight(FormatId{0}, kN, kK, 32, 8);
  const Tensor indices = aotiny::tensor_of<int64_t>({3}, {5, 0, 23});
  compare(indices, weight, DType::BFloat16, gpu(1));
  const WeightHandles w(weight.to(gpu(0)));
  const Handle elsewhere(indices.to(gpu(1)));
  expect_refused_with_null(kInvalid, "is on cuda:1, the weight on cuda:0", [&](Ret ret) {
    return embedding_of(elsewhere, w, code_of(DType::Float32), ret);
  });
}

}  // namespace
}  // namespace aotiny::cuda
