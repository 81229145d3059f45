// Tensors of libraries that offer DLPack as C functions.
#pragma once

#include <optional>

#include "dlpack.h"

namespace aotiny::bindings {

// A view of a torch tensor on the CPU, in a fraction of the time that its __dlpack__, which is
// written in Python, takes. nullopt for what only __dlpack__ can give, or refuse: other libraries'
// objects, subclasses, tensors on a device, which have a stream to wait for, and those that DLPack
// cannot describe. Raises BufferError for a tensor whose memory holds its negative, which DLPack,
// and torch's __dlpack__, would not tell.
std::optional<PyTensor> import_by_exchange(py::handle object, const char* what);

}  // namespace aotiny::bindings
