#include "aotiny/core/modules.h"

#include <utility>

#include "aotiny/core/driver.h"
#include "aotiny/core/guard.h"

namespace aotiny::cuda {
namespace {

constexpr int kNotFound = 500;  // CUDA_ERROR_NOT_FOUND

thread_local std::vector<void*>* t_modules = nullptr;

}  // namespace

std::vector<void*>* collect_modules(std::vector<void*>* modules) noexcept {
  return std::exchange(t_modules, modules);
}

bool collects_modules() noexcept { return t_modules != nullptr; }

void unload_modules(const std::vector<void*>& modules) noexcept {
  const auto unload = driver_function<int(void*)>("cuModuleUnload");
  if (unload == nullptr) return;
  const OutsideCapture outside;
  for (void* module : modules) (void)unload(module);
}

}  // namespace aotiny::cuda

int aotinyModuleLoad(void** module, const void* image) {
  using namespace aotiny::cuda;
  const auto load = driver_function<int(void**, const void*)>("cuModuleLoadData");
  if (load == nullptr) return kNotFound;
  const OutsideCapture outside;
  const int code = load(module, image);
  if (code != 0 || t_modules == nullptr) return code;
  try {
    t_modules->push_back(*module);
  } catch (...) {  // it stays loaded
  }
  return code;
}
