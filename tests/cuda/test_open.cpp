// aotiny_cuda_open.
#include "aotiny/core/open.h"

#include "gpu_test.h"

namespace aotiny::cuda {
namespace {

DeviceInterface* const kPoison = reinterpret_cast<DeviceInterface*>(64);

TEST(Open, RefusesNull) {
  DeviceInterface* found = kPoison;
  expect_refused(aotiny_cuda_open(nullptr, &found), Status::InvalidArgument, "version is null");
  expect_refused(aotiny_cuda_open("0.1.0", nullptr), Status::InvalidArgument,
                 "ret_interface is null");
}

TEST(Open, RefusesAnotherVersion) {
  DeviceInterface* found = kPoison;
  expect_refused(aotiny_cuda_open("0.0.9", &found), Status::InvalidState,
                 "but libaotiny is version 0.0.9");
  EXPECT_EQ(found, nullptr);
}

using OpenWithGpu = GpuTest;

TEST_F(OpenWithGpu, IsWhatTheCoreFinds) {
  EXPECT_EQ(&device_interface(DeviceType::CUDA), &cuda_interface());
  EXPECT_EQ(&allocator(DeviceType::CUDA), &cuda_interface().allocator());
}

TEST_F(OpenWithGpu, DescribesItsDevices) {
  ASSERT_GE(cuda_interface().device_count(), 1);
  const DeviceProperties found = cuda_interface().properties(gpu());
  EXPECT_FALSE(found.name.empty());
  EXPECT_GE(found.compute_capability_major, 7);
  EXPECT_GT(found.total_bytes, uint64_t{1} << 30);
  EXPECT_LE(found.free_bytes, found.total_bytes);
  EXPECT_GT(found.num_multiprocessors, 0);
  EXPECT_GE(found.max_shared_memory_bytes, 48u << 10);
  EXPECT_GE(cuda_interface().driver_version(), cuda_interface().runtime_version() / 1000 * 1000);
  const int count = cuda_interface().device_count();
  const auto text =
      failure(Status::InvalidArgument, [&] { cuda_interface().properties(gpu(count)); });
  EXPECT_TRUE(contains(text, "no device cuda:" + std::to_string(count))) << text;
  EXPECT_TRUE(contains(text, "devices is " + std::to_string(count))) << text;
}

}  // namespace
}  // namespace aotiny::cuda
