// The thread's gradient mode. Nothing here computes gradients, but models save, clear and restore
// the mode around a run, so it must read back what was set.
#include "aotiny/abi/aoti_torch.h"

namespace {

thread_local bool t_grad_mode = true;

}  // namespace

bool aoti_torch_grad_mode_is_enabled() { return t_grad_mode; }

void aoti_torch_grad_mode_set_enabled(bool enabled) { t_grad_mode = enabled; }
