// Checks the inputs of a model against what its manifest says of them.
//
// Compiled code checks nothing: a wrong shape reads foreign memory, and an index out of range ends
// the process.
#pragma once

#include <iosfwd>
#include <span>
#include <string>
#include <vector>

#include "aotiny/core/tensor.h"
#include "aotiny/runtime/manifest.h"

namespace aotiny {

// The inputs as compiled code assumes them, which is contiguous or with the strides of their specs:
// themselves where they are, otherwise copies. Fails with InvalidArgument or, for a wrong dtype,
// InvalidType, naming the input and the numbers. `model` is for messages, `device` where it runs.
//
// The range of an input on a device is found there, which waits for the stream. While that is being
// captured into a graph there are no values to look at, and none are checked.
std::vector<Tensor> prepare_inputs(std::span<const TensorSpec> specs,
                                   std::span<const Tensor> inputs, const std::string& model,
                                   Device device);

// Fails unless a tensor is on the device that an input, called `name`, is taken from.
void check_device(const Tensor& input, const std::string& name, Device device,
                  const std::string& model);

// The shape that an input takes, for messages: "[batch (1..256), seq (1..512), 384]". Only a
// failure pays for the text.
struct Dims {
  std::span<const Dim> shape;
};
std::ostream& operator<<(std::ostream& out, Dims dims);

}  // namespace aotiny
