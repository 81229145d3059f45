#include "bindings.h"

PYBIND11_MODULE(_core, module) {
  module.doc() = "The native part of aotiny";
  aotiny::bindings::register_error(module);
  aotiny::bindings::register_tensor(module);
  aotiny::bindings::register_threads(module);
  aotiny::bindings::register_cuda(module);
  aotiny::bindings::register_model(module);
  aotiny::bindings::register_weight(module);
  aotiny::bindings::register_quantize(module);
  aotiny::bindings::register_planes(module);
  aotiny::bindings::register_matmul(module);
  aotiny::bindings::register_gguf(module);
}
