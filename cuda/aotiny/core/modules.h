// Modules that compiled models load and never unload.
//
// Models of torch before 2.13 forget the modules that their kernels are in, which would stay in the
// device's memory until the process ends. Their references to cuModuleLoadData are renamed, when
// they are opened, to aotinyModuleLoad (which is as long), and what that loads is listed for the
// one who runs the model.
#pragma once

#include <vector>

#include "aotiny/abi/aoti_torch.h"

namespace aotiny::cuda {

// Makes this thread's modules go into a list, or nowhere (null); returns the one before.
std::vector<void*>* collect_modules(std::vector<void*>* modules) noexcept;

// Whether this thread has a list, as it does while it runs a model.
bool collects_modules() noexcept;

// On the device that they were loaded on, which is current.
void unload_modules(const std::vector<void*>& modules) noexcept;

}  // namespace aotiny::cuda

extern "C" {

// cuModuleLoadData, with its arguments and results.
AOTINY_API int aotinyModuleLoad(void** module, const void* image);
}
