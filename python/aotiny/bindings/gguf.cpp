// GGUF's blocks as weights.
#include "aotiny/quant/gguf.h"

#include <pybind11/stl.h>

#include "weight.h"

namespace aotiny::bindings {
namespace {

py::object import_gguf(const py::object& blocks, const std::string& type,
                       const std::vector<int64_t>& shape) {
  const GgufType& found = find_gguf_type(type);
  const Tensor bytes = to_tensor(blocks, "import_gguf");
  require(bytes.dtype() == DType::UInt8, Status::InvalidType, "import_gguf: blocks have dtype ",
          bytes.dtype(), ", not uint8");
  require(bytes.device() == kCPU, Status::NotImplemented, "import_gguf: blocks are on ",
          bytes.device(), ", and are imported on the CPU: .to(\"cpu\") copies them there");
  const auto run = [&] {
    py::gil_scoped_release unlocked;
    const Tensor dense = bytes.contiguous();
    return aotiny::import_gguf(found, {dense.data<uint8_t>(), static_cast<size_t>(dense.numel())},
                               shape);
  };
  return typed(run());
}

py::object read_gguf(int file, int64_t offset, const std::string& type,
                     const std::vector<int64_t>& shape) {
  const GgufType& found = find_gguf_type(type);
  const auto run = [&] {
    py::gil_scoped_release unlocked;
    return aotiny::read_gguf(found, file, offset, shape);
  };
  return typed(run());
}

py::dict gguf_types() {
  py::dict result;
  for (const GgufType& type : aotiny::gguf_types()) {
    const FormatInfo& format = format_info(type.format);
    result[type.name] = py::make_tuple(format.name, format.variant, type.group_size);
  }
  return result;
}

}  // namespace

void register_gguf(py::module_& module) {
  module.def("import_gguf", &import_gguf, py::arg("blocks"), py::arg("type"), py::arg("shape"),
             "The weight with these GGUF blocks, value for value.\n\n"
             "Args:\n"
             "    blocks: uint8 of any shape, row by row, as gguf.quantize returns them\n"
             "    type: 'Q4_0', 'Q8_0' or another of gguf_types()\n"
             "    shape: (N, K), or (B, N, K) of a stack\n\n"
             "Raises aotiny.Error, with the numbers, where bytes and shape do not fit each\n"
             "other and where a scale is NaN or infinite.");
  module.def("read_gguf", &read_gguf, py::arg("file"), py::arg("offset"), py::arg("type"),
             py::arg("shape"),
             "The same with blocks that begin at an offset, in bytes, of an open file, given by\n"
             "its descriptor. They are read piece by piece, without moving its position.");
  module.def("gguf_types", &gguf_types,
             "The GGUF types that become weights: name -> (type, variant, group size).");
}

}  // namespace aotiny::bindings
