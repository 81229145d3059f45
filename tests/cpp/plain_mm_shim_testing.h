// Handles for the tests of the plain products' C functions.
#pragma once

#include "aotiny/core/allocator.h"
#include "aotiny/quant/reference.h"
#include "aotiny/shims/handle.h"
#include "quant_testing.h"
#include "weight_handles.h"

namespace aotiny::testing {

inline Tensor take(AtenTensorHandle handle) {
  Tensor tensor = *reinterpret_cast<Tensor*>(handle);
  delete reinterpret_cast<Tensor*>(handle);
  return tensor;
}

// Activations whose shims' result is to be [2, 3, N].
inline Tensor activations(int64_t k, DType dtype = DType::Float32) {
  return tensor_of(gaussian(6 * k, 21), {2, 3, k}, dtype);
}

inline void expect_product(const Tensor& y, const Tensor& x, const Weight& weight) {
  ASSERT_EQ(y.dtype(), x.dtype());
  ASSERT_TRUE(y.is_contiguous());
  ASSERT_EQ(y.ndim(), x.ndim());
  ASSERT_EQ(y.size(-1), weight.n());
  const std::vector<float> values = floats_of(x);
  const double tolerance = x.dtype() == DType::Float32   ? 5e-7
                           : x.dtype() == DType::Float16 ? 3e-4
                                                         : 2.5e-3;
  EXPECT_LT(relative_error(floats_of(y),
                           reference_plain_mm(values.data(), x.numel() / x.size(-1), weight)),
            tolerance);
}

// The call fails with this status, leaves no handle and keeps no memory.
template <class Call>
void expect_failure(Status status, const Call& call) {
  const uint64_t before = allocator(DeviceType::CPU).stats(kCPU).allocated_bytes;
  AtenTensorHandle result = nullptr;
  EXPECT_EQ(call(&result), static_cast<int32_t>(status)) << last_error();
  EXPECT_EQ(result, nullptr);
  EXPECT_STRNE(last_error(), "");
  EXPECT_EQ(allocator(DeviceType::CPU).stats(kCPU).allocated_bytes, before);
}

}  // namespace aotiny::testing
