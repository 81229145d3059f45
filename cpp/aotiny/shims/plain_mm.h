// int4_plain_mm, exact_int4_plain_mm, exact_int5_plain_mm, int6_plain_mm, int8_plain_mm: products
// with quantized weights and activations, once for every device type.
//
// Arguments and results are those of the C functions in abi/aoti_torch.h, which pass the device
// type that they serve; a tensor on another is InvalidArgument, with both. Every function looks at
// the dtypes of its tensors before anything else, and at no tensor after the first that does not
// fit: so another format's weight is InvalidType.
#pragma once

#include "aotiny/abi/aoti_torch.h"
#include "aotiny/core/device.h"

namespace aotiny {

AOTITorchError int4_plain_mm(DeviceType served, AtenTensorHandle self, AtenTensorHandle qdata,
                             AtenTensorHandle scale, AtenTensorHandle fourth, intptr_t fifth,
                             intptr_t sixth, intptr_t seventh, intptr_t eighth);
AOTITorchError exact_int4_plain_mm(DeviceType served, AtenTensorHandle self, AtenTensorHandle qdata,
                                   AtenTensorHandle scale, AtenTensorHandle min, AtenTensorHandle d,
                                   AtenTensorHandle dmin, int64_t group_size,
                                   AtenTensorHandle* ret0);
AOTITorchError exact_int5_plain_mm(DeviceType served, AtenTensorHandle self, AtenTensorHandle ql,
                                   AtenTensorHandle qh, AtenTensorHandle scale,
                                   AtenTensorHandle min, AtenTensorHandle d, AtenTensorHandle dmin,
                                   int64_t group_size, AtenTensorHandle* ret0);
AOTITorchError int6_plain_mm(DeviceType served, AtenTensorHandle self, AtenTensorHandle ql,
                             AtenTensorHandle qh, AtenTensorHandle scale, intptr_t fifth,
                             intptr_t sixth, intptr_t seventh);
AOTITorchError int8_plain_mm(DeviceType served, AtenTensorHandle self, AtenTensorHandle qdata,
                             AtenTensorHandle scale, AtenTensorHandle zero, int64_t group_size,
                             AtenTensorHandle* ret0);

}  // namespace aotiny
