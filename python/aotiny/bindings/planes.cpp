// Weights by the names of their format and variant: what torch operators and tensors carry.
#include <pybind11/stl.h>

#include "weight.h"

namespace aotiny::bindings {
namespace {

std::vector<std::string> plane_names(const std::string& format, const std::string& variant) {
  std::vector<std::string> names;
  for (const PlaneSpec& spec : format_info(find_format(format, variant)).planes) {
    names.emplace_back(spec.name);
  }
  return names;
}

py::object weight_of_planes(const std::string& format, const std::string& variant,
                            const py::sequence& planes, int64_t group_size, bool readonly) {
  const FormatId id = find_format(format, variant);
  std::vector<Tensor> tensors;
  for (const py::handle plane : planes) tensors.push_back(to_tensor(plane, "a plane"));
  return typed(Weight(id, std::move(tensors), group_size, readonly));
}

using PlaneDescription = std::tuple<std::string, std::vector<int64_t>, std::vector<int64_t>>;

// The checks of Weight itself, on tensors without memory of their own: nothing reads them.
std::vector<int64_t> shape_of_planes(const std::string& format, const std::string& variant,
                                     const std::vector<PlaneDescription>& planes,
                                     int64_t group_size) {
  const FormatId id = find_format(format, variant);
  alignas(16) char nothing = 0;
  std::vector<Tensor> tensors;
  for (const auto& [dtype_text, sizes, strides] : planes) {
    const auto dtype = dtype_from_name(dtype_text);
    require(dtype.has_value(), Status::InvalidType, format, ": a plane has dtype ", dtype_text);
    require(sizes.size() == strides.size(), Status::InvalidArgument, format, ": a plane has ",
            sizes.size(), " sizes and ", strides.size(), " strides");
    tensors.push_back(Tensor::from_blob(&nothing, sizes, strides, 0, *dtype));
  }
  return Weight(id, std::move(tensors), group_size).sizes();
}

}  // namespace

void register_planes(py::module_& module) {
  module.def("plane_names", &plane_names, py::arg("format"), py::arg("variant"),
             "The names of a format's planes, in their order.");
  module.def("weight_of_planes", &weight_of_planes, py::arg("format"), py::arg("variant"),
             py::arg("planes"), py::arg("group_size"), py::arg("readonly") = false,
             "A weight that shares these planes, given in the format's order; `readonly` if their\n"
             "memory must not be written to, which tensors of torch do not say.");
  module.def("shape_of_planes", &shape_of_planes, py::arg("format"), py::arg("variant"),
             py::arg("planes"), py::arg("group_size"),
             "The shape of the weight that planes of such (dtype, sizes, strides) make; raises\n"
             "what weight_of_planes would.");
}

}  // namespace aotiny::bindings
