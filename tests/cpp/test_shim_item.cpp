// Scalars in and out of tensors.
#include <cmath>
#include <limits>

#include "shim_test.h"

namespace aotiny {
namespace {

using Item = ShimTest;

// To a tensor and back, at both ends of the type.
template <class T>
void expect_round_trip(AOTITorchError (*to_tensor)(T, AtenTensorHandle*),
                       AOTITorchError (*item)(AtenTensorHandle, T*)) {
  for (const T value : {std::numeric_limits<T>::lowest(), std::numeric_limits<T>::max()}) {
    Handle tensor;
    ASSERT_EQ(to_tensor(value, tensor.out()), kOk);
    EXPECT_EQ(tensor.tensor().ndim(), 0);
    EXPECT_EQ(tensor.tensor().dtype(), dtype_of<T>());
    T read{};
    EXPECT_EQ(item(tensor, &read), kOk);
    EXPECT_EQ(read, value);
  }
  expect_refused(to_tensor(T{}, nullptr), Status::InvalidArgument, "ret_new_tensor is null");
}

template <class T>
void expect_item_refuses(AOTITorchError (*item)(AtenTensorHandle, T*), DType dtype) {
  const Handle one(Tensor::empty(Ints{1, 1}, dtype)), two(Tensor::empty(Ints{2}, dtype)),
      none(Tensor::empty(Ints{0}, dtype)), mistyped(Tensor::empty(Ints{}, DType::ComplexFloat32)),
      undefined{Tensor()};
  T value{};
  EXPECT_EQ(aoti_torch_zero_(one), kOk);
  EXPECT_EQ(item(one, &value), kOk);
  expect_refused(item(two, &value), Status::InvalidArgument, "2 elements");
  expect_refused(item(none, &value), Status::InvalidArgument, "0 elements");
  expect_refused(item(mistyped, &value), Status::InvalidType, "complex64");
  expect_refused(item(undefined, &value), Status::InvalidArgument, "undefined");
  expect_refused(item(nullptr, &value), Status::InvalidArgument, "tensor is null");
  expect_refused(item(one, nullptr), Status::InvalidArgument, "ret_value is null");
}

TEST_F(Item, RoundTrips) {
  expect_round_trip(aoti_torch_scalar_to_tensor_float32, aoti_torch_item_float32);
  expect_round_trip(aoti_torch_scalar_to_tensor_float64, aoti_torch_item_float64);
  expect_round_trip(aoti_torch_scalar_to_tensor_uint8, aoti_torch_item_uint8);
  expect_round_trip(aoti_torch_scalar_to_tensor_uint16, aoti_torch_item_uint16);
  expect_round_trip(aoti_torch_scalar_to_tensor_uint32, aoti_torch_item_uint32);
  expect_round_trip(aoti_torch_scalar_to_tensor_uint64, aoti_torch_item_uint64);
  expect_round_trip(aoti_torch_scalar_to_tensor_int8, aoti_torch_item_int8);
  expect_round_trip(aoti_torch_scalar_to_tensor_int16, aoti_torch_item_int16);
  expect_round_trip(aoti_torch_scalar_to_tensor_int32, aoti_torch_item_int32);
  expect_round_trip(aoti_torch_scalar_to_tensor_int64, aoti_torch_item_int64);
  expect_round_trip(aoti_torch_scalar_to_tensor_bool, aoti_torch_item_bool);
}

TEST_F(Item, OtherDtypesAreConvertedIfTheyFit) {
  const auto expect_int8 = [](const Tensor& from, int8_t expected) {
    const Handle tensor(from);
    int8_t value = 99;
    EXPECT_EQ(aoti_torch_item_int8(tensor, &value), kOk);
    EXPECT_EQ(value, expected);
  };
  expect_int8(Tensor::scalar(-127.9), -127);
  expect_int8(Tensor::scalar(126.9f), 126);
  expect_int8(Tensor::scalar(uint64_t{127}), 127);
  expect_int8(Tensor::scalar(Float16(-2.5f)), -2);
  expect_int8(Tensor::scalar(true), 1);
  for (const Tensor& from :
       {Tensor::scalar(127.9), Tensor::scalar(-128.1), Tensor::scalar(int64_t{-129}),
        Tensor::scalar(std::numeric_limits<float>::quiet_NaN())}) {
    const Handle tensor(from);
    int8_t value = 99;
    expect_refused(aoti_torch_item_int8(tensor, &value), Status::InvalidArgument, "int8");
    EXPECT_EQ(value, 99);
  }
  const Handle huge(Tensor::scalar(1e300)), infinite(Tensor::scalar(HUGE_VAL)),
      two_to_64(Tensor::scalar(0x1p64));
  float value = 0;
  uint64_t large = 0;
  expect_refused(aoti_torch_item_float32(huge, &value), Status::InvalidArgument, "e+300");
  EXPECT_EQ(aoti_torch_item_float32(infinite, &value), kOk);
  EXPECT_EQ(value, HUGE_VALF);
  expect_refused(aoti_torch_item_uint64(two_to_64, &large), Status::InvalidArgument, "uint64");
}

TEST_F(Item, SixteenBitFloatsAreBits) {
  const Handle half(Tensor::scalar(Float16(-2.5f))), brain(Tensor::scalar(BFloat16(-2.5f)));
  uint16_t bits = 0;
  EXPECT_EQ(aoti_torch_item_float16(half, &bits), kOk);
  EXPECT_EQ(bits, 0xc100);
  EXPECT_EQ(aoti_torch_item_bfloat16(brain, &bits), kOk);
  EXPECT_EQ(bits, 0xc020);
  EXPECT_EQ(aoti_torch_item_bfloat16(half, &bits), kOk);
  EXPECT_EQ(bits, 0xc020);
}

TEST_F(Item, Refuses) {
  expect_item_refuses(aoti_torch_item_float16, DType::Float16);
  expect_item_refuses(aoti_torch_item_bfloat16, DType::BFloat16);
  expect_item_refuses(aoti_torch_item_float32, DType::Float32);
  expect_item_refuses(aoti_torch_item_float64, DType::Float64);
  expect_item_refuses(aoti_torch_item_uint8, DType::UInt8);
  expect_item_refuses(aoti_torch_item_uint16, DType::UInt16);
  expect_item_refuses(aoti_torch_item_uint32, DType::UInt32);
  expect_item_refuses(aoti_torch_item_uint64, DType::UInt64);
  expect_item_refuses(aoti_torch_item_int8, DType::Int8);
  expect_item_refuses(aoti_torch_item_int16, DType::Int16);
  expect_item_refuses(aoti_torch_item_int32, DType::Int32);
  expect_item_refuses(aoti_torch_item_int64, DType::Int64);
  expect_item_refuses(aoti_torch_item_bool, DType::Bool);
}

}  // namespace
}  // namespace aotiny
