// aoti_torch_create_cuda_stream_guard, delete_cuda_stream_guard, get_current_cuda_stream.
#include "aotiny/abi/aoti_torch_cuda.h"
#include "gpu_test.h"

namespace aotiny::cuda {
namespace {

void* current(int32_t device) {
  void* stream = reinterpret_cast<void*>(64);
  EXPECT_EQ(aoti_torch_get_current_cuda_stream(device, &stream), kOk) << last_error();
  return stream;
}

TEST(CudaStreamGuardArguments, NullAndUnknownDevicesAreRefused) {
  expect_refused(aoti_torch_create_cuda_stream_guard(nullptr, 0, nullptr), Status::InvalidArgument,
                 "ret_guard is null");
  expect_refused(aoti_torch_get_current_cuda_stream(0, nullptr), Status::InvalidArgument,
                 "ret_stream is null");
  for (const int32_t index : {-1, 99}) {
    auto guard = reinterpret_cast<CUDAStreamGuardHandle>(64);
    expect_refused(aoti_torch_create_cuda_stream_guard(nullptr, index, &guard),
                   Status::InvalidArgument, "no device cuda:" + std::to_string(index));
    EXPECT_EQ(guard, nullptr);
    auto* stream = reinterpret_cast<void*>(64);
    expect_refused(aoti_torch_get_current_cuda_stream(index, &stream), Status::InvalidArgument,
                   "no device cuda:" + std::to_string(index));
    EXPECT_EQ(stream, nullptr);
  }
  EXPECT_EQ(aoti_torch_delete_cuda_stream_guard(nullptr), kOk);
}

using CudaStreamGuard = GpuTest;

TEST_F(CudaStreamGuard, SetsStreamAndDeviceAndUndoesBoth) {
  const int last = device_count() - 1;
  const Stream stream(last);
  int before = -1, during = -1, after = -1;
  AOTINY_CUDA_CHECK(cudaGetDevice(&before));
  CUDAStreamGuardHandle guard = nullptr;
  ASSERT_EQ(aoti_torch_create_cuda_stream_guard(stream.get(), last, &guard), kOk) << last_error();
  EXPECT_EQ(current(last), stream.get());
  EXPECT_EQ(current_stream(last), stream.get());
  AOTINY_CUDA_CHECK(cudaGetDevice(&during));
  EXPECT_EQ(during, last);
  ASSERT_EQ(aoti_torch_delete_cuda_stream_guard(guard), kOk);
  EXPECT_EQ(current(last), nullptr);
  AOTINY_CUDA_CHECK(cudaGetDevice(&after));
  EXPECT_EQ(after, before);
}

}  // namespace
}  // namespace aotiny::cuda
