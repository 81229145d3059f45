// aoti_torch_get_*, is_*: what a tensor says of itself.
#include "shim_test.h"

namespace aotiny {
namespace {

using Attributes = ShimTest;

// The value that an attribute function writes.
template <class T>
T get(AOTITorchError (*function)(AtenTensorHandle, T*), AtenTensorHandle tensor) {
  T value{};
  EXPECT_EQ(function(tensor, &value), kOk) << last_error();
  return value;
}

TEST_F(Attributes, OfAView) {
  const Tensor base = tensor_of<int16_t>({3, 4}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11});
  const Handle view(base.slice(0, 1, 3).slice(1, 2, 4));
  EXPECT_EQ(get(aoti_torch_get_dim, view), 2);
  EXPECT_EQ(get(aoti_torch_get_numel, view), 4);
  EXPECT_EQ(get(aoti_torch_get_storage_offset, view), 6);
  EXPECT_EQ(get(aoti_torch_get_storage_size, view), 24);
  EXPECT_EQ(get(aoti_torch_get_storage_numel, view), 12);
  EXPECT_EQ(get(aoti_torch_get_dtype, view), aoti_torch_dtype_int16());
  EXPECT_EQ(get(aoti_torch_get_device_type, view), aoti_torch_device_type_cpu());
  EXPECT_EQ(get(aoti_torch_get_device_index, view), -1);
  EXPECT_EQ(get(aoti_torch_get_layout, view), aoti_torch_layout_strided());
  EXPECT_FALSE(get(aoti_torch_is_contiguous, view));
  EXPECT_TRUE(get(aoti_torch_is_defined, view));
  EXPECT_EQ(*static_cast<int16_t*>(get(aoti_torch_get_data_ptr, view)), 6);
  const int64_t* sizes = get(aoti_torch_get_sizes, view);
  const int64_t* strides = get(aoti_torch_get_strides, view);
  EXPECT_EQ((Ints{sizes[0], sizes[1]}), (Ints{2, 2}));
  EXPECT_EQ((Ints{strides[0], strides[1]}), (Ints{4, 1}));
  int64_t value = 0;
  EXPECT_EQ(aoti_torch_get_size(view, -1, &value), kOk);
  EXPECT_EQ(value, 2);
  EXPECT_EQ(aoti_torch_get_stride(view, 0, &value), kOk);
  EXPECT_EQ(value, 4);
}

template <class T>
void expect_nulls_refused(AOTITorchError (*function)(AtenTensorHandle, T*)) {
  const Handle tensor(Tensor::scalar(1.0f));
  T value{};
  expect_refused(function(nullptr, &value), Status::InvalidArgument, "tensor is null");
  expect_refused(function(tensor, nullptr), Status::InvalidArgument, "is null");
}

TEST_F(Attributes, NullsAreRefused) {
  for (const auto function :
       {aoti_torch_get_dim, aoti_torch_get_numel, aoti_torch_get_storage_offset,
        aoti_torch_get_storage_size, aoti_torch_get_storage_numel}) {
    expect_nulls_refused(function);
  }
  for (const auto function : {aoti_torch_get_dtype, aoti_torch_get_device_type,
                              aoti_torch_get_device_index, aoti_torch_get_layout}) {
    expect_nulls_refused(function);
  }
  expect_nulls_refused(aoti_torch_get_sizes);
  expect_nulls_refused(aoti_torch_get_strides);
  expect_nulls_refused(aoti_torch_get_data_ptr);
  expect_nulls_refused(aoti_torch_is_contiguous);
  expect_nulls_refused(aoti_torch_is_defined);
}

TEST_F(Attributes, DimensionsOutsideAreRefused) {
  const Handle tensor(tensor_of<float>({2, 1}, {1, 2}));
  int64_t value = 0;
  for (const auto function : {aoti_torch_get_size, aoti_torch_get_stride}) {
    expect_refused(function(tensor, 2, &value), Status::InvalidArgument, "dimension 2");
    expect_refused(function(tensor, -3, &value), Status::InvalidArgument, "dimension -3");
    expect_refused(function(nullptr, 0, &value), Status::InvalidArgument, "tensor is null");
    expect_refused(function(tensor, 0, nullptr), Status::InvalidArgument, "is null");
  }
}

TEST_F(Attributes, OfAnUndefinedTensor) {
  const Handle tensor{Tensor()};
  EXPECT_FALSE(get(aoti_torch_is_defined, tensor));
  EXPECT_EQ(get(aoti_torch_get_storage_size, tensor), 0);
  EXPECT_EQ(get(aoti_torch_get_data_ptr, tensor), nullptr);
}

}  // namespace
}  // namespace aotiny
