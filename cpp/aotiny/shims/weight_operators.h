// The bodies of weight_matmul, weight_bmm and weight_embedding, which a library for each type of
// device exports under names of its own: one operator for every format.
#pragma once

#include "aotiny/shims/handle.h"

namespace aotiny {

// A weight as a model passes it: its planes in the format's order, with the names of format and
// variant.
struct WeightArguments {
  const AtenTensorHandle* planes;
  int64_t num_planes;
  const char* format;
  const char* variant;
  int64_t group_size;
};

// What the C functions return, for tensors on devices of this type. A tensor elsewhere is
// InvalidArgument, with its name and both places.
AOTITorchError weight_matmul(DeviceType type, AtenTensorHandle x, const WeightArguments& weight,
                             AtenTensorHandle* bias, AtenTensorHandle* ret0);
AOTITorchError weight_bmm(DeviceType type, AtenTensorHandle x, const WeightArguments& weight,
                          AtenTensorHandle* ret0);
AOTITorchError weight_embedding(DeviceType type, AtenTensorHandle indices,
                                const WeightArguments& weight, int32_t dtype,
                                AtenTensorHandle* ret0);

}  // namespace aotiny
