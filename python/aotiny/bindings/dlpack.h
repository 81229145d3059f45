// The capsules of the DLPack protocol, and the buffer protocol, around core/dlpack.h.
#pragma once

#include <optional>

#include "bindings.h"

namespace aotiny::bindings {

// The dtype of this name; fails with InvalidType if there is none.
DType parse_dtype(const std::string& name);

// What Python sees: the tensor, and whether its memory may be written.
struct PyTensor {
  Tensor tensor;
  bool readonly = false;
};

// Tensor.__dlpack__, with the meaning the array API standard gives the arguments: a consumer's CUDA
// stream waits for the current one, and dl_device may be the CPU for a tensor elsewhere. Raises
// BufferError for what cannot be exported so.
py::object export_capsule(const PyTensor& self, const py::object& stream,
                          const py::object& max_version, const py::object& dl_device,
                          const py::object& copy);

// (device type, device id) of Tensor.__dlpack_device__.
py::tuple dlpack_device(const PyTensor& self);

// Views what an object offers through __dlpack__ or, failing that, the buffer protocol. A producer
// of CUDA memory is told the current stream of its device, which then waits for it. `copy`: None
// copies only where it has to, True always, False never (BufferError instead).
PyTensor import_object(py::handle object, const char* what, std::optional<bool> copy);

// The buffer of a tensor; raises BufferError for a dtype that the struct module cannot name.
py::buffer_info buffer_info(const PyTensor& self);

}  // namespace aotiny::bindings
