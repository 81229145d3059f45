// aotiny.Tensor and the functions that make one.
#include <pybind11/stl.h>

#include <cmath>

#include "aotiny/core/allocator.h"
#include "dlpack.h"

namespace aotiny::bindings {
namespace {

using Ints = std::vector<int64_t>;

py::tuple to_tuple(IntSpan values) {
  py::tuple tuple(values.size());
  for (size_t i = 0; i < values.size(); ++i) tuple[i] = values[i];
  return tuple;
}

PyTensor like(const PyTensor& self, Tensor tensor) { return {std::move(tensor), self.readonly}; }

// A view by integers, slices and Ellipsis, as numpy's basic indexing.
PyTensor get_item(const PyTensor& self, const py::object& key) {
  const py::tuple keys =
      py::isinstance<py::tuple>(key) ? py::cast<py::tuple>(key) : py::make_tuple(key);
  int64_t num_indexed = 0;
  int num_ellipses = 0;
  for (const py::handle item : keys) {
    py::isinstance<py::ellipsis>(item) ? num_ellipses += 1 : num_indexed += 1;
  }
  require(num_indexed <= self.tensor.ndim() && num_ellipses <= 1, Status::InvalidArgument,
          num_indexed, " indices and ", num_ellipses, " ellipses for a tensor of ",
          self.tensor.ndim(), " dimensions");
  Tensor view = self.tensor;
  int64_t dim = 0;
  for (const py::handle item : keys) {
    if (py::isinstance<py::ellipsis>(item)) {
      dim += self.tensor.ndim() - num_indexed;
    } else if (py::isinstance<py::slice>(item)) {
      const auto bound = [&item](const char* name) {
        return py::cast<std::optional<int64_t>>(item.attr(name));
      };
      view = view.slice(dim, bound("start"), bound("stop"), bound("step").value_or(1));
      ++dim;
    } else if (PyIndex_Check(item.ptr())) {
      const auto index = py::cast<int64_t>(py::module_::import("operator").attr("index")(item));
      const int64_t size = view.size(dim);
      if (index < -size || index >= size) {  // what Python's iteration protocol ends on
        throw py::index_error("index " + std::to_string(index) + " is outside dimension of size " +
                              std::to_string(size));
      }
      view = view.select(dim, index);
    } else {
      throw py::type_error("a tensor is indexed by integers, slices and ...");
    }
  }
  return like(self, view);
}

py::object item(const PyTensor& self) {
  require(self.tensor.numel() == 1, Status::InvalidArgument, "item: the tensor is ", self.tensor,
          ", not one element");
  const Tensor tensor = self.tensor.to(kCPU);
  return visit_dtype(tensor.dtype(), "item", [&](auto tag) -> py::object {
    using T = typename decltype(tag)::type;
    const T value = *static_cast<const T*>(tensor.raw_data());
    if constexpr (kIsFloat16<T>) {
      return py::float_(static_cast<float>(value));
    } else {
      return py::cast(value);
    }
  });
}

py::object to_list(const PyTensor& self) {
  if (self.tensor.device() != kCPU) return to_list({self.tensor.to(kCPU), true});
  if (self.tensor.ndim() == 0) return item(self);
  py::list list;
  for (int64_t i = 0; i < self.tensor.size(0); ++i) {
    list.append(to_list(like(self, self.tensor.select(0, i))));
  }
  return list;
}

py::object to_numpy(const py::object& self) {
  const auto& tensor = py::cast<const PyTensor&>(self).tensor;
  if (tensor.dtype() == DType::BFloat16) {
    throw py::type_error(
        "numpy has no bfloat16: convert with .to(\"float32\"), or use torch.from_dlpack");
  }
  return py::module_::import("numpy").attr("asarray")(py::memoryview(self));
}

// numpy calls this for asarray() and array(); `copy` is None, True or False.
py::object to_array(const py::object& self, const py::object& dtype, const py::object& copy) {
  const py::object array = to_numpy(self);
  const bool converts =
      !dtype.is_none() &&
      !py::object(array.attr("dtype")).equal(py::module_::import("numpy").attr("dtype")(dtype));
  if (!copy.is_none() && !py::cast<bool>(copy)) {
    if (converts) throw py::value_error("a change of dtype needs a copy");
    return array;
  }
  if (converts) return array.attr("astype")(dtype);
  return copy.is_none() ? array : array.attr("copy")();
}

PyTensor writable(PyTensor self) {
  require(!self.readonly, Status::InvalidArgument, "the tensor is read-only");
  return self;
}

bool names_device(const std::string& name) {
  return name == "cpu" || name == "cuda" || name.starts_with("cuda:");
}

std::string repr(const PyTensor& self) {
  std::ostringstream text;
  text << "aotiny.Tensor(shape=" << Shape{self.tensor.sizes()} << ", dtype=" << self.tensor.dtype()
       << ", device=" << self.tensor.device();
  if (!self.tensor.is_contiguous()) text << ", strides=" << Shape{self.tensor.strides()};
  if (self.readonly) text << ", readonly";
  text << ')';
  return text.str();
}

py::dict allocator_stats(const std::string& device_name) {
  const Device device = parse_device(device_name);
  const AllocatorStats stats = allocator(device.type).stats(device);
  py::dict result;
  result["allocated_bytes"] = stats.allocated_bytes;
  result["peak_allocated_bytes"] = stats.peak_allocated_bytes;
  result["reserved_bytes"] = stats.reserved_bytes;
  result["num_allocations"] = stats.num_allocations;
  result["num_system_allocations"] = stats.num_system_allocations;
  return result;
}

}  // namespace

DType parse_dtype(const std::string& name) {
  const auto dtype = dtype_from_name(name);
  require(dtype.has_value(), Status::InvalidType, "\"", name, "\" is not a dtype");
  return *dtype;
}

Tensor to_tensor(py::handle object, const char* what) {
  return import_object(object, what, std::nullopt).tensor;
}

py::object to_python(Tensor tensor) { return py::cast(PyTensor{std::move(tensor), false}); }

void register_tensor(py::module_& module) {
  py::class_<PyTensor>(module, "Tensor", py::buffer_protocol(),
                       "A view of typed memory with a shape, strides and a device.\n\n"
                       "Tensor(obj) shares the memory of anything that offers DLPack (torch, jax,\n"
                       "cupy, numpy) or the buffer protocol. Views share memory; copies say so.")
      .def(py::init([](const py::object& object) {
             return import_object(object, "Tensor", std::nullopt);
           }),
           py::arg("obj"))
      .def_buffer([](PyTensor& self) { return buffer_info(self); })
      .def_property_readonly("shape", [](const PyTensor& t) { return to_tuple(t.tensor.sizes()); })
      .def_property_readonly(
          "strides", [](const PyTensor& t) { return to_tuple(t.tensor.strides()); }, "In elements.")
      .def_property_readonly("storage_offset",
                             [](const PyTensor& t) { return t.tensor.storage_offset(); })
      .def_property_readonly("ndim", [](const PyTensor& t) { return t.tensor.ndim(); })
      .def_property_readonly("numel", [](const PyTensor& t) { return t.tensor.numel(); })
      .def_property_readonly("itemsize", [](const PyTensor& t) { return t.tensor.itemsize(); })
      .def_property_readonly("nbytes",
                             [](const PyTensor& t) {
                               return t.tensor.numel() * static_cast<int64_t>(t.tensor.itemsize());
                             })
      .def_property_readonly(
          "dtype", [](const PyTensor& t) { return dtype_name(t.tensor.dtype()); },
          "The name, such as 'float32' or 'bfloat16'.")
      .def_property_readonly("device",
                             [](const PyTensor& t) { return to_string(t.tensor.device()); })
      .def_property_readonly("is_contiguous",
                             [](const PyTensor& t) { return t.tensor.is_contiguous(); })
      .def_property_readonly("readonly", [](const PyTensor& t) { return t.readonly; })
      .def_property_readonly(
          "data_ptr",
          [](const PyTensor& t) { return reinterpret_cast<uintptr_t>(t.tensor.raw_data()); })
      .def("__getitem__", &get_item)
      .def("__len__",
           [](const PyTensor& t) {
             if (t.tensor.ndim() == 0) throw py::type_error("a 0-dimensional tensor has no length");
             return t.tensor.size(0);
           })
      .def(
          "slice",
          [](const PyTensor& t, int64_t dim, std::optional<int64_t> start,
             std::optional<int64_t> end,
             int64_t step) { return like(t, t.tensor.slice(dim, start, end, step)); },
          py::arg("dim"), py::arg("start") = py::none(), py::arg("end") = py::none(),
          py::arg("step") = 1, "Every step-th element of a dimension, from start to before end.")
      .def(
          "permute",
          [](const PyTensor& t, const Ints& dims) { return like(t, t.tensor.permute(dims)); },
          py::arg("dims"), "The dimensions in another order, as a view.")
      .def(
          "transpose",
          [](const PyTensor& t, int64_t a, int64_t b) { return like(t, t.tensor.transpose(a, b)); },
          py::arg("dim0"), py::arg("dim1"), "Two dimensions exchanged, as a view.")
      .def(
          "reshape",
          [](const PyTensor& t, const Ints& shape) {
            Tensor reshaped = t.tensor.reshape(shape);
            const bool copied = reshaped.storage().get() != t.tensor.storage().get();
            return PyTensor{std::move(reshaped), t.readonly && !copied};
          },
          py::arg("shape"), "Another shape, as a view where that is possible; one size may be -1.")
      .def(
          "view",
          [](const PyTensor& t, const std::string& dtype) {
            return like(t, t.tensor.view_dtype(parse_dtype(dtype)));
          },
          py::arg("dtype"),
          "The same bytes as another dtype, sharing memory.\n\n"
          "With another item size the last dimension grows or shrinks, and the tensor is\n"
          "contiguous: Tensor(memoryview(file)).view(\"bfloat16\"). Raises aotiny.Error where\n"
          "elements would be cut or their address not be aligned.")
      .def(
          "as_strided",
          [](const PyTensor& t, const Ints& shape, const Ints& strides, int64_t offset) {
            return like(t, t.tensor.as_strided(shape, strides, offset));
          },
          py::arg("shape"), py::arg("strides"), py::arg("storage_offset") = 0,
          "Any view of the storage, checked against its size. Strides and offset in elements.")
      .def(
          "clone",
          [](const PyTensor& t) {
            return PyTensor{t.tensor.clone(), false};
          },
          "A copy; the strides of a dense tensor are kept.")
      .def(
          "contiguous",
          [](const PyTensor& t) {
            return t.tensor.is_contiguous() ? t : PyTensor{t.tensor.contiguous(), false};
          },
          "Itself if row-major, otherwise a row-major copy.")
      .def(
          "to",
          [](const PyTensor& t, const std::string& name) {
            Tensor converted = names_device(name) ? t.tensor.to(parse_device(name))
                                                  : t.tensor.to(parse_dtype(name));
            const bool copied = converted.storage().get() != t.tensor.storage().get();
            return PyTensor{std::move(converted), t.readonly && !copied};
          },
          py::arg("dtype_or_device"),
          "Itself if it has that dtype, or is on that device (\"cpu\", \"cuda\", \"cuda:N\"),\n"
          "otherwise a copy that has or is.")
      .def(
          "copy_",
          [](const PyTensor& t, const py::object& source, bool non_blocking) {
            writable(t).tensor.copy_(to_tensor(source, "copy_"), non_blocking);
          },
          py::arg("source"), py::arg("non_blocking") = false,
          "Copies from a tensor of any device that broadcasts to this shape, converting.\n\n"
          "With non_blocking, a copy between pinned host memory and a CUDA device that needs no\n"
          "conversion may still be under way when this returns.")
      .def("item", &item, "The value of a tensor with one element.")
      .def("tolist", &to_list, "Nested lists of Python numbers.")
      .def("numpy", &to_numpy, "A numpy array of the same memory.")
      .def("__array__", &to_array, py::arg("dtype") = py::none(), py::arg("copy") = py::none())
      .def("__dlpack__", &export_capsule, py::kw_only(), py::arg("stream") = py::none(),
           py::arg("max_version") = py::none(), py::arg("dl_device") = py::none(),
           py::arg("copy") = py::none())
      .def("__dlpack_device__", &dlpack_device)
      .def("__repr__", &repr);

  module.def(
      "from_dlpack",
      [](const py::object& object, const py::object& device, std::optional<bool> copy) {
        PyTensor tensor = import_object(object, "from_dlpack", copy);
        if (!device.is_none()) {
          const Device wanted = parse_device(py::cast<std::string>(device));
          require(wanted == tensor.tensor.device(), Status::NotSupported,
                  "from_dlpack: the tensor is on ", tensor.tensor.device(), ", not on ", wanted);
        }
        return tensor;
      },
      py::arg("obj"), py::kw_only(), py::arg("device") = py::none(), py::arg("copy") = py::none(),
      "Shares the memory of an object with __dlpack__; copy=True copies, copy=False never does.");
  module.def(
      "empty",
      [](const Ints& shape, const std::string& dtype, const std::string& device) {
        return PyTensor{Tensor::empty(shape, parse_dtype(dtype), parse_device(device)), false};
      },
      py::arg("shape"), py::arg("dtype") = "float32", py::arg("device") = "cpu",
      "An uninitialised row-major tensor.");
  module.def("allocator_stats", &allocator_stats, py::arg("device") = "cpu",
             "Bytes allocated, their peak, bytes reserved, and numbers of calls so far.");
  module.def(
      "empty_cache",
      [](const std::string& name) {
        const Device device = parse_device(name);
        allocator(device.type).empty_cache(device);
      },
      py::arg("device") = "cpu", "Returns cached memory to the system.");
}

}  // namespace aotiny::bindings
