#include "aotiny/core/open.h"

#include <cuda_runtime.h>
#include <dlfcn.h>

#include <cstdlib>
#include <string>

#include "aotiny/core/cuda_interface.h"
#include "aotiny/core/status.h"

namespace aotiny::cuda {
namespace {

std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

// Fails, saying what is missing, unless there is a GPU to work with. The runtime gives the same
// code for a driver that is not there and one that is too old, so the driver is looked for first.
void check_driver() {
  require(::dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL) != nullptr, Status::NotFound,
          "there is no NVIDIA driver on this machine (libcuda.so.1 was not found)");
  int driver = 0, runtime = 0, count = 0;
  (void)cudaDriverGetVersion(&driver);
  (void)cudaRuntimeGetVersion(&runtime);
  const cudaError_t code = cudaGetDeviceCount(&count);
  if (code == cudaSuccess && count > 0) return;
  (void)cudaGetLastError();
  if (code == cudaErrorInsufficientDriver) {
    fail(Status::NotFound, "the NVIDIA driver is too old: it supports CUDA ", version_text(driver),
         ", and this aotiny needs ", version_text(runtime));
  }
  const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
  if (code == cudaErrorNoDevice || code == cudaSuccess) {
    fail(Status::NotFound, "there is no GPU that this process can use",
         visible != nullptr ? std::string(" (CUDA_VISIBLE_DEVICES is \"") + visible + "\")" : "");
  }
  fail(Status::NotFound, "the CUDA driver does not start: ", cudaGetErrorString(code), " (",
       cudaGetErrorName(code), ")");
}

}  // namespace
}  // namespace aotiny::cuda

int32_t aotiny_cuda_open(const char* version, aotiny::DeviceInterface** ret_interface) {
  using namespace aotiny;
  return guarded([&] {
    require(version != nullptr && ret_interface != nullptr, Status::InvalidArgument,
            version == nullptr ? "version" : "ret_interface", " is null");
    *ret_interface = nullptr;
    require(std::string(version) == AOTINY_VERSION, Status::InvalidState,
            "libaotiny_cuda is version ", AOTINY_VERSION, ", but libaotiny is version ", version);
    cuda::check_driver();
    *ret_interface = &cuda::cuda_interface();
  });
}
