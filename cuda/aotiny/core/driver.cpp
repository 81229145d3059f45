#include "aotiny/core/driver.h"

#include <array>
#include <mutex>

#include "aotiny/core/check.h"
#include "aotiny/core/status.h"
#include "aotiny/core/stream.h"

namespace aotiny::cuda {
namespace {

// CUcontext, CUdevice and CUresult of cuda.h; a CUresult has the value of the runtime's error.
using Context = void*;
using DriverDevice = int;
using Result = int;

struct Driver {
  Result (*retain)(Context*, DriverDevice);
  Result (*state)(DriverDevice, unsigned* flags, int* is_active);
  Result (*push)(Context);
  Result (*pop)(Context*);
};

template <class Function>
void find(const char* name, Function*& function) {
  function = driver_function<Function>(name);
  require(function != nullptr, Status::NotFound, "the NVIDIA driver has no function ", name);
}

const Driver& driver() {
  static const Driver found = [] {
    Driver functions{};
    find("cuDevicePrimaryCtxRetain", functions.retain);
    find("cuDevicePrimaryCtxGetState", functions.state);
    find("cuCtxPushCurrent_v2", functions.push);
    find("cuCtxPopCurrent_v2", functions.pop);
    return functions;
  }();
  return found;
}

void check(Result result, const char* expression, int line) {
  if (result != 0) fail_on(static_cast<cudaError_t>(result), expression, __FILE__, line);
}

// The runtime's context of a device, made if it is not there yet, and kept from now on.
Context context_of(int device) {
  struct Contexts {
    std::mutex mutex;
    std::array<Context, kMaxDevices> of{};
  };
  static Contexts& contexts = *new Contexts;
  const std::lock_guard lock(contexts.mutex);
  Context& context = contexts.of[static_cast<size_t>(device)];
  if (context == nullptr) {
    check(driver().retain(&context, device), "cuDevicePrimaryCtxRetain", __LINE__);
  }
  return context;
}

}  // namespace

void push_device(int device) {
  check_device(device);
  check(driver().push(context_of(device)), "cuCtxPushCurrent", __LINE__);
}

void pop_device() noexcept {
  Context popped = nullptr;
  (void)driver().pop(&popped);
}

bool is_in_use(int device) {
  unsigned flags = 0;
  int is_active = 0;
  return driver().state(device, &flags, &is_active) == 0 && is_active != 0;
}

}  // namespace aotiny::cuda
