// Handles made and deleted.
#include "shim_test.h"

namespace aotiny {
namespace {

using Creation = ShimTest;

const int64_t kSizes[] = {2, 3};
const int64_t kStrides[] = {1, 2};
const int32_t kFloat32 = aoti_torch_dtype_float32();
const int32_t kCpu = aoti_torch_device_type_cpu();

AOTITorchError empty(AtenTensorHandle* ret, const int64_t* sizes = kSizes,
                     const int64_t* strides = kStrides, int64_t ndim = 2, int32_t dtype = kFloat32,
                     int32_t device = kCpu, int32_t index = 0) {
  return aoti_torch_empty_strided(ndim, sizes, strides, dtype, device, index, ret);
}

TEST_F(Creation, EmptyStridedKeepsTheStridesAndIsAligned) {
  Handle handle;
  ASSERT_EQ(empty(handle.out()), kOk);
  EXPECT_EQ(ints(handle.tensor().strides()), (Ints{1, 2}));
  EXPECT_EQ(handle.tensor().storage()->nbytes(), 24u);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(handle.tensor().raw_data()) % 64, 0u);
}

TEST_F(Creation, EmptyStridedWithoutDimensionsTakesNullPointers) {
  Handle handle;
  ASSERT_EQ(empty(handle.out(), nullptr, nullptr, 0), kOk);
  EXPECT_EQ(handle.tensor().numel(), 1);
}

TEST_F(Creation, EmptyStridedRefuses) {
  const auto refused = [](Status status, const char* text, auto... arguments) {
    expect_refused_with_null(status, text,
                             [&](AtenTensorHandle* ret) { return empty(ret, arguments...); });
  };
  const int64_t negative[] = {2, -3}, huge[] = {INT64_MAX, 3};
  refused(Status::InvalidArgument, "sizes_ptr is null", nullptr);
  refused(Status::InvalidArgument, "strides_ptr is null", kSizes, nullptr);
  refused(Status::InvalidArgument, "-1", kSizes, kStrides, -1);
  refused(Status::InvalidArgument, "65", kSizes, kStrides, 65);
  refused(Status::InvalidArgument, "[2, -3]", negative);
  refused(Status::InvalidArgument, "[1, -3]", kSizes, (const int64_t[]){1, -3});
  refused(Status::InvalidArgument, "overflow", huge);
  refused(Status::MemoryAllocationFailed, "bytes", (const int64_t[]){1, int64_t{1} << 60},
          (const int64_t[]){1, 1});
  refused(Status::InvalidType, "99", kSizes, kStrides, 2, 99);
  refused(Status::InvalidArgument, "7", kSizes, kStrides, 2, kFloat32, 7);
  expect_refused(empty(nullptr), Status::InvalidArgument, "ret_new_tensor is null");
}

TEST_F(Creation, BlobsAreViewedAndNullAllocates) {
  float data[] = {0, 1, 2, 3, 4, 5, 6, 7};
  Handle view, fresh;
  ASSERT_EQ(aoti_torch_create_tensor_from_blob(data, 2, kSizes, kStrides, 2, kFloat32, kCpu, -1,
                                               view.out()),
            kOk);
  EXPECT_EQ(view.tensor().raw_data(), data + 2);
  EXPECT_EQ(values_of<float>(view.tensor()), (std::vector<float>{2, 4, 6, 3, 5, 7}));
  ASSERT_EQ(aoti_torch_create_tensor_from_blob(nullptr, 2, kSizes, kStrides, 2, kFloat32, kCpu, 0,
                                               fresh.out()),
            kOk);
  EXPECT_NE(fresh.tensor().raw_data(), nullptr);
  EXPECT_EQ(fresh.tensor().storage_offset(), 0);
}

TEST_F(Creation, BlobsRefuse) {
  float data[8] = {};
  const auto blob = [&](AtenTensorHandle* ret, int64_t offset, int32_t layout, int64_t metadata) {
    const uint8_t byte = 0;
    return aoti_torch_create_tensor_from_blob_v2(data, 2, kSizes, kStrides, offset, kFloat32, kCpu,
                                                 0, ret, layout, &byte, metadata);
  };
  const int32_t strided = aoti_torch_layout_strided();
  Handle good;
  EXPECT_EQ(blob(good.out(), 2, strided, 0), kOk);
  const auto refused = [&](Status status, const char* text, auto... arguments) {
    expect_refused_with_null(status, text,
                             [&](AtenTensorHandle* ret) { return blob(ret, arguments...); });
  };
  refused(Status::InvalidArgument, "-2", -2, strided, 0);
  refused(Status::InvalidArgument, "overflow", INT64_MAX, strided, 0);
  refused(Status::NotSupported, "layout 3", 0, aoti_torch_layout__mkldnn(), 0);
  refused(Status::NotSupported, "1 bytes of opaque metadata", 0, strided, 1);
  expect_refused(blob(nullptr, 0, strided, 0), Status::InvalidArgument, "ret is null");
  expect_refused_with_null(Status::InvalidArgument, "sizes_ptr", [&](AtenTensorHandle* ret) {
    return aoti_torch_create_tensor_from_blob(data, 2, nullptr, kStrides, 0, kFloat32, kCpu, 0,
                                              ret);
  });
}

TEST_F(Creation, DeleteAcceptsNull) { EXPECT_EQ(aoti_torch_delete_tensor_object(nullptr), kOk); }

TEST_F(Creation, AliasesShareStorageBeyondTheOriginal) {
  Handle alias, assigned(Tensor::scalar(1.0f)), out;
  {
    const Handle original(tensor_of<int32_t>({2}, {7, 8}));
    ASSERT_EQ(aoti_torch_new_tensor_handle(original, alias.out()), kOk);
    ASSERT_EQ(aoti_torch_assign_tensors(original, assigned), kOk);
    ASSERT_EQ(aoti_torch_assign_tensors_out(original, out.out()), kOk);
    ASSERT_EQ(aoti_torch_assign_tensors(assigned, assigned), kOk);
  }
  for (const Handle* handle : {&alias, &assigned, &out}) {
    EXPECT_EQ(values_of<int32_t>(handle->tensor()), (std::vector<int32_t>{7, 8}));
    EXPECT_EQ(handle->tensor().storage().get(), alias.tensor().storage().get());
  }
}

TEST_F(Creation, AliasesRefuseNull) {
  const Handle tensor(Tensor::scalar(1.0f));
  expect_refused_with_null(Status::InvalidArgument, "orig_handle is null",
                           [](auto* ret) { return aoti_torch_new_tensor_handle(nullptr, ret); });
  expect_refused_with_null(Status::InvalidArgument, "src is null",
                           [](auto* ret) { return aoti_torch_assign_tensors_out(nullptr, ret); });
  expect_refused(aoti_torch_new_tensor_handle(tensor, nullptr), Status::InvalidArgument,
                 "new_handle is null");
  expect_refused(aoti_torch_assign_tensors_out(tensor, nullptr), Status::InvalidArgument,
                 "ret_dst is null");
  expect_refused(aoti_torch_assign_tensors(nullptr, tensor), Status::InvalidArgument,
                 "src is null");
  expect_refused(aoti_torch_assign_tensors(tensor, nullptr), Status::InvalidArgument,
                 "dst is null");
}

TEST_F(Creation, UninitializedTensorsAreUndefined) {
  Handle handle;
  ASSERT_EQ(aoti_torch_new_uninitialized_tensor(handle.out()), kOk);
  bool defined = true;
  EXPECT_EQ(aoti_torch_is_defined(handle, &defined), kOk);
  EXPECT_FALSE(defined);
  const Handle source(tensor_of<int32_t>({1}, {3}));
  ASSERT_EQ(aoti_torch_assign_tensors(source, handle), kOk);
  EXPECT_EQ(aoti_torch_is_defined(handle, &defined), kOk);
  EXPECT_TRUE(defined);
  expect_refused(aoti_torch_new_uninitialized_tensor(nullptr), Status::InvalidArgument,
                 "ret is null");
}

}  // namespace
}  // namespace aotiny
