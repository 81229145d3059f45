// aotiny.quantize, matmul and the weight types.
#include <cstring>
#include <optional>
#include <sstream>

#include <pybind11/stl.h>

#include "aotiny/quant/minmax.h"
#include "aotiny/shims/plain_mm.h"
#include "dlpack.h"

namespace aotiny::bindings {
namespace {

// The Python object of a weight's own type.
py::object typed(Weight weight) {
  if (weight.info().name == std::string_view(Int8::kName)) {
    return py::cast(Int8(std::move(weight)));
  }
  if (weight.info().name == std::string_view(ExactInt4::kName)) {
    return py::cast(ExactInt4(std::move(weight)));
  }
  return py::cast(CoalescedInt4(std::move(weight)));
}

// "int4", "exact_int4" and "int8" are the formats that quantize makes.
FormatId parse_format(const std::string& format, const std::optional<std::string>& metadata) {
  if (format == "int4") return find_format(CoalescedInt4::kName, metadata.value_or("B"));
  if (format == "exact_int4") return find_format(ExactInt4::kName, metadata.value_or(""));
  if (format == "int8") return find_format(Int8::kName, metadata.value_or(""));
  fail(Status::InvalidArgument, "quantize: format \"", format,
       "\" is not \"int4\", \"exact_int4\" or \"int8\"");
}

py::object quantize(const py::object& array, const std::string& format, int64_t group_size,
                    const std::string& method, const std::optional<std::string>& metadata) {
  const FormatId id = parse_format(format, metadata);
  require(method == "minmax", Status::InvalidArgument, "quantize: method \"", method,
          "\" is not \"minmax\"");
  const Tensor values = to_tensor(array, "quantize");
  const auto run = [&] {
    py::gil_scoped_release unlocked;
    return quantize_minmax(values, id, group_size);
  };
  return typed(run());
}

py::object matmul(const py::object& x, const Weight& weight, const py::object& bias,
                  const py::object& out) {
  const Tensor activations = to_tensor(x, "matmul: x");
  const Tensor bias_tensor = bias.is_none() ? Tensor() : to_tensor(bias, "matmul: bias");
  PyTensor out_tensor;
  if (!out.is_none()) {
    out_tensor = import_object(out, "matmul: out", false);
    require(!out_tensor.readonly, Status::InvalidArgument, "matmul: out is read-only");
  }
  const auto run = [&] {
    py::gil_scoped_release unlocked;
    return plain_mm(activations, weight, bias.is_none() ? nullptr : &bias_tensor,
                    out.is_none() ? nullptr : &out_tensor.tensor);
  };
  Tensor result = run();
  return out.is_none() ? to_python(std::move(result)) : out;
}

py::dict tensors(const Weight& weight) {
  py::dict result;
  for (size_t i = 0; i < weight.planes().size(); ++i) {
    result[weight.info().planes[i].name] = py::cast(PyTensor{weight.planes()[i], true});
  }
  return result;
}

// The format of this name whose planes are the ones given.
FormatId format_of_planes(std::string_view name, const py::kwargs& planes) {
  for (int i = 0; i < Formats::kCount; ++i) {
    const FormatInfo& info = format_info(FormatId{i});
    bool matches = info.name == name && planes.size() == info.planes.size();
    for (const PlaneSpec& spec : info.planes) matches = matches && planes.contains(spec.name);
    if (matches) return FormatId{i};
  }
  std::ostringstream names;
  for (const auto& item : planes) names << ' ' << py::cast<std::string>(item.first);
  fail(Status::InvalidArgument, name, " has no metadata with the tensors", names.str());
}

template <class Typed>
Typed from_tensors(int64_t group_size, const py::kwargs& named) {
  const FormatId format = format_of_planes(Typed::kName, named);
  std::vector<Tensor> planes;
  for (const PlaneSpec& spec : format_info(format).planes) {
    planes.push_back(to_tensor(named[spec.name], spec.name).contiguous());
  }
  return Typed(Weight(format, std::move(planes), group_size));
}

py::tuple get_state(const Weight& weight) {
  py::list planes;
  for (const Tensor& plane : weight.planes()) {
    planes.append(py::bytes(static_cast<const char*>(plane.raw_data()),
                            static_cast<size_t>(plane.numel()) * plane.itemsize()));
  }
  return py::make_tuple(weight.info().name, weight.info().metadata, weight.n(), weight.k(),
                        weight.group_size(), planes);
}

template <class Typed>
Typed set_state(const py::tuple& state) {
  require(state.size() == 6, Status::InvalidArgument, Typed::kName, ": a pickle of ", state.size(),
          " parts, not 6");
  Weight weight = Weight::empty(
      find_format(py::cast<std::string>(state[0]), py::cast<std::string>(state[1])),
      py::cast<int64_t>(state[2]), py::cast<int64_t>(state[3]), py::cast<int64_t>(state[4]));
  const auto planes = py::cast<py::list>(state[5]);
  require(planes.size() == weight.planes().size(), Status::InvalidArgument, Typed::kName,
          ": a pickle of ", planes.size(), " tensors, not ", weight.planes().size());
  for (size_t i = 0; i < planes.size(); ++i) {
    const auto bytes = py::cast<std::string_view>(planes[i]);
    const Tensor& plane = weight.planes()[i];
    const size_t nbytes = static_cast<size_t>(plane.numel()) * plane.itemsize();
    require(bytes.size() == nbytes, Status::InvalidArgument, Typed::kName, ": ",
            weight.info().planes[i].name, " has ", bytes.size(), " bytes in the pickle, not ",
            nbytes);
    std::memcpy(plane.raw_data(), bytes.data(), nbytes);
  }
  return Typed(std::move(weight));
}

std::string repr(const Weight& weight) {
  std::ostringstream text;
  text << "aotiny." << weight.info().name << "(shape=[" << weight.n() << ", " << weight.k()
       << "], group_size=" << weight.group_size();
  if (*weight.info().metadata != '\0') text << ", metadata='" << weight.info().metadata << "'";
  text.precision(4);
  text << ", " << weight.bits_per_weight() << " bits a weight)";
  return text.str();
}

template <class Typed>
void register_weight(py::module_& module, const char* doc) {
  py::class_<Typed, Weight>(module, Typed::kName, doc)
      .def_static("from_tensors", &from_tensors<Typed>, py::kw_only(), py::arg("group_size"),
                  "A weight of existing tensors, named as tensors() names them; contiguous ones "
                  "are shared, not copied.")
      .def(py::pickle([](const Typed& weight) { return get_state(weight); }, &set_state<Typed>));
}

}  // namespace

void register_quant(py::module_& module) {
  py::class_<Weight>(module, "Weight", "A quantized weight [N, K] of some format. Immutable.")
      .def_property_readonly("shape", [](const Weight& w) { return py::make_tuple(w.n(), w.k()); })
      .def_property_readonly("group_size", &Weight::group_size)
      .def_property_readonly(
          "metadata", [](const Weight& w) { return w.info().metadata; },
          "The kind of metadata, such as 'A'; '' if the format has one kind.")
      .def_property_readonly("device", [](const Weight& w) { return to_string(w.device()); })
      .def_property_readonly("nbytes", &Weight::nbytes, "Of codes and metadata together.")
      .def_property_readonly("bits_per_weight", &Weight::bits_per_weight, "Metadata included.")
      .def("tensors", &tensors, "The packed tensors by name, read-only, sharing their memory.")
      .def(
          "dequantize",
          [](const Weight& weight) {
            const auto run = [&] {
              py::gil_scoped_release unlocked;
              return weight.dequantize();
            };
            return to_python(run());
          },
          "The values, float32 [N, K].")
      .def(
          "__eq__", [](const Weight& a, const Weight& b) { return a == b; }, py::is_operator())
      .def("__repr__", &repr);
  register_weight<CoalescedInt4>(
      module,
      "4-bit codes: qdata uint8 [N, K/2], low nibble = even k; value (q - zero)·scale.\n\n"
      "Metadata 'A': scale, zero bfloat16 [N, K/g]. 'B': scale, zero uint8 [N, K/g], as multiples\n"
      "of steps bfloat16 [N, 2]. 'C': as multiples of scale_step, zero_point_step float16\n"
      "[N, K/256].");
  register_weight<ExactInt4>(
      module,
      "4-bit codes with a minimum: qdata uint8 [N, K/2], low nibble = even k; scale, min uint8\n"
      "[N, K/32]; d, dmin float16 [N, K/256]; value q·scale·d - min·dmin. Holds GGUF's Q4_K\n"
      "without loss.");
  register_weight<Int8>(
      module,
      "8-bit codes: qdata int8 [N, K], scale bfloat16 and zero int8 [N, K/g]; value\n"
      "(q - zero)·scale.");
  module.def(
      "quantize", &quantize, py::arg("array"), py::arg("format"), py::arg("group_size") = 32,
      py::arg("method") = "minmax", py::arg("metadata") = py::none(),
      "Quantizes a weight.\n\n"
      "Args:\n"
      "    array: [N, K], float32, float16 or bfloat16, any strides, finite\n"
      "    format: 'int4' (CoalescedInt4), 'exact_int4' (ExactInt4; group size 32, K a\n"
      "        multiple of 256) or 'int8' (Int8)\n"
      "    group_size: values along K that share scale and zero: a multiple of 32 that\n"
      "        divides K\n"
      "    method: 'minmax', codes span each group's range\n"
      "    metadata: for 'int4', 'B' (the default: scales and zeros as uint8 codes with a row's\n"
      "        steps), 'A' (bfloat16, twice the size, for rows whose groups differ by orders\n"
      "        of magnitude) or 'C' (codes with steps for every 256 weights; K a multiple\n"
      "        of 256)\n\n"
      "Raises aotiny.Error for NaN or infinity (with the first one's place), empty arrays,\n"
      "and shapes and group sizes that do not fit.");
  module.def(
      "matmul", &matmul, py::arg("x"), py::arg("w"), py::arg("bias") = py::none(),
      py::arg("out") = py::none(),
      "x @ W.T + bias with activations quantized to int8 in blocks of 32 along K.\n\n"
      "Args:\n"
      "    x: [..., K], float32, float16 or bfloat16, any strides\n"
      "    w: a weight [N, K]; another type is a TypeError\n"
      "    bias: [N], or None\n"
      "    out: contiguous [..., N] of x's dtype to write to, or None\n\n"
      "Returns [..., N] in x's dtype: `out` if given, otherwise a Tensor. A block of x with\n"
      "a NaN or an infinity makes its row NaN. A row's result does not depend on the other\n"
      "rows. Raises aotiny.Error, with the numbers, for what does not fit.");
}

}  // namespace aotiny::bindings
