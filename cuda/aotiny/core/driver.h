// What the CUDA runtime leaves to the driver: making a device current for a while without touching
// any other. cudaSetDevice makes a context on the device that it goes back to, some hundred MB
// large, in a process that may never use that device.
#pragma once

#include <dlfcn.h>

namespace aotiny::cuda {

// A function of the driver, which is opened already where there are devices; null if it has none of
// that name.
template <class Signature>
Signature* driver_function(const char* name) {
  static void* const driver = ::dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  return driver == nullptr ? nullptr : reinterpret_cast<Signature*>(::dlsym(driver, name));
}

// Makes the device current on this thread until pop_device(): for the runtime, whose context of the
// device this is, and for the driver. Scopes nest. cudaSetDevice must not be called within one: it
// would last longer.
void push_device(int device);
void pop_device() noexcept;

// Whether the process has a context on the device.
bool is_in_use(int device);

}  // namespace aotiny::cuda
