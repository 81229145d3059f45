// aoti_torch_create_cuda_guard, delete_cuda_guard, cuda_guard_set_index.
#include "aotiny/abi/aoti_torch_cuda.h"
#include "gpu_test.h"

namespace aotiny::cuda {
namespace {

const auto kPoison = reinterpret_cast<CUDAGuardHandle>(64);

int current_device() {
  int device = -1;
  AOTINY_CUDA_CHECK(cudaGetDevice(&device));
  return device;
}

TEST(CudaGuardArguments, NullAndUnknownDevicesAreRefused) {
  expect_refused(aoti_torch_create_cuda_guard(0, nullptr), Status::InvalidArgument,
                 "ret_guard is null");
  for (const int32_t index : {-1, 99}) {
    CUDAGuardHandle guard = kPoison;
    expect_refused(aoti_torch_create_cuda_guard(index, &guard), Status::InvalidArgument,
                   "no device cuda:" + std::to_string(index));
    EXPECT_EQ(guard, nullptr);
  }
  expect_refused(aoti_torch_cuda_guard_set_index(nullptr, 0), Status::InvalidArgument,
                 "guard is null");
  EXPECT_EQ(aoti_torch_delete_cuda_guard(nullptr), kOk);
}

using CudaGuard = GpuTest;

TEST_F(CudaGuard, SetsTheDeviceAndUndoesIt) {
  const int before = current_device();
  const int last = device_count() - 1;
  CUDAGuardHandle guard = nullptr;
  ASSERT_EQ(aoti_torch_create_cuda_guard(last, &guard), kOk) << last_error();
  EXPECT_EQ(current_device(), last);
  ASSERT_EQ(aoti_torch_cuda_guard_set_index(guard, 0), kOk);
  EXPECT_EQ(current_device(), 0);
  expect_refused(aoti_torch_cuda_guard_set_index(guard, device_count()), Status::InvalidArgument,
                 "devices is " + std::to_string(device_count()));
  EXPECT_EQ(current_device(), 0);
  ASSERT_EQ(aoti_torch_delete_cuda_guard(guard), kOk);
  EXPECT_EQ(current_device(), before);
}

}  // namespace
}  // namespace aotiny::cuda
