// The functions of libaotiny that take tensors of any device, with CUDA tensors.
#include "gpu_test.h"

namespace aotiny::cuda {
namespace {

using ShimsOnCuda = GpuTest;

constexpr int32_t kCuda = static_cast<int32_t>(DeviceType::CUDA);
constexpr int32_t kFloat32 = static_cast<int32_t>(DType::Float32);

TEST_F(ShimsOnCuda, EmptyStridedAndFromBlob) {
  const Ints sizes = {3, 4}, strides = {1, 3};
  Handle made;
  ASSERT_EQ(
      aoti_torch_empty_strided(2, sizes.data(), strides.data(), kFloat32, kCuda, 0, made.out()),
      kOk)
      << last_error();
  EXPECT_EQ(made.tensor().device(), gpu());
  Handle view;
  ASSERT_EQ(aoti_torch_create_tensor_from_blob_v2(made.tensor().raw_data(), 2, sizes.data(),
                                                  strides.data(), 0, kFloat32, kCuda, 0, view.out(),
                                                  0, nullptr, 0),
            kOk);
  ASSERT_EQ(aoti_torch_zero_(made), kOk);
  EXPECT_EQ(values_of<float>(view.tensor().to(kCPU)), std::vector<float>(12, 0.0f));
  Handle allocated;
  ASSERT_EQ(aoti_torch_create_tensor_from_blob(nullptr, 2, sizes.data(), strides.data(), 0,
                                               kFloat32, kCuda, 0, allocated.out()),
            kOk);
  EXPECT_NE(allocated.tensor().raw_data(), nullptr);
  expect_refused_with_null(Status::InvalidArgument, "no device cuda:99", [&](auto* ret) {
    return aoti_torch_empty_strided(2, sizes.data(), strides.data(), kFloat32, kCuda, 99, ret);
  });
}

TEST_F(ShimsOnCuda, CopiesAndClones) {
  const Tensor host = tensor_of<float>({2, 3}, {1, 2, 3, 4, 5, 6});
  Handle source(host), device(Tensor::empty(Ints{2, 3}, DType::Float32, gpu()));
  ASSERT_EQ(aoti_torch_copy_(device, source, 0), kOk) << last_error();
  Handle transposed(device.tensor().transpose(0, 1)), clone, preserved;
  ASSERT_EQ(aoti_torch_clone(transposed, clone.out()), kOk);
  EXPECT_EQ(ints(clone.tensor().strides()), (Ints{1, 3}));
  ASSERT_EQ(aoti_torch_clone_preserve_strides(transposed, preserved.out()), kOk);
  EXPECT_EQ(values_of<float>(preserved.tensor().to(kCPU)), (std::vector<float>{1, 4, 2, 5, 3, 6}));
  Handle back(Tensor::empty(Ints{2, 3}, DType::Float32));
  ASSERT_EQ(aoti_torch_tensor_copy_(device, back), kOk);
  EXPECT_EQ(values_of<float>(back.tensor()), values_of<float>(host));
  Handle wrong(Tensor::empty(Ints{5}, DType::Float32, gpu()));
  expect_refused(aoti_torch_copy_(wrong, source, 0), Status::InvalidArgument, "[2, 3]");
}

TEST_F(ShimsOnCuda, Items) {
  Handle number(Tensor::scalar(int64_t{-42}).to(gpu()));
  int64_t as_int = 0;
  float as_float = 0;
  bool as_bool = false;
  ASSERT_EQ(aoti_torch_item_int64(number, &as_int), kOk) << last_error();
  ASSERT_EQ(aoti_torch_item_float32(number, &as_float), kOk);
  ASSERT_EQ(aoti_torch_item_bool(number, &as_bool), kOk);
  EXPECT_EQ(as_int, -42);
  EXPECT_EQ(as_float, -42.0f);
  EXPECT_TRUE(as_bool);
  uint8_t byte = 7;
  expect_refused(aoti_torch_item_uint8(number, &byte), Status::InvalidArgument, "-42");
  Handle two(Tensor::empty(Ints{2}, DType::Int64, gpu()));
  expect_refused(aoti_torch_item_int64(two, &as_int), Status::InvalidArgument, "2 elements");
}

TEST_F(ShimsOnCuda, ViewsAndAliases) {
  Handle base(tensor_of<float>({6}, {0, 1, 2, 3, 4, 5}).to(gpu())), view, alias;
  const Ints sizes = {2, 2}, strides = {3, 1};
  ASSERT_EQ(aoti_torch__reinterpret_tensor(base, 2, sizes.data(), strides.data(), 1, view.out()),
            kOk);
  EXPECT_EQ(values_of<float>(view.tensor().to(kCPU)), (std::vector<float>{1, 2, 4, 5}));
  ASSERT_EQ(aoti_torch_assign_tensors_out(view, alias.out()), kOk);
  EXPECT_EQ(alias.tensor().raw_data(), view.tensor().raw_data());
  Handle other(Tensor{});
  ASSERT_EQ(aoti_torch_assign_tensors(base, other), kOk);
  EXPECT_EQ(other.tensor().device(), gpu());
}

TEST_F(ShimsOnCuda, TheCpusOperatorsRefuseThem) {
  Handle matrix(Tensor::empty(Ints{2, 2}, DType::Float32, gpu()));
  expect_refused(aoti_torch_cpu_mm_out(matrix, matrix, matrix), Status::InvalidArgument, "cuda:0");
}

}  // namespace
}  // namespace aotiny::cuda
