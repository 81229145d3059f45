// aotiny.Model, inspect and load_library.
#include "aotiny/runtime/model.h"

#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>

#include <algorithm>

#include "aotiny/runtime/inputs.h"
#include "aotiny/runtime/inspect.h"
#include "dlpack.h"

namespace aotiny::bindings {
namespace {

py::object from_json(const std::string& text) {
  return py::module_::import("json").attr("loads")(text);
}

std::unique_ptr<Model> load(const std::filesystem::path& path, const std::string& device,
                            int64_t num_models, const std::string& name, bool cuda_graph) {
  const py::gil_scoped_release released;
  return std::make_unique<Model>(path.string(),
                                 ModelOptions{parse_device(device), num_models, name, cuda_graph});
}

// Read-only memory is not written to: what the exporter describes does not write to its inputs, and
// other code gets a copy. Outputs that share it are read-only too.
py::tuple run(Model& model, const py::args& args) {
  std::vector<Tensor> inputs;
  inputs.reserve(args.size());
  std::vector<const Storage*> readonly;
  for (size_t i = 0; i < args.size(); ++i) {
    const std::string what = "input " + std::to_string(i);
    PyTensor input = import_object(args[i], what.c_str(), std::nullopt);
    if (input.readonly && !model.manifest()) input = {input.tensor.clone(), false};
    if (input.readonly) readonly.push_back(input.tensor.storage().get());
    inputs.push_back(std::move(input.tensor));
  }
  std::vector<Tensor> outputs;
  {
    const py::gil_scoped_release released;
    outputs = model.run(inputs);
  }
  py::tuple results(outputs.size());
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (!outputs[i].defined()) {
      results[i] = py::none();
      continue;
    }
    const bool shares = std::ranges::count(readonly, outputs[i].storage().get()) != 0;
    results[i] = py::cast(PyTensor{std::move(outputs[i]), shares});
  }
  return results;
}

// As Python spells file names: bytes that are no UTF-8 become surrogates.
py::str path(const Model& model) {
  PyObject* text = PyUnicode_DecodeFSDefault(model.path().c_str());
  if (text == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::str>(text);
}

// The manifest's list under `key`, or None where there is no manifest.
py::object section(const Model& model, const char* key) {
  if (!model.manifest_text()) return py::none();
  return from_json(*model.manifest_text())[key];
}

py::list constants(const Model& model) {
  py::list result;
  for (const Container::Constant& constant : model.constants()) {
    py::dict item;
    item["name"] = constant.name;
    item["fqn"] = constant.fqn;
    item["dtype"] = dtype_name(dtype_from_code(constant.dtype));
    item["nbytes"] = constant.nbytes;
    item["folded"] = constant.folded;
    result.append(item);
  }
  return result;
}

}  // namespace

void register_model(py::module_& module) {
  py::class_<Model>(module, "Model",
                    "A model from a .pt2 package. Calling it with its inputs (aotiny.Tensor, numpy "
                    "arrays, objects with __dlpack__) returns a tuple of aotiny.Tensor; an output "
                    "that the model leaves out is None. Failures are aotiny.Error.")
      .def(py::init(&load), py::arg("path"), py::arg("device") = "cpu", py::arg("num_models") = 1,
           py::arg("name") = "", py::arg("cuda_graph") = false,
           "Loads the package; device is \"cpu\", \"cuda\" or \"cuda:N\", num_models is how many "
           "threads can run it at the same time, name picks one of several models. With "
           "cuda_graph the second and later calls with inputs of the same shapes replay a "
           "recording of the first.")
      .def("__call__", &run)
      .def("instance", &Model::instance, py::call_guard<py::gil_scoped_release>(),
           "Another Model of the same code and weights, as if just loaded: the buffers that calls "
           "change, such as a KV cache, are its own, and another thread can run it meanwhile.")
      .def_property_readonly(
          "device", [](const Model& model) { return to_string(model.device()); },
          "\"cpu\" or \"cuda:N\".")
      .def_property_readonly("cuda_graph", &Model::uses_cuda_graph)
      .def_property_readonly("path", &path)
      .def_property_readonly("num_inputs", &Model::num_inputs)
      .def_property_readonly("num_outputs", &Model::num_outputs)
      .def_property_readonly(
          "inputs", [](const Model& model) { return section(model, "inputs"); },
          "What the manifest says of the inputs; None without a manifest.")
      .def_property_readonly(
          "outputs", [](const Model& model) { return section(model, "outputs"); },
          "What the manifest says of the outputs; None without a manifest.")
      .def_property_readonly("constants", &constants,
                             "name, fqn, dtype, nbytes and folded of every constant in the code.")
      .def_property_readonly(
          "manifest",
          [](const Model& model) {
            return model.manifest_text() ? from_json(*model.manifest_text()) : py::none();
          },
          "The package's manifest as a dict; None if it has none.")
      .def_property_readonly("metadata", &Model::metadata,
                             "AOTI_PLATFORM, AOTI_MACHINE, AOTI_CPU_ISA, AOTI_DEVICE_KEY, ...")
      .def_property_readonly(
          "missing_symbols", [](const Model&) { return std::vector<std::string>(); },
          "Always empty: a model with missing symbols is not loaded. See aotiny.inspect.")
      .def("__repr__", [](const Model& model) {
        return py::str("<aotiny.Model {}: {} inputs, {} outputs>")
            .format(path(model), model.num_inputs(), model.num_outputs());
      });

  module.def(
      "inspect",
      [](const std::filesystem::path& path) {
        std::string text;
        {
          const py::gil_scoped_release released;
          text = inspect_package(path.string());
        }
        return from_json(text);
      },
      py::arg("path"),
      "What a package holds and needs, found without running its code: inputs, outputs, constants, "
      "compile_options (None without a manifest), models (by name: sizes, metadata, "
      "required_symbols, missing_symbols, proxy_operators) and entries.");
  module.def(
      "load_library",
      [](const std::filesystem::path& path) {
        const py::gil_scoped_release released;
        load_library(path.string());
      },
      py::arg("path"),
      "Opens a shared library with the C shims of custom operators, for the models that are loaded "
      "later. It stays open.");
}

}  // namespace aotiny::bindings
