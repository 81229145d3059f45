// How libaotiny opens this library.
#pragma once

#include "aotiny/abi/aoti_torch.h"
#include "aotiny/core/device_interface.h"

extern "C" {

// Hands out the one interface of this process, and 0. Otherwise the code of the failure, with the
// sentence as the thread's last error: a libaotiny of another version than `version`, no driver, a
// driver that is too old, no GPU.
AOTINY_API int32_t aotiny_cuda_open(const char* version, aotiny::DeviceInterface** ret_interface);
}
