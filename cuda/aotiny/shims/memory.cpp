// aoti_torch_cuda_caching_allocator_raw_alloc, raw_delete: memory without a tensor, for the
// constants of models that were compiled to ask for it.
#include <cuda_runtime.h>

#include "aotiny/abi/aoti_torch_cuda.h"
#include "aotiny/shims/cuda_handle.h"

using namespace aotiny;

AOTITorchError aoti_torch_cuda_caching_allocator_raw_alloc(uint64_t nbytes, void** ret_ptr) {
  return guarded([&] {
    void*& data = out(ret_ptr, "ret_ptr");
    data = nullptr;
    int index = 0;
    AOTINY_CUDA_CHECK(cudaGetDevice(&index));
    data = cuda::cuda_interface().allocator().allocate(
        nbytes, {DeviceType::CUDA, static_cast<int8_t>(index)});
  });
}

AOTITorchError aoti_torch_cuda_caching_allocator_raw_delete(void* ptr) {
  return guarded([&] {
    if (ptr == nullptr) return;
    auto& allocator = cuda::cuda_interface().allocator();
    for (int index = 0; index < cuda::device_count(); ++index) {
      const Device device{DeviceType::CUDA, static_cast<int8_t>(index)};
      if (allocator.owns(ptr, device)) return allocator.deallocate(ptr, 0, device);
    }
    fail(Status::InvalidArgument, "the memory at ", ptr, " was not allocated here, or is deleted");
  });
}
