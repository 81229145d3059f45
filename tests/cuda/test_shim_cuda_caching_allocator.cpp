// aoti_torch_cuda_caching_allocator_raw_alloc, raw_delete.
#include "aotiny/abi/aoti_torch_cuda.h"
#include "gpu_test.h"

namespace aotiny::cuda {
namespace {

TEST(RawMemoryArguments, AreChecked) {
  expect_refused(aoti_torch_cuda_caching_allocator_raw_alloc(8, nullptr), Status::InvalidArgument,
                 "ret_ptr is null");
  EXPECT_EQ(aoti_torch_cuda_caching_allocator_raw_delete(nullptr), kOk);
  int here = 0;
  expect_refused(aoti_torch_cuda_caching_allocator_raw_delete(&here), Status::InvalidArgument,
                 "was not allocated here");
}

using RawMemory = GpuTest;

uint64_t bytes_in_use(int device) {
  return cuda_interface().allocator().stats(gpu(device)).allocated_bytes;
}

TEST_F(RawMemory, ComesFromTheAllocatorOfTheCurrentDevice) {
  const int last = device_count() - 1;
  const uint64_t before = bytes_in_use(last);
  void* data = nullptr;
  {
    const DeviceGuard guard(last);
    ASSERT_EQ(aoti_torch_cuda_caching_allocator_raw_alloc(5000, &data), kOk) << last_error();
    AOTINY_CUDA_CHECK(cudaMemset(data, 7, 5000));
  }
  EXPECT_EQ(bytes_in_use(last), before + 5000);
  cudaPointerAttributes attributes{};
  AOTINY_CUDA_CHECK(cudaPointerGetAttributes(&attributes, data));
  EXPECT_EQ(attributes.device, last);
  ASSERT_EQ(aoti_torch_cuda_caching_allocator_raw_delete(data), kOk) << last_error();
  EXPECT_EQ(bytes_in_use(last), before);
  expect_refused(aoti_torch_cuda_caching_allocator_raw_delete(data), Status::InvalidArgument,
                 "or is deleted");
}

TEST_F(RawMemory, NothingAndTooMuch) {
  void* data = &data;
  ASSERT_EQ(aoti_torch_cuda_caching_allocator_raw_alloc(0, &data), kOk);
  EXPECT_EQ(data, nullptr);
  data = &data;
  expect_refused(aoti_torch_cuda_caching_allocator_raw_alloc(uint64_t{1} << 50, &data),
                 Status::MemoryAllocationFailed, "cannot allocate 1125899906842624 bytes");
  EXPECT_EQ(data, nullptr);
}

}  // namespace
}  // namespace aotiny::cuda
