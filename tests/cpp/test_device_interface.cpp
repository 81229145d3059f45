// How the CUDA library is found, and what is said where it is not.
#include "aotiny/core/device_interface.h"

#include <dlfcn.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "aotiny/core/tensor.h"

namespace aotiny {
namespace {

constexpr Device kFirst{DeviceType::CUDA, 0};

// "" where CUDA can be used.
std::string why_not() {
  try {
    device_interface(DeviceType::CUDA);
    return "";
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), Status::NotFound);
    return error.what();
  }
}

bool is_library_there() {
  Dl_info info{};
  dladdr(reinterpret_cast<void*>(&device_interface), &info);
  return std::filesystem::exists(std::filesystem::path(info.dli_fname).parent_path() /
                                 "libaotiny_cuda.so.0");
}

TEST(DeviceInterface, TheCpuHasNone) { EXPECT_THROW(device_interface(DeviceType::CPU), Error); }

TEST(DeviceInterface, SaysWhichPieceIsMissing) {
  const std::string reason = why_not();
  if (reason.empty()) GTEST_SKIP() << "there is a GPU: nothing is missing";
  EXPECT_TRUE(reason.starts_with("CUDA is not available: ")) << reason;
  if (!is_library_there()) {
    EXPECT_NE(reason.find("built without it"), std::string::npos) << reason;
    return;
  }
  void* driver = dlopen("libcuda.so.1", RTLD_LAZY);
  const bool names_driver = reason.find("libcuda.so.1 was not found") != std::string::npos;
  const bool names_runtime = reason.find("libcudart.so") != std::string::npos;
  EXPECT_TRUE(names_runtime || names_driver == (driver == nullptr)) << reason;
}

TEST(DeviceInterface, EveryWayToADeviceGivesTheSameReason) {
  const std::string reason = why_not();
  if (reason.empty()) GTEST_SKIP() << "there is a GPU: nothing is missing";
  const int64_t sizes[] = {2};
  const int64_t strides[] = {1};
  float memory[2] = {1, 2};
  // Nothing reads the memory behind this, which is the host's.
  const Tensor elsewhere = Tensor::from_blob(memory, sizes, strides, 0, DType::Float32, kFirst);
  const Tensor here = Tensor::from_blob(memory, sizes, strides, 0, DType::Float32);
  const auto reason_of = [](auto&& call) -> std::string {
    try {
      call();
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_EQ(reason_of([&] { allocator(DeviceType::CUDA); }), reason);
  EXPECT_EQ(reason_of([&] { Tensor::empty(sizes, DType::Float32, kFirst); }), reason);
  EXPECT_EQ(reason_of([&] { Tensor::empty_pinned(sizes, DType::Float32); }), reason);
  EXPECT_EQ(reason_of([&] { here.to(kFirst); }), reason);
  EXPECT_EQ(reason_of([&] { elsewhere.to(kCPU); }), reason);
  EXPECT_EQ(reason_of([&] { elsewhere.to(DType::Int32); }), reason);
  EXPECT_EQ(reason_of([&] { elsewhere.clone(); }), reason);
  EXPECT_EQ(reason_of([&] { elsewhere.zero_(); }), reason);
  EXPECT_EQ(reason_of([&] { here.copy_(elsewhere); }), reason);
  EXPECT_EQ(memory[0], 1);
}

TEST(DeviceInterface, NothingIsAskedOfADeviceForNoElements) {
  const Tensor none = Tensor::from_blob(nullptr, std::vector<int64_t>{0, 3},
                                        std::vector<int64_t>{3, 1}, 0, DType::Float32, kFirst);
  const Tensor target = Tensor::empty(std::vector<int64_t>{0, 3}, DType::Int32);
  target.copy_(none);
  none.zero_();
  EXPECT_EQ(target.numel(), 0);
}

}  // namespace
}  // namespace aotiny
