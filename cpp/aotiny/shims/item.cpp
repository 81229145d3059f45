// Scalars: the value of a tensor with one element, and a tensor of one value.
#include <cmath>
#include <limits>
#include <utility>

#include "aotiny/shims/handle.h"

using namespace aotiny;

namespace {

// The value as a To: fractions are cut off, and what is outside To's range is refused. (Torch lets
// negative numbers wrap into unsigned types and 2^63 into int64; here those are refused too.)
template <class To, class From>
To checked_convert(From value) {
  if constexpr (std::is_same_v<To, From>) {
    return value;
  } else if constexpr (kIsFloat16<From>) {
    return checked_convert<To>(static_cast<float>(value));
  } else {
    bool fits = true;
    if constexpr (std::is_same_v<To, bool> || std::is_same_v<From, bool>) {
      // Every value has a truth, and 0 and 1 fit everywhere.
    } else if constexpr (std::is_integral_v<To> && std::is_integral_v<From>) {
      fits = std::in_range<To>(value);
    } else if constexpr (std::is_integral_v<To>) {
      // Like torch, 127.9 is outside int8. The largest int64 is 2^63 as a double, which is not.
      const auto number = static_cast<double>(value);
      fits = number >= static_cast<double>(std::numeric_limits<To>::min()) &&
             number <= static_cast<double>(std::numeric_limits<To>::max()) &&
             number < std::ldexp(1.0, std::numeric_limits<To>::digits);
    } else {
      fits = !std::isfinite(static_cast<double>(value)) ||
             std::isfinite(static_cast<double>(convert<double>(convert<To>(value))));
    }
    require(fits, Status::InvalidArgument, "item: ", +value, " does not fit ", dtype_of<To>());
    return convert<To>(value);
  }
}

// Value is T, or uint16_t for the 16-bit floats.
template <class T, class Value>
AOTITorchError item(AtenTensorHandle tensor, Value* ret_value) {
  return guarded([&] {
    Value& value = out(ret_value, "ret_value");
    const Tensor& given = defined_in(tensor, "tensor");
    require(given.numel() == 1, Status::InvalidArgument, "item: ", given, " has ", given.numel(),
            " elements, not 1");
    const Tensor self = given.to(kCPU);
    const T element = visit_dtype(self.dtype(), "item", [&](auto tag) {
      return checked_convert<T>(*static_cast<const typename decltype(tag)::type*>(self.raw_data()));
    });
    if constexpr (kIsFloat16<T>) {
      value = element.bits;
    } else {
      value = element;
    }
  });
}

template <class T>
AOTITorchError scalar_to_tensor(T value, AtenTensorHandle* ret_new_tensor) {
  return guarded([&] {
    NewHandle ret_handle(ret_new_tensor, "ret_new_tensor");
    ret_handle = Tensor::scalar(value);
  });
}

}  // namespace

AOTITorchError aoti_torch_item_float16(AtenTensorHandle tensor, uint16_t* ret_value) {
  return item<Float16>(tensor, ret_value);
}
AOTITorchError aoti_torch_item_bfloat16(AtenTensorHandle tensor, uint16_t* ret_value) {
  return item<BFloat16>(tensor, ret_value);
}
AOTITorchError aoti_torch_item_float32(AtenTensorHandle tensor, float* ret_value) {
  return item<float>(tensor, ret_value);
}
AOTITorchError aoti_torch_item_float64(AtenTensorHandle tensor, double* ret_value) {
  return item<double>(tensor, ret_value);
}
AOTITorchError aoti_torch_item_uint8(AtenTensorHandle tensor, uint8_t* ret_value) {
  return item<uint8_t>(tensor, ret_value);
}
AOTITorchError aoti_torch_item_uint16(AtenTensorHandle tensor, uint16_t* ret_value) {
  return item<uint16_t>(tensor, ret_value);
}
AOTITorchError aoti_torch_item_uint32(AtenTensorHandle tensor, uint32_t* ret_value) {
  return item<uint32_t>(tensor, ret_value);
}
AOTITorchError aoti_torch_item_uint64(AtenTensorHandle tensor, uint64_t* ret_value) {
  return item<uint64_t>(tensor, ret_value);
}
AOTITorchError aoti_torch_item_int8(AtenTensorHandle tensor, int8_t* ret_value) {
  return item<int8_t>(tensor, ret_value);
}
AOTITorchError aoti_torch_item_int16(AtenTensorHandle tensor, int16_t* ret_value) {
  return item<int16_t>(tensor, ret_value);
}
AOTITorchError aoti_torch_item_int32(AtenTensorHandle tensor, int32_t* ret_value) {
  return item<int32_t>(tensor, ret_value);
}
AOTITorchError aoti_torch_item_int64(AtenTensorHandle tensor, int64_t* ret_value) {
  return item<int64_t>(tensor, ret_value);
}
AOTITorchError aoti_torch_item_bool(AtenTensorHandle tensor, bool* ret_value) {
  return item<bool>(tensor, ret_value);
}

AOTITorchError aoti_torch_scalar_to_tensor_float32(float value, AtenTensorHandle* ret_new_tensor) {
  return scalar_to_tensor(value, ret_new_tensor);
}
AOTITorchError aoti_torch_scalar_to_tensor_float64(double value, AtenTensorHandle* ret_new_tensor) {
  return scalar_to_tensor(value, ret_new_tensor);
}
AOTITorchError aoti_torch_scalar_to_tensor_uint8(uint8_t value, AtenTensorHandle* ret_new_tensor) {
  return scalar_to_tensor(value, ret_new_tensor);
}
AOTITorchError aoti_torch_scalar_to_tensor_uint16(uint16_t value,
                                                  AtenTensorHandle* ret_new_tensor) {
  return scalar_to_tensor(value, ret_new_tensor);
}
AOTITorchError aoti_torch_scalar_to_tensor_uint32(uint32_t value,
                                                  AtenTensorHandle* ret_new_tensor) {
  return scalar_to_tensor(value, ret_new_tensor);
}
AOTITorchError aoti_torch_scalar_to_tensor_uint64(uint64_t value,
                                                  AtenTensorHandle* ret_new_tensor) {
  return scalar_to_tensor(value, ret_new_tensor);
}
AOTITorchError aoti_torch_scalar_to_tensor_int8(int8_t value, AtenTensorHandle* ret_new_tensor) {
  return scalar_to_tensor(value, ret_new_tensor);
}
AOTITorchError aoti_torch_scalar_to_tensor_int16(int16_t value, AtenTensorHandle* ret_new_tensor) {
  return scalar_to_tensor(value, ret_new_tensor);
}
AOTITorchError aoti_torch_scalar_to_tensor_int32(int32_t value, AtenTensorHandle* ret_new_tensor) {
  return scalar_to_tensor(value, ret_new_tensor);
}
AOTITorchError aoti_torch_scalar_to_tensor_int64(int64_t value, AtenTensorHandle* ret_new_tensor) {
  return scalar_to_tensor(value, ret_new_tensor);
}
AOTITorchError aoti_torch_scalar_to_tensor_bool(bool value, AtenTensorHandle* ret_new_tensor) {
  return scalar_to_tensor(value, ret_new_tensor);
}
