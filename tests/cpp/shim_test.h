// What the tests of the C functions share.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "aotiny/abi/aoti_torch.h"
#include "aotiny/core/allocator.h"
#include "aotiny/core/tensor.h"

namespace aotiny {

using Ints = std::vector<int64_t>;

inline constexpr int32_t kOk = 0;

// Fails a test that leaves memory allocated.
class ShimTest : public ::testing::Test {
 protected:
  void SetUp() override { before_ = allocated(); }
  void TearDown() override { EXPECT_EQ(allocated(), before_) << "bytes leaked"; }

 private:
  static uint64_t allocated() { return allocator(DeviceType::CPU).stats(kCPU).allocated_bytes; }
  uint64_t before_ = 0;
};

// An owned handle. `out()` is for an output argument; it begins as an address that is no tensor,
// so that a function that leaves it alone is found out.
class Handle {
 public:
  Handle() = default;
  explicit Handle(Tensor tensor)
      : handle_(reinterpret_cast<AtenTensorHandle>(new Tensor(std::move(tensor)))) {}
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle() { aoti_torch_delete_tensor_object(handle_); }

  operator AtenTensorHandle() const { return handle_; }
  AtenTensorHandle* out() { return &handle_; }
  const Tensor& tensor() const { return *reinterpret_cast<const Tensor*>(handle_); }

 private:
  AtenTensorHandle handle_ = nullptr;
};

// A contiguous tensor of these values.
template <class T>
Tensor tensor_of(const Ints& sizes, const std::vector<T>& values) {
  Tensor tensor = Tensor::empty(sizes, dtype_of<T>());
  EXPECT_EQ(tensor.numel(), static_cast<int64_t>(values.size()));
  for (size_t i = 0; i < values.size(); ++i) tensor.data<T>()[i] = values[i];
  return tensor;
}

// The elements in row-major order.
template <class T>
std::vector<T> values_of(const Tensor& tensor) {
  const Tensor dense = tensor.contiguous();
  return {dense.data<T>(), dense.data<T>() + dense.numel()};
}

inline Ints ints(IntSpan span) { return {span.begin(), span.end()}; }

// The call returned this status and a sentence that contains `text`.
inline void expect_refused(AOTITorchError code, Status status, const std::string& text) {
  EXPECT_EQ(code, static_cast<int32_t>(status)) << last_error();
  EXPECT_NE(std::string(last_error()).find(text), std::string::npos) << last_error();
}

// A call that has one output handle: refused, and the handle, which held something, is null.
template <class Call>
void expect_refused_with_null(Status status, const std::string& text, Call&& call) {
  int poison = 0;
  auto handle = reinterpret_cast<AtenTensorHandle>(&poison);
  expect_refused(call(&handle), status, text);
  EXPECT_EQ(handle, nullptr);
}

}  // namespace aotiny
