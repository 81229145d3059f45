// What a model says about itself: failed checks and warnings.
#include <stdexcept>

#include "aotiny/shims/handle.h"

void aoti_torch_check(bool cond, const char* /*func*/, const char* /*file*/, uint32_t /*line*/,
                      const char* msg) {
  if (!cond) throw std::runtime_error(msg != nullptr ? msg : "a check of the model failed");
}

void aoti_torch_warn(const char* /*func*/, const char* /*file*/, uint32_t /*line*/,
                     const char* msg) {
  aotiny::set_last_warning(msg != nullptr ? msg : "");
}
