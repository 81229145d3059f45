// Device and stream guards.
#include "aotiny/core/guard.h"

#include "gpu_test.h"

namespace aotiny::cuda {
namespace {

using Guards = GpuTest;

int current_device() {
  int device = -1;
  AOTINY_CUDA_CHECK(cudaGetDevice(&device));
  return device;
}

TEST_F(Guards, DeviceComesBack) {
  const int before = current_device();
  const int last = device_count() - 1;
  {
    DeviceGuard guard(last);
    EXPECT_EQ(current_device(), last);
    guard.set(0);
    EXPECT_EQ(current_device(), 0);
  }
  EXPECT_EQ(current_device(), before);
}

TEST_F(Guards, UnknownDevicesAreRefused) {
  for (const int device : {-1, device_count()}) {
    const auto text = failure(Status::InvalidArgument, [&] { DeviceGuard guard(device); });
    EXPECT_TRUE(contains(text, "cuda:" + std::to_string(device))) << text;
  }
  DeviceGuard guard(0);
  failure(Status::InvalidArgument, [&] { guard.set(device_count()); });
  EXPECT_EQ(current_device(), 0);
}

TEST_F(Guards, StreamComesBack) {
  const Stream outer(0), inner(0);
  EXPECT_EQ(current_stream(0), nullptr);
  {
    const StreamGuard first(0, outer.get());
    {
      const StreamGuard second(0, inner.get());
      EXPECT_EQ(current_stream(0), inner.get());
    }
    EXPECT_EQ(current_stream(0), outer.get());
  }
  EXPECT_EQ(current_stream(0), nullptr);
}

TEST_F(Guards, EachDeviceHasItsOwnStream) {
  if (device_count() < 2) GTEST_SKIP() << "there is one GPU";
  const Stream first(0), second(1);
  const StreamGuard guard_first(0, first.get());
  const StreamGuard guard_second(1, second.get());
  EXPECT_EQ(current_stream(0), first.get());
  EXPECT_EQ(current_stream(1), second.get());
  EXPECT_EQ(current_device(), 1);
}

}  // namespace
}  // namespace aotiny::cuda
