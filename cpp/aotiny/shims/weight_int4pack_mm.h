// The body of torch's GPU op on its tile-packed 4-bit weights, which a library for each type of
// device exports under a name of its own.
#pragma once

#include "aotiny/shims/handle.h"

namespace aotiny {

// What the C functions return, for tensors on devices of this type.
AOTITorchError weight_int4pack_mm(DeviceType type, AtenTensorHandle self, AtenTensorHandle mat2,
                                  int64_t group_size, AtenTensorHandle scales_and_zeros,
                                  AtenTensorHandle* ret0);

}  // namespace aotiny
