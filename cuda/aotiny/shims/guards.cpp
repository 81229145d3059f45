// aoti_torch_*_guard, aoti_torch_get_current_cuda_stream: device and stream of the calling thread.
#include "aotiny/core/guard.h"

#include "aotiny/abi/aoti_torch_cuda.h"
#include "aotiny/core/status.h"

using namespace aotiny;
using cuda::CurrentDevice;
using cuda::StreamGuard;

namespace {

// The target of an out-pointer, null from now on.
template <class T>
T*& null_out(T** pointer, const char* name) {
  require(pointer != nullptr, Status::InvalidArgument, name, " is null");
  *pointer = nullptr;
  return *pointer;
}

}  // namespace

AOTITorchError aoti_torch_create_cuda_guard(int32_t device_index, CUDAGuardHandle* ret_guard) {
  return guarded([&] {
    auto& guard = null_out(ret_guard, "ret_guard");
    guard = reinterpret_cast<CUDAGuardHandle>(new CurrentDevice(device_index));
  });
}

AOTITorchError aoti_torch_delete_cuda_guard(CUDAGuardHandle guard) {
  delete reinterpret_cast<CurrentDevice*>(guard);
  return static_cast<AOTITorchError>(Status::Ok);
}

AOTITorchError aoti_torch_cuda_guard_set_index(CUDAGuardHandle guard, int32_t device_index) {
  return guarded([&] {
    require(guard != nullptr, Status::InvalidArgument, "guard is null");
    reinterpret_cast<CurrentDevice*>(guard)->set(device_index);
  });
}

AOTITorchError aoti_torch_create_cuda_stream_guard(void* stream, int32_t device_index,
                                                   CUDAStreamGuardHandle* ret_guard) {
  return guarded([&] {
    auto& guard = null_out(ret_guard, "ret_guard");
    guard = reinterpret_cast<CUDAStreamGuardHandle>(
        new StreamGuard(device_index, static_cast<cudaStream_t>(stream)));
  });
}

AOTITorchError aoti_torch_delete_cuda_stream_guard(CUDAStreamGuardHandle guard) {
  delete reinterpret_cast<StreamGuard*>(guard);
  return static_cast<AOTITorchError>(Status::Ok);
}

AOTITorchError aoti_torch_get_current_cuda_stream(int32_t device_index, void** ret_stream) {
  return guarded([&] {
    void*& stream = null_out(ret_stream, "ret_stream");
    stream = cuda::current_stream(device_index);
  });
}
