// What the files of the Python extension share. Each registers one concept and holds no logic of
// its own; module.cpp calls them in turn.
#pragma once

#include <pybind11/pybind11.h>

#include "aotiny/core/tensor.h"

namespace aotiny::bindings {

namespace py = pybind11;

void register_error(py::module_& module);     // aotiny.Error
void register_tensor(py::module_& module);    // aotiny.Tensor, DLPack, allocator statistics
void register_threads(py::module_& module);   // set_num_threads, get_num_threads
void register_cuda(py::module_& module);      // what aotiny.cuda is made of
void register_model(py::module_& module);     // aotiny.Model, inspect
void register_weight(py::module_& module);    // Weight and its types
void register_quantize(py::module_& module);  // quantize, convert
void register_planes(py::module_& module);    // weights by format, variant and planes
void register_matmul(py::module_& module);    // matmul, bmm, embedding and typed products
void register_gguf(py::module_& module);      // import_gguf, read_gguf

// A tensor that views a Python object's memory: an aotiny.Tensor, a numpy array or another object
// with __dlpack__. The memory lives as long as the tensor does. Fails with a TypeError for an
// object that offers neither, naming `what`.
Tensor to_tensor(py::handle object, const char* what);

// The Python object for a tensor (aotiny.Tensor, sharing its storage).
py::object to_python(Tensor tensor);

}  // namespace aotiny::bindings
